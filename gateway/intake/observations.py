"""The door by which observations enter: validates, stamps, derives ids, commits, tells the fleet.

Presses are judged by `presses.py`; commands have a door of their own, `desk.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from msgspec.structs import replace

from gateway.errors import JournalError, JournalFull
from gateway.intake.commit import AlarmRoad
from gateway.intake.presses import (
    REPEAT_WITHIN,
    NewPress,
    OldNews,
    PressLedger,
    Repeat,
    Unclear,
    WireLedger,
    believed,
    hashed,
)
from gateway.model import (
    Condition,
    Device,
    Event,
    EventType,
    Finding,
    HealthChange,
    HealthReport,
    Inventory,
    Lane,
    Observation,
    Record,
    Retention,
    Severity,
)
from gateway.ports import Clock, Conditions, Journal, Metrics

log = logging.getLogger(__name__)

REMEMBERED_WIRES = timedelta(hours=1)
"""Telemetry without an id of its own is recognised as redelivered for so long over a restart."""
FINDING = "device.finding"
STRANGERS_LOGGED = 1_000

SEVERITY = {
    EventType.PANIC_PRESSED: Severity.CRITICAL,
    EventType.TAMPER_OPENED: Severity.HIGH,
    EventType.ACCESS_FORCED: Severity.HIGH,
    EventType.DOOR_FORCED: Severity.HIGH,
    EventType.GATEWAY_BLIND: Severity.HIGH,
    EventType.SITE_DARK: Severity.HIGH,
    EventType.BATTERY_LOW: Severity.MEDIUM,
    EventType.MAINS_LOST: Severity.MEDIUM,
    EventType.DOOR_HELD_OPEN: Severity.MEDIUM,
    EventType.CAMERA_TAMPER: Severity.MEDIUM,
    EventType.CAMERA_SIGNAL_LOST: Severity.MEDIUM,
    EventType.CAMERA_STORAGE_FAILED: Severity.MEDIUM,
    EventType.ACCESS_DENIED: Severity.LOW,
}
"""How grave an event is; what is not here is `info`."""

PRESSES = frozenset((EventType.PANIC_PRESSED, EventType.PANIC_TEST))
PANIC = frozenset((EventType.PANIC_PRESSED, EventType.PANIC_RELEASED, EventType.PANIC_TEST))
"""The events of the alarm lane (contract, "To the operations center")."""


class Health(Protocol):
    """What intake asks of the fleet."""

    def observe(self, report: HealthReport, /) -> Iterable[HealthChange]: ...

    def restore(self, changes: Iterable[HealthChange], /) -> None: ...


class Intake:
    """Takes observations into the journal; `emit` implements `ports.Emit`."""

    def __init__(
        self,
        *,
        journal: Journal,
        road: AlarmRoad,
        fleet: Health,
        presses: PressLedger,
        wires: WireLedger,
        conditions: Conditions,
        inventory: Inventory,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._journal = journal
        self._road = road
        self._fleet = fleet
        self._presses = presses
        self._wires = wires
        self._conditions = conditions
        self._devices = inventory.devices
        self._clock = clock
        self._metrics = metrics
        self._untold: dict[str, HealthChange] = {}
        self._disk_low = True  # as far as we know: the last run may have ended on a full disk
        self._strangers: set[str] = set()

    async def restore(self) -> None:
        """Takes up what the journal knows of health and of presses. Before anything is emitted, and
        after the desk's `restore`: a test press ends the test mode that came before it."""
        async for stored in self._journal.latest(EventType.DEVICE_HEALTH):
            if isinstance(stored.record.body, HealthChange):
                self._fleet.restore([stored.record.body])
        now = self._clock.now()
        async for stored in self._journal.read(Lane.ALARM, since=now - REPEAT_WITHIN):
            self._learn(stored.record)
        async for stored in self._journal.read(Lane.TELEMETRY, since=now - REMEMBERED_WIRES):
            self._learn(stored.record)

    def _learn(self, record: Record) -> None:
        body = record.body
        if isinstance(body, Event) and body.type in PRESSES:
            self._presses.learn(body)
        elif isinstance(body, Event | Finding) and body.wire is not None:
            what = body.type if isinstance(body, Event) else FINDING
            self._wires.learn(body.wire, what, body.record_id, body.received_at)

    def apply(self, inventory: Inventory) -> None:
        """A changed inventory: known from now on."""
        self._devices = inventory.devices
        self._strangers.clear()

    # --- ports.Emit -------------------------------------------------------------------------------

    async def emit(self, observations: Sequence[Observation], /) -> None:
        """See `ports.Emit`."""
        telemetry: list[Record] = []
        alarm: list[asyncio.Task[Any]] = []
        now = self._clock.now()
        for observation in observations:
            device = self._devices.get(observation.device_id)
            if device is None:
                self._stranger(observation.device_id)
            elif isinstance(observation, HealthReport):
                telemetry += self._health_records(observation)
            elif isinstance(observation, Finding):
                alarm += self._take_finding(observation, device)
            elif observation.type is EventType.PANIC_PRESSED:
                alarm += self._take_press(observation, device)
            elif observation.type in PANIC:
                alarm += self._take_panic(observation, device, now)
            else:
                record = self._telemetry_record(observation, device, now)
                if record is not None:
                    telemetry.append(record)
        try:
            if telemetry:
                await self._commit_telemetry(telemetry)
        except JournalError:
            if not alarm:
                raise
            # The caller must not take the failure for the presses' own.
            self._metrics.dropped(Lane.TELEMETRY, "journal", len(telemetry))
        for task in alarm:
            await asyncio.shield(task)

    def _health_records(self, report: HealthReport) -> list[Record]:
        """What the report changed, and what it would have changed last time, had the journal taken
        it: the fleet does not change twice for the same state."""
        changes = {change.device_id: change for change in self._fleet.observe(report)}
        untold = self._untold.pop(report.device_id, None)
        if untold is not None:
            changes.setdefault(report.device_id, untold)
        return [health_record(change) for change in changes.values()]

    def _stranger(self, device_id: str) -> None:
        self._metrics.error("intake", "unknown_device")
        if device_id not in self._strangers and len(self._strangers) < STRANGERS_LOGGED:
            self._strangers.add(device_id)
            log.warning("observations of a device that the inventory does not have: %s", device_id)

    # --- the alarm lane ---------------------------------------------------------------------------

    def _take_press(self, event: Event, device: Device) -> list[asyncio.Task[Any]]:
        stamped = replace(event, site_id=device.site_id, kind=device.kind)
        match self._presses.judge(stamped):
            case NewPress() as press:
                tasks = [self._road.start(press.event.record_id, self._commit_press(press))]
                if press.finding is not None:
                    tasks += self._take_finding(press.finding, device)
                return tasks
            case Repeat(record_id=record_id):
                log.info("press repeated: device=%s record=%s", event.device_id, record_id)
                # Acknowledged like the first one: when that is committed.
                first = self._road.under_way(record_id)
                return [] if first is None else [first]
            case OldNews(why=why):
                log.info("retained press is old news: device=%s why=%s", event.device_id, why)
                return []
            case Unclear(finding=finding):
                return self._take_finding(finding, device)

    def _take_panic(self, event: Event, device: Device, now: datetime) -> list[asyncio.Task[Any]]:
        """A release, or a test that the device itself announces."""
        record = self._event_record(event, device, now, Lane.ALARM, Retention.ALARM)
        return (
            []
            if record is None
            else [self._road.start(record.record_id, self._road.commit(record))]
        )

    def _take_finding(self, finding: Finding, device: Device) -> list[asyncio.Task[Any]]:
        wire = finding.wire
        known = self._wires.redelivered(wire, FINDING) if wire is not None else None
        if known is not None:
            first = self._road.under_way(known)
            return [] if first is None else [first]
        record_id = hashed(
            "finding",
            finding.device_id,
            finding.cause,
            finding.received_at.isoformat(),
            wire.digest if wire is not None else "",
        )
        if wire is not None:
            self._wires.learn(wire, FINDING, record_id, finding.received_at)
        record = Record(
            record_id=record_id,
            lane=Lane.ALARM,
            retention=Retention.ALARM,
            type=FINDING,
            recorded_at=self._clock.now(),
            body=replace(finding, record_id=record_id, site_id=device.site_id),
        )
        return [self._road.start(record_id, self._road.commit(record))]

    async def _commit_press(self, press: NewPress) -> None:
        while True:
            event = press.event
            record = Record(
                record_id=event.record_id,
                lane=Lane.ALARM,
                retention=Retention.ALARM,
                type=event.type,
                recorded_at=self._clock.now(),
                body=event,
            )
            if await self._road.commit(record):
                return
            known = await self._road.found(record)
            if known is not None and known.record.body == event:
                return  # committed by a try that seemed to fail
            # An older press has this id, forgotten by the ledger: this one is no repeat of it.
            press = self._presses.again(press)

    # --- the telemetry lane -----------------------------------------------------------------------

    def _telemetry_record(self, event: Event, device: Device, now: datetime) -> Record | None:
        access = event.type.startswith("access.")
        retention = Retention.ACCESS if access else Retention.EVENT
        return self._event_record(event, device, now, Lane.TELEMETRY, retention)

    def _event_record(
        self, event: Event, device: Device, now: datetime, lane: Lane, retention: Retention
    ) -> Record | None:
        """None: a redelivery of what is already committed."""
        occurred_at = event.occurred_at
        if event.native_id is not None and occurred_at is not None:
            parts = [device.device_id, event.type, event.native_id, occurred_at.isoformat()]
            if believed(event) is None:
                # A clock that starts at 1970 after each power cut says the same times again, and a
                # counter the same ids: true repeats come within the day.
                parts.append(event.received_at.date().isoformat())
            record_id = hashed("event", *parts)
            wire = None  # the device's own id is proof enough, and half the size
        else:
            wire = event.wire
            if wire is not None and self._wires.redelivered(wire, event.type) is not None:
                return None
            record_id = hashed(
                "event",
                device.device_id,
                event.type,
                event.native_id or "",
                event.received_at.isoformat(),
                f"{wire.session} {wire.packet_id}" if wire is not None else "",
            )
            if wire is not None and not wire.retained:
                self._wires.learn(wire, event.type, record_id, event.received_at)
        return Record(
            record_id=record_id,
            lane=lane,
            retention=retention,
            type=event.type,
            recorded_at=now,
            body=Event(
                device_id=event.device_id,
                type=event.type,
                received_at=event.received_at,
                occurred_at=occurred_at,
                active=event.active,
                attributes=event.attributes,
                native_id=event.native_id,
                wire=wire,
                record_id=record_id,
                site_id=device.site_id,
                kind=device.kind,
                severity=SEVERITY.get(event.type, Severity.INFO),
                exercise=event.exercise or event.type is EventType.PANIC_TEST,
            ),
        )

    async def _commit_telemetry(self, records: Sequence[Record]) -> None:
        try:
            await self._journal.append(records)
        except JournalError as error:
            for record in records:
                if isinstance(record.body, HealthChange):
                    self._untold[record.body.device_id] = record.body
            if not isinstance(error, JournalFull):
                raise
            self._disk_low = True
            await self._conditions.tell(
                Condition.DISK_LOW, "telemetry", active=True, detail=str(error)
            )
            raise
        self._metrics.appended(Lane.TELEMETRY, len(records))
        if self._disk_low:
            self._disk_low = False
            await self._conditions.tell(Condition.DISK_LOW, "telemetry", active=False)


def health_record(change: HealthChange) -> Record:
    """The record of a change of health; the same change has the same id."""
    stamp = change.changed_at.isoformat()
    return Record(
        record_id=hashed("health", change.device_id, change.state, change.reason or "", stamp),
        lane=Lane.TELEMETRY,
        retention=Retention.HEALTH,
        type=EventType.DEVICE_HEALTH,
        key=change.device_id,
        recorded_at=change.changed_at,
        body=change,
    )
