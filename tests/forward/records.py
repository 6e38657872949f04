"""Records as intake and the alarm engine commit them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from gateway.model import (
    Alarm,
    AlarmState,
    AlarmTransition,
    Audience,
    Command,
    CommandName,
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
    Transition,
)

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


def identity(*parts: object) -> str:
    return blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def press(
    device: str = "button-1", number: int = 0, *, at: datetime = NOW, **attributes: Any
) -> Record:
    record_id = identity("press", device, number)
    return Record(
        record_id=record_id,
        lane=Lane.ALARM,
        retention=Retention.ALARM,
        type=EventType.PANIC_PRESSED,
        recorded_at=at,
        body=Event(
            record_id=record_id,
            device_id=device,
            site_id="school-1",
            kind=DeviceKind.PANIC_BUTTON,
            type=EventType.PANIC_PRESSED,
            severity=Severity.CRITICAL,
            received_at=at,
            attributes=attributes or {"number": number},
        ),
    )


def alarm(
    name: str = "alarm-1",
    transition: Transition = Transition.RAISED,
    *,
    condition: Condition = Condition.TAMPER,
    audience: Audience = Audience.OPERATOR,
    count: int = 1,
    at: datetime = NOW,
) -> Record:
    return Record(
        record_id=identity("alarm", name, transition, count),
        lane=Lane.ALARM,
        retention=Retention.ALARM,
        type=f"alarm.{transition}",
        key=name,
        recorded_at=at,
        body=AlarmTransition(
            transition=transition,
            caused_by="0" * 32,
            alarm=Alarm(
                alarm_id=name,
                device_id=f"device-of-{name}",
                site_id="school-1",
                condition=condition,
                severity=Severity.HIGH,
                state=AlarmState.UNACKNOWLEDGED,
                active=True,
                acknowledged=False,
                raised_at=at,
                updated_at=at,
                count=count,
                audience=audience,
            ),
        ),
    )


def passed(
    number: int,
    *,
    device: str = "turnstile-1",
    at: datetime = NOW,
    attributes: Mapping[str, Any] | None = None,
) -> Record:
    record_id = identity("passed", device, number)
    return Record(
        record_id=record_id,
        lane=Lane.TELEMETRY,
        retention=Retention.ACCESS,
        type=EventType.ACCESS_PASSED,
        recorded_at=at,
        body=Event(
            record_id=record_id,
            device_id=device,
            site_id="school-1",
            kind=DeviceKind.TURNSTILE,
            type=EventType.ACCESS_PASSED,
            received_at=at,
            attributes={"direction": "in", "seq": number} if attributes is None else attributes,
        ),
    )


def health(device: str = "camera-1", *, at: datetime = NOW) -> Record:
    return Record(
        record_id=identity("health", device, at),
        lane=Lane.TELEMETRY,
        retention=Retention.HEALTH,
        type=EventType.DEVICE_HEALTH,
        key=device,
        recorded_at=at,
        body=HealthChange(
            device_id=device,
            site_id="school-1",
            kind=DeviceKind.CAMERA,
            state=State.OFFLINE,
            reason=Reason.UNREACHABLE,
            previous=State.ONLINE,
            changed_at=at,
            details={"fps": 12},
        ),
    )


def command(number: int = 0) -> Record:
    return Record(
        record_id=identity("command", number),
        lane=Lane.ALARM,
        retention=Retention.AUDIT,
        type="command",
        recorded_at=NOW,
        body=Command(name=CommandName.ACKNOWLEDGE, target="alarm-1", by="dana", at=NOW),
    )
