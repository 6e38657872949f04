"""The control API of a running district: JSON over HTTP on a loopback address."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any

import msgspec
from aiohttp import web

from simulators.camera import SimulatedCamera
from simulators.district import actions
from simulators.district.actions import NoSuchAction
from simulators.district.district import Device, District
from simulators.district.scenario import Scenario
from simulators.mqtt import NoPower, NotSaid
from simulators.opscenter import Answer
from simulators.port import Port

Json = Mapping[str, Any]
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Control:
    """Use it as an asynchronous context manager.

    `GET /devices` · `POST /devices/{id}/fault` `{"fault": "down"}` or `{"fault": null}` ·
    `POST /devices/{id}/<action>` with the action's arguments · `POST /opscenter/answer` with the
    fields of an Answer, or `null` to accept again · `POST /opscenter/power` `{"on": false}` ·
    `GET /opscenter/received?type=&after=` · `POST /scenario` begins the script. Errors are
    `{"error": "..."}`.
    """

    def __init__(self, district: District, scenario: Scenario, *, host: str, port: int) -> None:
        """Takes its port. Raises OSError when it is taken."""
        self._district = district
        self._scenario = scenario
        self._port = Port(host, port)
        app = web.Application(middlewares=[_errors])
        app.router.add_get("/devices", self._devices)
        app.router.add_post("/devices/{device_id}/fault", self._fault)
        app.router.add_post("/devices/{device_id}/{action}", self._act)
        app.router.add_post("/opscenter/answer", self._answer)
        app.router.add_post("/opscenter/power", self._power)
        app.router.add_get("/opscenter/received", self._received)
        app.router.add_post("/scenario", self._begin)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    @property
    def url(self) -> str:
        return f"http://{self._port.host}:{self._port.number}"

    async def start(self) -> None:
        await self._runner.setup()
        assert self._runner.server is not None  # noqa: S101 -- set up just now
        await self._port.open(self._runner.server)

    async def stop(self) -> None:
        self._port.release()
        await self._runner.cleanup()

    async def _devices(self, _: web.Request) -> web.Response:
        return _json({"items": [self._described(one) for one in self._district.devices]})

    def _described(self, device_id: str) -> Json:
        device = self._district.devices[device_id]
        kind = self._district.kinds[device_id]
        common = {
            "device_id": device_id,
            "site_id": self._district.site_of[device_id].site_id,
            "kind": kind,
            "faults": sorted(device.faults),
            "actions": list(actions.ACTIONS[kind]),
        }
        if isinstance(device, SimulatedCamera):
            return common | {
                "onvif": device.onvif_url,
                "rtsp": device.rtsp_url,
                "wrong_tries": device.account.wrong_tries,
                "locked": device.account.locked,
                "requests": device.requests,
                "viewers": device.viewers,
                "subscriptions": device.subscriptions,
            }
        return common | {
            "dialect": device.dialect,
            "connected": device.connected,
            "battery": device.battery,
        }

    async def _fault(self, http: web.Request) -> web.Response:
        device = self._device(http)
        fault = (await _body(http)).get("fault")
        if fault is None:
            await actions.recover(device)
        else:
            await actions.fail(device, str(fault))
        return _json({"faults": sorted(device.faults)})

    async def _act(self, http: web.Request) -> web.Response:
        device = self._device(http)
        kind = self._district.kinds[http.match_info["device_id"]]
        said = await actions.act(device, kind, http.match_info["action"], await _body(http))
        return _json({"said": said})

    async def _answer(self, http: web.Request) -> web.Response:
        body = await http.read()
        if not body or body == b"null":
            self._district.center.recover()
            return _json({"answer": None})
        answer = msgspec.json.decode(body, type=Answer)
        self._district.center.answer_with(answer)
        return _json({"answer": answer})

    async def _power(self, http: web.Request) -> web.Response:
        on = bool((await _body(http)).get("on", True))
        if on:
            await self._district.center.come_back()
        else:
            await self._district.center.go_down()
        return _json({"on": on})

    async def _received(self, http: web.Request) -> web.Response:
        after = int(http.query.get("after", "0"))
        return _json(self._district.center.listing(type_=http.query.get("type", ""), after=after))

    async def _begin(self, _: web.Request) -> web.Response:
        self._scenario.begin()
        return _json({"begun": self._scenario.begun})

    def _device(self, http: web.Request) -> Device:
        device_id = http.match_info["device_id"]
        try:
            return self._district.devices[device_id]
        except KeyError:
            raise NoSuchAction(f"no device {device_id}") from None

    async def __aenter__(self) -> Control:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()


@web.middleware
async def _errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except NoSuchAction as error:
        return _json({"error": str(error)}, status=404)
    except (NoPower, NotSaid) as error:
        return _json({"error": f"{type(error).__name__}: {error}"}, status=409)
    except ValueError as error:  # msgspec's errors are among these
        return _json({"error": str(error)}, status=400)


async def _body(http: web.Request) -> Json:
    body = await http.read()
    return msgspec.json.decode(body, type=dict[str, Any]) if body else {}


def _json(content: object, *, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(content), status=status, content_type="application/json"
    )
