"""Keeps asking the devices of one adapter, and reports what is true of them.

A first failure is held back until a second check confirms it. One fence around each check catches
whatever a device's answer makes our own code do: no device harms another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from adapters.address import Target, target
from adapters.hosts import HostGate
from adapters.ladder import Ladder
from adapters.recorders import Recorders, Standing
from adapters.schedule import Outcome, Schedule, Ticket
from gateway.errors import JournalError
from gateway.model import AdapterName, Device, HealthReport, Inventory, Reason, State
from gateway.ports import Clock, Emit, InventoryChange, Metrics

log = logging.getLogger(__name__)

WHOLE_INTERVAL_S = 3600.0
"""The whole ladder hourly, and whenever something changes (contract, "Reasons")."""
_FAR = (Reason.DNS_FAILURE, Reason.UNREACHABLE, Reason.REFUSED, Reason.TIMEOUT)
"""Faults of a channel that may be its recorder's."""


class CameraSettings(Struct, frozen=True, kw_only=True):
    """`[cameras]` of the settings, and the limits of a check. All in seconds but `concurrency`."""

    health_interval_s: float = 60.0
    deadline_s: float = 20.0
    """Of a whole check: a dozen exchanges, each of which a slow camera takes a second for."""
    connect_s: float = 5.0
    """A lost SYN is sent again after 1 and 3 s."""
    concurrency: int = 256
    """Checks at a time: a third of a region's cameras may hang, each for `connect_s` every five
    minutes, and leave half of the places to the others."""


class Check(Protocol):
    """Climbs the ladder of one device."""

    async def climb(self, target: Target, ladder: Ladder, *, whole: bool) -> None:
        """Notes each rung; raises DeviceFault where one gives way. With `whole` nothing that was
        remembered is relied on. Has at most one connection open at a time."""
        ...

    def forget(self, device_id: str) -> None: ...


class _Watched:
    """One device while it is watched."""

    __slots__ = ("broke", "state", "target", "task", "whole_at")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.state: State | None = None
        self.task: asyncio.Task[None] | None = None
        self.whole_at: float | None = None
        self.broke = False


