"""What the journal's tests share: records, counted metrics, and folders that outlive a journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from hashlib import blake2b
from pathlib import Path

from gateway.journal import SqliteJournal
from gateway.model import (
    Alarm,
    AlarmState,
    AlarmTransition,
    Condition,
    DeviceKind,
    Event,
    EventType,
    HealthChange,
    Lane,
    Reason,
    Record,
    Retention,
    Severity,
    State,
    Stored,
    Transition,
)
from gateway.ports import Journal
from tests.simulated_clock import START, SimulatedClock

DAYS = {
    Retention.ACCESS: 30,
    Retention.EVENT: 90,
    Retention.HEALTH: 400,
    Retention.ALARM: 1100,
    Retention.AUDIT: 1100,
}

OpenJournal = Callable[[], AbstractAsyncContextManager[Journal]]
"""Opens the journal; each opening finds what the one before it left."""


class CountedMetrics:
    """`ports.Metrics` that remembers."""

    def __init__(self) -> None:
        self.errors: Counter[tuple[str, str]] = Counter()
        self.drops: Counter[tuple[Lane, str]] = Counter()

    def appended(self, lane: Lane, count: int) -> None: ...

    def dropped(self, lane: Lane, reason: str, count: int = 1) -> None:
        self.drops[lane, reason] += count

    def error(self, stage: str, reason: str) -> None:
        self.errors[stage, reason] += 1

    def check_took(self, kind: DeviceKind, seconds: float) -> None: ...

    def broker_connected(self, broker: str, connected: bool) -> None: ...

    def delivered(self, sink: str, lane: Lane, outcome: str, count: int) -> None: ...

    def press_delivered(self, seconds: float) -> None: ...

    def alarm_raised(self, alarm: Alarm) -> None: ...


class Folder:
    """A data folder in which journals are opened, one after the other, at a time that stands."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = SimulatedClock()
        self.metrics = CountedMetrics()
        self.free_ratio = 0.5

    def open(
        self,
        *,
        max_size_mb: int = 100,
        reserve_mb: int = 0,
        retention_days: Mapping[Retention, int] = DAYS,
    ) -> SqliteJournal:
        return SqliteJournal(
            self.path,
            clock=self.clock,
            metrics=self.metrics,
            retention_days=retention_days,
            max_size_mb=max_size_mb,
            reserve_mb=reserve_mb,
            free_ratio=lambda: self.free_ratio,
        )

    def file(self, lane: Lane) -> Path:
        return self.path / f"journal-{lane}.sqlite"


def identity(name: object) -> str:
    return blake2b(str(name).encode(), digest_size=16).hexdigest()


def press(name: object = 1, *, at: datetime = START, **attributes: object) -> Record:
    """An alarm lane's event; the same name is the same record."""
    return _event(name, Lane.ALARM, Retention.ALARM, EventType.PANIC_PRESSED, at, attributes)


def passage(name: object = 1, *, at: datetime = START, **attributes: object) -> Record:
    """A pass of a turnstile: telemetry."""
    return _event(name, Lane.TELEMETRY, Retention.ACCESS, EventType.ACCESS_PASSED, at, attributes)


def record(lane: Lane, name: object = 1, *, at: datetime = START, **attributes: object) -> Record:
    make = press if lane is Lane.ALARM else passage
    return make(name, at=at, **attributes)


def _event(
    name: object,
    lane: Lane,
    retention: Retention,
    type_: EventType,
    at: datetime,
    attributes: Mapping[str, object],
) -> Record:
    return Record(
        record_id=identity(name),
        lane=lane,
        retention=retention,
        type=type_.value,
        recorded_at=at,
        body=Event(
            record_id=identity(name),
            device_id="device-1",
            site_id="school-1",
            type=type_,
            received_at=at,
            attributes=attributes,
        ),
    )


def health(device: str, name: object, *, at: datetime = START) -> Record:
    """A change of a device's health: its key is the device."""
    return Record(
        record_id=identity(name),
        lane=Lane.TELEMETRY,
        retention=Retention.HEALTH,
        type=EventType.DEVICE_HEALTH.value,
        recorded_at=at,
        key=device,
        body=HealthChange(
            device_id=device,
            site_id="school-1",
            kind=DeviceKind.CAMERA,
            state=State.OFFLINE,
            reason=Reason.TIMEOUT,
            previous=State.ONLINE,
            changed_at=at,
        ),
    )


def transition(
    alarm_id: str,
    step: Transition,
    state: AlarmState = AlarmState.UNACKNOWLEDGED,
    *,
    at: datetime = START,
) -> Record:
    """A step of an alarm: its key is the alarm."""
    return Record(
        record_id=identity((alarm_id, step, state, at)),
        lane=Lane.ALARM,
        retention=Retention.ALARM,
        type=f"alarm.{step}",
        recorded_at=at,
        key=alarm_id,
        body=AlarmTransition(
            transition=step,
            alarm=Alarm(
                alarm_id=alarm_id,
                device_id="button-1",
                site_id="school-1",
                condition=Condition.PANIC,
                severity=Severity.CRITICAL,
                state=state,
                active=state is not AlarmState.CLOSED,
                acknowledged=False,
                raised_at=at,
                updated_at=at,
            ),
            caused_by=identity("cause"),
        ),
    )


def ids(stored: Sequence[Stored]) -> list[str]:
    return [entry.record.record_id for entry in stored]


def names(*given: object) -> list[str]:
    """The record ids of these names."""
    return [identity(name) for name in given]
