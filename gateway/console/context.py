"""What the console is given: its settings, its neighbours, and what it keeps for its handlers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from aiohttp import web
from msgspec import Struct

from gateway.console.board import Board
from gateway.console.door import Door
from gateway.console.live import Feed
from gateway.console.sessions import Sessions
from gateway.console.users import Role, UserStore
from gateway.model import Site
from gateway.ports import AlarmDesk, Clock, FleetView


class Listen(Struct, frozen=True, kw_only=True):
    """An address to listen on; port 0 takes a free one."""

    host: str
    port: int


class ApiToken(Struct, frozen=True, kw_only=True):
    """A program's bearer token and what it may do. `repr` never shows the secret."""

    role: Role
    secret: str

    def __repr__(self) -> str:
        return f"ApiToken(role={self.role!r}, secret=***)"


class ConsoleSettings(Struct, frozen=True, kw_only=True):
    """`[console]`, `[[console.token]]`, `[metrics]` and what it shows of `[gateway]`.

    With `cert_file` and `key_file` the console speaks TLS. With `metrics`, /metrics, /healthz and
    /readyz are on that plain listener and no longer on the console's.
    """

    gateway: str
    listen: Listen
    locale: str
    timezone: str
    cert_file: Path | None = None
    key_file: Path | None = None
    tokens: tuple[ApiToken, ...] = ()
    metrics: Listen | None = None


class Check(Struct, frozen=True, kw_only=True):
    """One thing that readiness looks at. Only a `required` one makes the gateway unready."""

    name: str
    ok: bool
    required: bool
    detail: str = ""


class Readiness(Struct, frozen=True, kw_only=True):
    """Whether the gateway can do its work now."""

    checks: tuple[Check, ...]

    @property
    def ready(self) -> bool:
        return all(check.ok for check in self.checks if check.required)


class DeviceDesk(Protocol):
    """What a person does to a device; each is committed as a command before it counts.

    `minutes` 0 ends it at once. Both raise NotFound, CommandRefused when the device does not allow
    it (only a panic button has a test mode), or JournalError when it could not be committed.
    """

    async def test_mode(self, device_id: str, by: str, minutes: float, reason: str) -> None: ...

    async def maintenance(self, device_id: str, by: str, minutes: float, reason: str) -> None: ...


class Context(Struct, frozen=True, kw_only=True):
    """What every handler can reach: `request.app[CONTEXT]`."""

    settings: ConsoleSettings
    fleet: FleetView
    alarms: AlarmDesk
    sites: Callable[[], Mapping[str, Site]]
    commands: DeviceDesk
    health: Callable[[], Readiness]
    exposition: Callable[[], bytes]
    users: UserStore
    clock: Clock
    sessions: Sessions
    door: Door
    board: Board
    feed: Feed


CONTEXT = web.AppKey("CONTEXT", Context)
