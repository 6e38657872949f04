"""Every path that the console answers, with what it takes and who may ask: one table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from msgspec import Struct
from pydantic import BaseModel

from gateway.console import api, health, pages
from gateway.console.access import READ, RESPOND, SERVICE
from gateway.console.bodies import (
    Acknowledge,
    AlarmQuery,
    Clear,
    Comment,
    DeviceQuery,
    Maintenance,
    PageQuery,
    Shelve,
    SiteQuery,
    TestMode,
)
from gateway.console.paging import Page
from gateway.console.users import Role
from gateway.model import Alarm
from gateway.ports import DeviceHealth


class Route(Struct, frozen=True, kw_only=True):
    """One path and method.

    `roles` None needs no sign-in. `takes` is the model of the query of a GET or of the JSON body of
    a POST, and the handler's second argument. A route with a `summary` is part of the API that
    openapi.json describes; `answer` is the type of its JSON, `content_type` what it answers with
    where that is not JSON.
    """

    method: str
    path: str
    handler: Callable[..., Awaitable[web.StreamResponse]]
    roles: frozenset[Role] | None
    takes: type[BaseModel] | None = None
    answer: Any = None
    content_type: str = ""
    summary: str = ""


MONITORING = (
    Route(
        method="GET",
        path="/healthz",
        handler=health.alive,
        roles=None,
        summary="Whether the process is alive",
    ),
    Route(
        method="GET",
        path="/readyz",
        handler=health.ready,
        roles=None,
        summary="Whether the gateway can do its work: 503 when a required check fails",
    ),
    Route(
        method="GET",
        path="/metrics",
        handler=health.metrics,
        roles=None,
        content_type="text/plain",
        summary="Metrics in Prometheus' text format",
    ),
)

API = (
    Route(
        method="GET",
        path="/api/v1/alarms",
        handler=api.alarms,
        roles=READ,
        takes=AlarmQuery,
        answer=Page[Alarm],
        summary="Alarms that are not closed and the last closed ones, newest first",
    ),
    Route(
        method="GET",
        path="/api/v1/alarms/{alarm_id}",
        handler=api.alarm,
        roles=READ,
        answer=Alarm,
        summary="One alarm",
    ),
    Route(
        method="POST",
        path="/api/v1/alarms/{alarm_id}/acknowledge",
        handler=api.acknowledge,
        roles=RESPOND,
        takes=Acknowledge,
        answer=Alarm,
        summary="Take an alarm: someone is dealing with it",
    ),
    Route(
        method="POST",
        path="/api/v1/alarms/{alarm_id}/clear",
        handler=api.clear,
        roles=RESPOND,
        takes=Clear,
        answer=Alarm,
        summary="End an alarm: it is dealt with",
    ),
    Route(
        method="POST",
        path="/api/v1/alarms/{alarm_id}/comment",
        handler=api.comment,
        roles=RESPOND,
        takes=Comment,
        answer=Alarm,
        summary="Write a comment into an alarm's story",
    ),
    Route(
        method="POST",
        path="/api/v1/alarms/{alarm_id}/shelve",
        handler=api.shelve,
        roles=RESPOND,
        takes=Shelve,
        answer=Alarm,
        summary="Put an alarm off for a while; never a panic alarm (409)",
    ),
    Route(
        method="GET",
        path="/api/v1/sites",
        handler=api.sites,
        roles=READ,
        takes=SiteQuery,
        answer=Page[api.SiteSummary],
        summary="Sites with the count of their devices by state",
    ),
    Route(
        method="GET",
        path="/api/v1/devices",
        handler=api.devices,
        roles=READ,
        takes=DeviceQuery,
        answer=Page[DeviceHealth],
        summary="Devices and their health, by id",
    ),
    Route(
        method="GET",
        path="/api/v1/devices/{device_id}",
        handler=api.device,
        roles=READ,
        answer=DeviceHealth,
        summary="One device and its health",
    ),
    Route(
        method="POST",
        path="/api/v1/devices/{device_id}/test-mode",
        handler=api.test_mode,
        roles=SERVICE,
        takes=TestMode,
        answer=DeviceHealth,
        summary="Let the next press of a panic button be its test",
    ),
    Route(
        method="POST",
        path="/api/v1/devices/{device_id}/maintenance",
        handler=api.maintenance,
        roles=SERVICE,
        takes=Maintenance,
        answer=DeviceHealth,
        summary="Excuse a device while it is worked on; presses alarm as always",
    ),
    Route(
        method="GET",
        path="/api/v1/live",
        handler=api.live,
        roles=READ,
        content_type="text/event-stream",
        summary="Server-sent events: `alarm`, `device`, `beat`, `resync`",
    ),
    Route(
        method="GET",
        path="/api/openapi.json",
        handler=api.openapi,
        roles=READ,
        summary="This description",
    ),
)

PAGES = (
    Route(method="GET", path="/", handler=pages.console, roles=READ, takes=PageQuery),
    Route(method="GET", path="/parts/alarms", handler=pages.alarms_part, roles=READ),
    Route(
        method="GET",
        path="/parts/devices",
        handler=pages.devices_part,
        roles=READ,
        takes=PageQuery,
    ),
    Route(method="GET", path="/sign-in", handler=pages.sign_in_form, roles=None),
    Route(method="POST", path="/sign-in", handler=pages.sign_in, roles=None),
    Route(method="POST", path="/sign-out", handler=pages.sign_out, roles=None),
    Route(method="POST", path="/language", handler=pages.choose_language, roles=None),
    Route(method="GET", path="/static/{version}/{name}", handler=pages.static_file, roles=None),
)
