"""The ladder from "name" to "picture": what a check climbs, rung by rung, and what it found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from adapters.address import Address
from adapters.hosts import connect, hang_up, resolve
from gateway.errors import DeviceFault
from gateway.model import STATE_OF, Reason, State
from gateway.ports import Clock


class RungName(StrEnum):
    """In the order of climbing. Each stands on the ones before it."""

    NAME = "name"
    TCP = "tcp"
    ONVIF = "onvif"
    CLOCK = "clock"
    AUTHENTICATION = "authentication"
    PROFILE = "profile"
    RTSP = "rtsp"
    DESCRIBE = "describe"


class Rung(Struct, frozen=True, kw_only=True):
    """One rung: how long it took, what was found (for people, in English), what is wrong there."""

    name: RungName
    seconds: float
    finding: str
    reason: Reason | None = None


class Step:
    """A rung while it is being climbed: what is found is noted here."""

    def __init__(self) -> None:
        self.finding = ""
        self.reason: Reason | None = None

    def note(self, finding: str, reason: Reason | None = None) -> None:
        """A `reason` noted here is a fault that one can climb past, such as a wrong clock."""
        self.finding, self.reason = finding, reason


class Ladder:
    """Collects the rungs of one check, and what it saw of the device on its way."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.rungs: list[Rung] = []
        self.details: dict[str, object] = {}
        """JSON values for `HealthReport.details`."""
        self.latency_s: float | None = None
        """Of the first exchange in the device's own protocol."""

    async def climb(self, steps: Awaitable[None], deadline_s: float) -> None:
        """Takes the steps until one gives way or the time is over. The rungs tell how it ended: a
        fault of the device is not raised."""
        try:
            async with asyncio.timeout(deadline_s):
                await steps
        except DeviceFault:
            return
        except TimeoutError:
            self.give_way("no answer in time", Reason.TIMEOUT)

    def give_way(self, finding: str, reason: Reason) -> None:
        """The last rung did not hold, for a reason that it could not note itself."""
        last = self.rungs.pop() if self.rungs else Rung(name=RungName.NAME, seconds=0.0, finding="")
        self.rungs.append(replace(last, finding=finding, reason=reason))

    @asynccontextmanager
    async def rung(self, name: RungName) -> AsyncIterator[Step]:
        """Times what is done within and notes how it ended; a DeviceFault goes on upwards."""
        step = Step()
        begun = self._clock.monotonic()
        try:
            yield step
        except DeviceFault as fault:
            step.note(fault.detail, fault.reason)
            raise
        finally:
            seconds = self._clock.monotonic() - begun
            self.rungs.append(
                Rung(name=name, seconds=seconds, finding=step.finding, reason=step.reason)
            )
            if self.latency_s is None and step.reason is None and name in _EXCHANGES:
                self.latency_s = seconds

    @property
    def faults(self) -> list[Rung]:
        """The rungs with a reason, the worst first; among equals the lower rung."""
        found = [rung for rung in self.rungs if rung.reason is not None]
        return sorted(found, key=lambda rung: _SEVERITY.index(_state(rung)))

    @property
    def state(self) -> State:
        """The worst state that a rung stands for; `online` where all hold."""
        return next(map(_state, self.faults), State.ONLINE)


_EXCHANGES = (RungName.ONVIF, RungName.RTSP, RungName.DESCRIBE)
_SEVERITY = (State.OFFLINE, State.UNKNOWN, State.DEGRADED, State.MAINTENANCE, State.ONLINE)


def _state(rung: Rung) -> State:
    return STATE_OF[rung.reason] if rung.reason else State.ONLINE


async def approach(address: Address, ladder: Ladder, connect_s: float) -> None:
    """The lowest rungs: does the name lead anywhere, and does anything listen there."""
    async with ladder.rung(RungName.NAME) as step:
        step.note(await resolve(address) if address.is_name else address.host)
    async with ladder.rung(RungName.TCP) as step:
        _, writer = await connect(address, connect_s, tls=False)
        await hang_up(writer)
        step.note(f"port {address.port} is open")