class Watch:
    """Implements `ports.Adapter` for devices that are asked; `check` says how."""

    def __init__(
        self,
        *,
        adapter: AdapterName,
        check: Check,
        settings: CameraSettings,
        inventory: Inventory,
        clock: Clock,
        metrics: Metrics,
        hosts: HostGate,
        recorders: Recorders,
    ) -> None:
        self._adapter = adapter
        self._check = check
        self._settings = settings
        self._inventory = inventory
        self._clock = clock
        self._metrics = metrics
        self._hosts = hosts
        self._recorders = recorders
        self._schedule: Schedule | None = None
        self._watched: dict[str, _Watched] = {}
        recorders.on_doubt(self._hasten)

    async def run(self, emit: Emit) -> None:
        """Runs until cancelled; then every check in flight hangs up."""
        schedule = Schedule(clock=self._clock, interval_s=self._settings.health_interval_s)
        places = asyncio.Semaphore(self._settings.concurrency)
        self._schedule = schedule
        self._watched.clear()
        for device_id in self._inventory.devices:
            self._take_up(device_id, soon=False)
        log.info("watching adapter=%s devices=%d", self._adapter, len(self._watched))
        try:
            async with asyncio.TaskGroup() as checks:
                while True:
                    ticket = await schedule.due()
                    watched = self._watched[ticket.device_id]
                    watched.task = checks.create_task(
                        self._turn(schedule, ticket, watched, places, emit),
                        name=f"check {ticket.device_id}",
                    )
        finally:
            self._schedule = None

    async def apply(self, inventory: Inventory, change: InventoryChange) -> None:
        """Only devices named in `change`, and channels of recorders that are, are touched."""
        self._inventory = inventory
        touched = change.added | change.removed | change.changed
        touched |= {
            device.device_id for device in inventory.devices.values() if device.parent in touched
        }
        for device_id in touched:
            watched = self._watched.pop(device_id, None)
            if watched is not None:
                if watched.task is not None:
                    watched.task.cancel()
                self._recorders.tell(device_id, Standing.UP)
            self._check.forget(device_id)
            if self._schedule is not None:
                self._schedule.remove(device_id)
                self._take_up(device_id, soon=True)

    def ready(self) -> bool:
        return self._schedule is not None

    def _take_up(self, device_id: str, *, soon: bool) -> None:
        """Begins to watch a device, if it is there and this adapter's."""
        device = self._inventory.devices.get(device_id)
        if self._schedule is None or device is None or device.adapter is not self._adapter:
            return
        where = target(device, self._inventory)
        if where is None:
            log.warning("no address to ask device=%s", device_id)
            return
        self._watched[device_id] = _Watched(where)
        self._schedule.add(device_id, soon=soon)

    def _hasten(self, device_id: str) -> None:
        if self._schedule is not None:
            self._schedule.hasten(device_id)

    # --- one check -------------------------------------------------------------------------------

    async def _turn(
        self,
        schedule: Schedule,
        ticket: Ticket,
        watched: _Watched,
        places: asyncio.Semaphore,
        emit: Emit,
    ) -> None:
        """One check, from its turn to its report."""
        outcome = Outcome.OPEN
        device = watched.target.device
        try:
            if self._recorders.standing(device.parent) is Standing.DOWN:
                outcome = Outcome.ANSWERED
                watched.whole_at = None
                await self._report(watched, State.UNKNOWN, Reason.PARENT_DOWN, {}, None, emit)
                return
            # First the host's turn, then a place: a host that hangs takes two places at most.
            async with self._hosts.connection(watched.target.address.host), places:
                ladder = await self._climb(ticket, watched)
            if ladder is None:
                return
            outcome = self._judge(ticket, watched.target, ladder)
            confirmed = outcome is Outcome.ANSWERED or ticket.failures > 0
            if outcome is not Outcome.OPEN and confirmed:
                faults = ladder.faults
                details = dict(ladder.details)
                if faults:
                    details["rung"], details["finding"] = faults[0].name, faults[0].finding
                if len(faults) > 1:
                    details["reasons"] = [rung.reason for rung in faults[1:]]
                reason = faults[0].reason if faults else None
                await self._report(watched, ladder.state, reason, details, ladder.latency_s, emit)
        finally:
            watched.task = None
            schedule.settle(ticket, outcome)

    async def _climb(self, ticket: Ticket, watched: _Watched) -> Ladder | None:
        """The ladder after the check; None where the check failed by our own fault, which says
        nothing about the device."""
        device = watched.target.device
        ladder = Ladder(self._clock)
        begun = self._clock.monotonic()
        due = watched.whole_at is None or begun - watched.whole_at >= WHOLE_INTERVAL_S
        whole = due or ticket.failures > 0
        try:
            await ladder.climb(
                self._check.climb(watched.target, ladder, whole=whole), self._settings.deadline_s
            )
        except OSError as error:
            self._metrics.error("check", "own")
            self._log_once(watched, "a check failed here device=%s error=%s", device, error)
            return None
        except Exception as error:  # noqa: BLE001 -- the fence: no device stops the others' checks
            self._metrics.error("check", type(error).__name__)
            self._log_once(watched, "a check broke device=%s error=%r", device, error)
            ladder.give_way(
                f"an answer that Kuzet cannot read ({type(error).__name__})", Reason.PROTOCOL_ERROR
            )
        else:
            watched.broke = False
        self._metrics.check_took(device.kind, self._clock.monotonic() - begun)
        if whole and ladder.state is not State.OFFLINE:
            # The first one comes at the start; the later ones are spread over the hour.
            first = watched.whole_at is None
            watched.whole_at = begun - (ticket.phase * WHOLE_INTERVAL_S if first else 0.0)
        return ladder

    def _judge(self, ticket: Ticket, target: Target, ladder: Ladder) -> Outcome:
        """What the ladder means for the device, its channels and its recorder."""
        failed = ladder.state is State.OFFLINE
        device = target.device
        if target.is_recorder:
            standing = Standing.UP
            if failed:
                standing = Standing.DOWN if ticket.failures else Standing.DOUBTFUL
            self._recorders.tell(device.device_id, standing)
        if not failed:
            return Outcome.ANSWERED
        if target.is_channel and ladder.faults[0].reason in _FAR:
            if self._recorders.standing(device.parent) is not Standing.UP:
                return Outcome.OPEN  # it is told once its recorder is: within seconds
            self._recorders.doubt(device.parent)
        return Outcome.FAILED

    async def _report(
        self,
        watched: _Watched,
        state: State,
        reason: Reason | None,
        details: Mapping[str, object],
        latency_s: float | None,
        emit: Emit,
    ) -> None:
        device = watched.target.device
        if state is not watched.state:
            watched.state = state
            log.info(
                "device=%s state=%s reason=%s finding=%r",
                device.device_id,
                state,
                reason,
                details.get("finding", ""),
            )
        report = HealthReport(
            device_id=device.device_id,
            state=state,
            reason=reason,
            observed_at=self._clock.now(),
            latency_s=latency_s,
            details=details,
        )
        try:
            await emit([report])
        except JournalError:  # the next check says the same again
            self._metrics.error("check", "journal")

    def _log_once(self, watched: _Watched, message: str, device: Device, error: Exception) -> None:
        log.log(
            logging.DEBUG if watched.broke else logging.WARNING,
            message,
            device.device_id,
            error,
            exc_info=not watched.broke,
        )
        watched.broke = True
