"""Which records a sink is told, and what the alarm lane has to know of one."""

from __future__ import annotations

from enum import StrEnum

from gateway.model import (
    AlarmTransition,
    Audience,
    Condition,
    Event,
    EventType,
    HealthChange,
    Record,
    Transition,
)


class Kind(StrEnum):
    """What the sink setting `forward` chooses from."""

    ALARM = "alarm"
    EVENT = "event"
    HEALTH = "health"


def kind_of(record: Record) -> Kind | None:
    """The kind of a record; None: it stays inside the gateway.

    Inside stay technicians' items and the internal records (findings, commands, conditions).
    """
    match record.body:
        case Event():
            return Kind.EVENT
        case HealthChange():
            return Kind.HEALTH
        case AlarmTransition(alarm=alarm) if alarm.audience is Audience.OPERATOR:
            return Kind.ALARM
        case _:
            return None


def is_panic(record: Record) -> bool:
    """Whether the record is about a panic button's press: it goes before all others."""
    if isinstance(record.body, AlarmTransition):
        return record.body.alarm.condition is Condition.PANIC
    return record.type.startswith("panic.")


def order_key(record: Record) -> str:
    """Records with the same key reach a sink in their order: those of one alarm, or the events
    of one device."""
    if isinstance(record.body, AlarmTransition):
        return f"alarm {record.body.alarm.alarm_id}"
    if isinstance(record.body, Event | HealthChange):
        return f"device {record.body.device_id}"
    return f"record {record.record_id}"


def tells_press(record: Record, forwarded: frozenset[Kind]) -> bool:
    """Whether a sink first learns of a press by this record.

    By the event where the sink gets events, else by the alarm: a press counts once a sink.
    """
    match record.body:
        case Event(type=EventType.PANIC_PRESSED):
            return True
        case AlarmTransition(transition=Transition.RAISED, alarm=alarm):
            return alarm.condition is Condition.PANIC and Kind.EVENT not in forwarded
        case _:
            return False
