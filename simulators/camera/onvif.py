"""The camera's web server: ONVIF services over SOAP, and the snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import web

from simulators.camera import clip, device_service, media_service, soap
from simulators.camera.account import Verdict
from simulators.camera.event_service import EventService
from simulators.camera.faults import Fault
from simulators.camera.soap import Request, SoapFault
from simulators.camera.state import CameraState
from simulators.port import Port

Operation = Callable[[CameraState, Request], str]

_TABLES: Mapping[str, Mapping[str, Operation]] = {
    soap.DEVICE: device_service.OPERATIONS,
    soap.MEDIA: media_service.OPERATIONS,
}

_KEEP_ALIVE_S = 15.0

_LAST_WORDS_S = 0.01
"""How long an answer under way may take when the connections are cut."""


class OnvifServer:
    """Answers HTTP on the camera's port. Without clients it costs one listening socket."""

    def __init__(self, state: CameraState, port: Port, events: EventService) -> None:
        self._state = state
        self._port = port
        self._events = events
        self._server: web.Server | None = None
        self.requests = 0

    async def open(self) -> None:
        if self._server is not None:
            return
        # The handler of a client that went away ends with it: a silent camera would collect them.
        self._server = web.Server(
            self._handle,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=_KEEP_ALIVE_S,
        )
        await self._port.open(self._server)

    async def close(self) -> None:
        """Refuses connections, and cuts those that are open."""
        self._port.close()
        await self.cut()
        self._server = None

    async def cut(self) -> None:
        """Cuts every open connection."""
        if self._server is not None:
            await self._server.shutdown(timeout=_LAST_WORDS_S)

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        self.requests += 1
        body = await http.read()
        try:
            await self._state.hesitate()
        except TimeoutError:
            if http.transport is not None:
                http.transport.abort()
            return web.Response(status=503)
        if http.path == media_service.SNAPSHOT_PATH and http.method == "GET":
            return await self._snapshot(http)
        if http.method != "POST" or not http.path.startswith("/onvif/"):
            return web.Response(status=404, text="Not found")
        try:
            request = soap.read(body)
            refusal = self._refusal(http, request)
            if refusal is not None:
                return refusal
            answer = await self._answer(request, http.path)
        except soap.Unreadable:
            fault = SoapFault("ter:WellFormed", "No SOAP", http=400)
            return _soap(soap.fault(fault), status=fault.http)
        except SoapFault as fault:
            return _soap(soap.fault(fault), status=fault.http)
        if Fault.GARBAGE_XML in self._state.faults:
            answer = soap.GARBAGE
        return _soap(answer)

    def _refusal(self, http: web.BaseRequest, request: Request) -> web.Response | None:
        """The answer to a client that has not proved who it is; None for one that has."""
        account = self._state.account
        if request.namespace == soap.DEVICE and request.name in device_service.OPEN_TO_ALL:
            return None
        authorization = http.headers.get("Authorization")
        if request.token is not None and authorization is None:
            verdict = account.judge_token(request.token, self._state.now())
        else:
            verdict = account.judge_digest(authorization, http.method)
        return self._unauthorized(verdict)

    def _unauthorized(self, verdict: Verdict) -> web.Response | None:
        if verdict is Verdict.GRANTED:
            return None
        reason = "Sender not authorized"
        if verdict is Verdict.LOCKED:
            reason = "The account is locked"
        body = soap.fault(SoapFault("ter:NotAuthorized", reason))
        challenges = self._state.account.challenges(qop=True, stale=verdict is Verdict.STALE)
        response = _soap(body, status=401 if challenges else 400)
        for challenge in challenges:
            response.headers.add("WWW-Authenticate", challenge)
        return response

    async def _answer(self, request: Request, path: str) -> bytes:
        if request.namespace in (soap.EVENTS, soap.NOTIFICATION):
            event = await self._events.answer(request, path)
            return soap.answer(event.body, request=request, action=event.action)
        operation = _TABLES.get(request.namespace, {}).get(request.name)
        if operation is None:
            raise SoapFault("ter:ActionNotSupported", "Not supported", code="Receiver", http=500)
        return soap.answer(operation(self._state, request), request=request)

    async def _snapshot(self, http: web.BaseRequest) -> web.Response:
        verdict = self._state.account.judge_digest(http.headers.get("Authorization"), "GET")
        refusal = self._unauthorized(verdict)
        if refusal is not None:
            return refusal
        picture = await clip.load()
        return web.Response(body=picture.jpeg, content_type="image/jpeg")


_SOAP_TYPE: Mapping[str, str] = {"Content-Type": "application/soap+xml; charset=utf-8"}


def _soap(body: bytes, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=body, headers=_SOAP_TYPE)
