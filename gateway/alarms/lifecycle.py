"""What becomes of an alarm, step by step. Pure: no clock, no journal, no surprise.

States and terms follow ISA-18.2 (2016) section 5 and OPC UA Part 9: an alarm is *active* while its
condition lasts, *acknowledged* once an operator took it, *latched* when it does not end by itself.

    signal ──▶ unacknowledged ──acknowledge──▶ acknowledged ──end/clear──▶ closed
                    │    ▲                        │   ▲
                  end    └──── again ◀────────────┘   └─ (again: unacknowledged, announced anew)
                    ▼
          cleared_unacknowledged ──acknowledge──▶ closed
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from gateway.alarms.rules import OF_CONDITION, Ending, Rule
from gateway.errors import CommandRefused
from gateway.model import Alarm, AlarmState, Command, CommandName, Transition

LONGEST_SHELVING = timedelta(hours=8)
"""One shift: nobody who relieves an operator inherits silence without a name to it."""


class Step(Struct, frozen=True, kw_only=True):
    """One transition and the alarm after it."""

    transition: Transition
    alarm: Alarm


def signal(
    alarm: Alarm | None,
    rule: Rule,
    *,
    alarm_id: str,
    device_id: str,
    site_id: str,
    at: datetime,
    detail: str = "",
) -> Step:
    """The condition begins, or is reported again.

    `alarm` is the one of this device and condition that is not closed, `alarm_id` the id of a new
    one. A signal always counts: on an acknowledged or cleared alarm it is announced as raised
    again, under the same `alarm_id`.
    """
    if alarm is None or alarm.state is AlarmState.CLOSED:
        raised = Alarm(
            alarm_id=alarm_id,
            device_id=device_id,
            site_id=site_id,
            condition=rule.condition,
            severity=rule.severity,
            state=AlarmState.UNACKNOWLEDGED,
            active=True,
            acknowledged=False,
            raised_at=at,
            updated_at=at,
            audience=rule.audience,
            detail=detail,
        )
        return Step(transition=Transition.RAISED, alarm=raised)
    again = replace(
        alarm, active=True, cleared_at=None, count=alarm.count + 1, updated_at=at, detail=detail
    )
    if alarm.state in (AlarmState.UNACKNOWLEDGED, AlarmState.SHELVED):
        return Step(transition=Transition.UPDATED, alarm=again)
    announced = replace(again, state=AlarmState.UNACKNOWLEDGED, acknowledged=False)
    return Step(transition=Transition.RAISED, alarm=announced)


def end(alarm: Alarm | None, rule: Rule, *, at: datetime, detail: str = "") -> Step | None:
    """The condition ended by itself. None where that changes nothing: a latched alarm stays."""
    if alarm is None or not alarm.active or rule.ending is not Ending.RETURNS:
        return None
    state = AlarmState.CLOSED if alarm.acknowledged else AlarmState.CLEARED_UNACKNOWLEDGED
    ended = replace(
        alarm,
        state=state,
        active=False,
        cleared_at=at,
        updated_at=at,
        shelved_until=None,
        detail=detail or alarm.detail,
    )
    return Step(transition=Transition.CLEARED, alarm=ended)


def command(alarm: Alarm, command: Command) -> Step | None:
    """What a person's command does to the alarm; None where it is already so.

    Raises CommandRefused when the alarm does not allow it.
    """
    match command.name:
        case CommandName.ACKNOWLEDGE:
            return _acknowledge(alarm, command)
        case CommandName.CLEAR:
            return _clear(alarm, command)
        case CommandName.COMMENT:
            if not command.comment.strip():
                raise CommandRefused("a comment needs a text")
            if alarm.state is AlarmState.CLOSED:
                raise CommandRefused("the alarm is closed")
            commented = replace(alarm, updated_at=command.at)
            return Step(transition=Transition.UPDATED, alarm=commented)
        case CommandName.SHELVE:
            return _shelve(alarm, command)
        case _:
            raise CommandRefused(f"{command.name} is not a command on alarms")


def unshelve(alarm: Alarm, *, at: datetime) -> Step | None:
    """The time of a shelved alarm is over: it asks for attention again."""
    if alarm.state is not AlarmState.SHELVED:
        return None
    if not alarm.active:
        state = AlarmState.CLEARED_UNACKNOWLEDGED
    else:
        state = AlarmState.ACKNOWLEDGED if alarm.acknowledged else AlarmState.UNACKNOWLEDGED
    back = replace(alarm, state=state, shelved_until=None, updated_at=at)
    transition = Transition.UPDATED if alarm.acknowledged else Transition.RAISED
    return Step(transition=transition, alarm=back)


def _acknowledge(alarm: Alarm, command: Command) -> Step | None:
    if alarm.acknowledged or alarm.state is AlarmState.CLOSED:
        return None
    taken = replace(
        alarm,
        acknowledged=True,
        acknowledged_by=command.by,
        acknowledged_at=command.at,
        shelved_until=None,
        updated_at=command.at,
    )
    if not alarm.active:
        closed = replace(taken, state=AlarmState.CLOSED)
    elif OF_CONDITION[alarm.condition].ending is Ending.MOMENTARY:
        closed = replace(taken, state=AlarmState.CLOSED, active=False, cleared_at=command.at)
    else:
        closed = replace(taken, state=AlarmState.ACKNOWLEDGED)
    return Step(transition=Transition.ACKNOWLEDGED, alarm=closed)


def _clear(alarm: Alarm, command: Command) -> Step | None:
    if alarm.state is AlarmState.CLOSED:
        return None
    latched = OF_CONDITION[alarm.condition].ending is Ending.LATCHED
    if latched and not command.comment.strip():
        raise CommandRefused(f"clearing {alarm.condition} needs a comment: say how it ended")
    cleared = replace(
        alarm,
        state=AlarmState.CLOSED,
        active=False,
        acknowledged=True,
        acknowledged_by=alarm.acknowledged_by or command.by,
        acknowledged_at=alarm.acknowledged_at or command.at,
        shelved_until=None,
        cleared_at=command.at,
        updated_at=command.at,
    )
    return Step(transition=Transition.CLEARED, alarm=cleared)


def _shelve(alarm: Alarm, command: Command) -> Step | None:
    if not OF_CONDITION[alarm.condition].shelvable:
        raise CommandRefused(f"a {alarm.condition} alarm cannot be shelved")
    if alarm.state is AlarmState.CLOSED:
        raise CommandRefused("the alarm is closed")
    if not command.comment.strip():
        raise CommandRefused("shelving needs a reason")
    longest = LONGEST_SHELVING.total_seconds() / 60
    if command.minutes is None or not 0 < command.minutes <= longest:
        raise CommandRefused(f"shelving needs `minutes`, at most {longest:.0f}")
    shelved = replace(
        alarm,
        state=AlarmState.SHELVED,
        shelved_until=command.at + timedelta(minutes=command.minutes),
        updated_at=command.at,
    )
    return Step(transition=Transition.UPDATED, alarm=shelved)
