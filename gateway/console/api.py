"""The API for programs: alarms, devices, sites and the live feed, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import web
from aiohttp_sse import EventSourceResponse
from msgspec.structs import asdict

from gateway.console.access import IDENTITY, identify
from gateway.console.bodies import (
    Acknowledge,
    AlarmQuery,
    Clear,
    Comment,
    DeviceQuery,
    Maintenance,
    Shelve,
    SiteQuery,
    TestMode,
)
from gateway.console.context import CONTEXT
from gateway.console.live import BEAT_S, SEND_TIMEOUT_S, Frame
from gateway.console.paging import Page, page
from gateway.model import Alarm, Command, CommandName, Site, State


class SiteSummary(Site, frozen=True, kw_only=True):
    """A site's row of the inventory, and how many of its devices are in which state."""

    devices: Mapping[State, int] = {}


OPENAPI = web.AppKey("OPENAPI", bytes)


async def alarms(request: web.Request, asked: AlarmQuery) -> web.Response:
    wanted = (
        alarm
        for alarm in sorted(request.app[CONTEXT].alarms.alarms(), key=_age, reverse=True)
        if alarm.audience is asked.audience
        and (not asked.state or alarm.state in asked.state)
        and (asked.site is None or alarm.site_id == asked.site)
    )
    return _json(page(wanted, _place, cursor=asked.cursor, limit=asked.limit, newest_first=True))


async def alarm(request: web.Request) -> web.Response:
    return _json(request.app[CONTEXT].alarms.alarm(request.match_info["alarm_id"]))


async def acknowledge(request: web.Request, asked: Acknowledge) -> web.Response:
    return await _command(request, CommandName.ACKNOWLEDGE, asked.comment)


async def clear(request: web.Request, asked: Clear) -> web.Response:
    return await _command(request, CommandName.CLEAR, asked.comment)


async def comment(request: web.Request, asked: Comment) -> web.Response:
    return await _command(request, CommandName.COMMENT, asked.comment)


async def shelve(request: web.Request, asked: Shelve) -> web.Response:
    return await _command(request, CommandName.SHELVE, asked.comment, asked.minutes)


async def sites(request: web.Request, asked: SiteQuery) -> web.Response:
    context = request.app[CONTEXT]
    known = context.sites()
    listed = page(
        (known[site_id] for site_id in sorted(known)),
        lambda site: (site.site_id,),
        cursor=asked.cursor,
        limit=asked.limit,
    )
    picture = context.board.picture()
    items = [
        SiteSummary(**asdict(site), devices=picture.of_site(site.site_id)) for site in listed.items
    ]
    return _json(Page(items=items, next=listed.next))


async def devices(request: web.Request, asked: DeviceQuery) -> web.Response:
    wanted = (
        device
        for device in request.app[CONTEXT].board.picture().devices
        if (not asked.state or device.state in asked.state)
        and (not asked.kind or device.kind in asked.kind)
        and (asked.site is None or device.site_id == asked.site)
    )
    return _json(
        page(wanted, lambda found: (found.device_id,), cursor=asked.cursor, limit=asked.limit)
    )


async def device(request: web.Request) -> web.Response:
    return _json(request.app[CONTEXT].board.device(request.match_info["device_id"]))


async def test_mode(request: web.Request, asked: TestMode) -> web.Response:
    context, device_id = request.app[CONTEXT], request.match_info["device_id"]
    by = request[IDENTITY].name
    await context.commands.test_mode(device_id, by, asked.minutes, asked.reason)
    context.board.expire()
    return await device(request)


async def maintenance(request: web.Request, asked: Maintenance) -> web.Response:
    context, device_id = request.app[CONTEXT], request.match_info["device_id"]
    by = request[IDENTITY].name
    await context.commands.maintenance(device_id, by, asked.minutes, asked.reason)
    context.board.expire()
    return await device(request)


async def live(request: web.Request) -> web.StreamResponse:
    """Changes as they happen, and a `beat` with our clock while nothing does. Ends when the gateway
    stops or the sign-in is over."""
    context = request.app[CONTEXT]

    def beat() -> Frame:
        return Frame("beat", msgspec.json.encode({"now": context.clock.now()}).decode())

    with context.feed.listening() as listener:
        # Our own beats are what a page can see; the library's comments it cannot.
        response = EventSourceResponse(send_timeout=SEND_TIMEOUT_S, ping_interval=60 * BEAT_S)
        await response.prepare(request)
        async with response:
            frame: Frame | None = beat()
            while frame is not None:
                try:
                    await response.send(frame.json, event=frame.event)
                except (ConnectionResetError, TimeoutError):
                    break
                frame = await listener.next(BEAT_S)
                if listener.closed or identify(request) is None:
                    break
                frame = frame or beat()
    return response


async def openapi(request: web.Request) -> web.Response:
    return web.Response(body=request.app[OPENAPI], content_type="application/json")


async def _command(
    request: web.Request, name: CommandName, words: str, minutes: float | None = None
) -> web.Response:
    context = request.app[CONTEXT]
    command = Command(
        name=name,
        target=request.match_info["alarm_id"],
        by=request[IDENTITY].name,
        at=context.clock.now(),
        comment=words,
        minutes=minutes,
    )
    return _json(await context.alarms.execute(command))


def _age(alarm: Alarm) -> tuple[datetime, str]:
    return alarm.raised_at, alarm.alarm_id


def _place(alarm: Alarm) -> tuple[str, str]:
    """As `_age`, in text that sorts alike."""
    return alarm.raised_at.isoformat(timespec="microseconds"), alarm.alarm_id


def _json(body: Any) -> web.Response:
    response = web.Response(body=msgspec.json.encode(body), content_type="application/json")
    response.enable_compression()
    return response
