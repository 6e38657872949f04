"""The alarm lifecycle: single steps, and all sequences of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.alarms import lifecycle
from gateway.alarms.rules import ACCESS_FORCED, OF_CONDITION, PANIC, TAMPER, Ending, Rule
from gateway.errors import CommandRefused
from gateway.model import Alarm, AlarmState, Command, CommandName, Condition, Transition

T0 = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


def raised(rule: Rule = PANIC) -> Alarm:
    return press(None, rule).alarm


def press(alarm: Alarm | None, rule: Rule = PANIC, at: datetime = T0) -> lifecycle.Step:
    return lifecycle.signal(
        alarm, rule, alarm_id="a1", device_id="button-1", site_id="school-1", at=at
    )


def order(
    name: CommandName, comment: str = "", minutes: float | None = None, at: datetime = T0
) -> Command:
    return Command(name=name, target="a1", by="aigul", at=at, comment=comment, minutes=minutes)


def after(alarm: Alarm, command: Command) -> Alarm:
    step = lifecycle.command(alarm, command)
    assert step is not None
    return step.alarm


def test_a_press_raises_an_unacknowledged_alarm() -> None:
    step = press(None)
    assert step.transition is Transition.RAISED
    assert step.alarm.state is AlarmState.UNACKNOWLEDGED
    assert (step.alarm.condition, step.alarm.count) == (Condition.PANIC, 1)


def test_a_press_on_an_active_alarm_raises_its_count() -> None:
    step = press(raised())
    assert (step.transition, step.alarm.count) == (Transition.UPDATED, 2)


def test_a_press_on_an_acknowledged_alarm_announces_it_again_under_the_same_id() -> None:
    acknowledged = after(raised(), order(CommandName.ACKNOWLEDGE))
    step = press(acknowledged)
    assert step.transition is Transition.RAISED
    assert step.alarm.state is AlarmState.UNACKNOWLEDGED
    assert (step.alarm.alarm_id, step.alarm.count) == (acknowledged.alarm_id, 2)
    assert not step.alarm.acknowledged


def test_a_press_after_the_clear_is_a_new_alarm() -> None:
    closed = after(raised(), order(CommandName.CLEAR, "false press, teacher called"))
    step = lifecycle.signal(
        closed, PANIC, alarm_id="a2", device_id="button-1", site_id="school-1", at=T0
    )
    assert (step.transition, step.alarm.alarm_id) == (Transition.RAISED, "a2")
    assert step.alarm.count == 1


def test_panic_never_ends_by_itself() -> None:
    assert lifecycle.end(raised(), PANIC, at=T0) is None


def test_panic_is_cleared_only_with_a_comment() -> None:
    with pytest.raises(CommandRefused, match="comment"):
        lifecycle.command(raised(), order(CommandName.CLEAR, "  "))
    assert after(raised(), order(CommandName.CLEAR, "police on site")).state is AlarmState.CLOSED


def test_panic_cannot_be_shelved() -> None:
    with pytest.raises(CommandRefused, match="cannot be shelved"):
        lifecycle.command(raised(), order(CommandName.SHELVE, "noisy", 30))


def test_acknowledging_twice_changes_nothing() -> None:
    acknowledged = after(raised(), order(CommandName.ACKNOWLEDGE))
    assert acknowledged.acknowledged_by == "aigul"
    assert lifecycle.command(acknowledged, order(CommandName.ACKNOWLEDGE)) is None


def test_a_tamper_that_ends_waits_for_its_acknowledgement() -> None:
    ended = lifecycle.end(raised(TAMPER), TAMPER, at=T0)
    assert ended is not None
    assert ended.alarm.state is AlarmState.CLEARED_UNACKNOWLEDGED
    assert after(ended.alarm, order(CommandName.ACKNOWLEDGE)).state is AlarmState.CLOSED


def test_an_acknowledged_tamper_closes_when_it_ends() -> None:
    acknowledged = after(raised(TAMPER), order(CommandName.ACKNOWLEDGE))
    ended = lifecycle.end(acknowledged, TAMPER, at=T0)
    assert ended is not None
    assert (ended.transition, ended.alarm.state) == (Transition.CLEARED, AlarmState.CLOSED)


def test_a_momentary_condition_is_closed_by_its_acknowledgement() -> None:
    taken = after(raised(ACCESS_FORCED), order(CommandName.ACKNOWLEDGE))
    assert (taken.state, taken.active) == (AlarmState.CLOSED, False)


def test_shelving_needs_a_reason_and_an_end() -> None:
    alarm = raised(TAMPER)
    for command in (
        order(CommandName.SHELVE, "", 30),
        order(CommandName.SHELVE, "works on the door", None),
        order(CommandName.SHELVE, "works on the door", 481),
    ):
        with pytest.raises(CommandRefused):
            lifecycle.command(alarm, command)
    shelved = after(alarm, order(CommandName.SHELVE, "works on the door", 30))
    assert shelved.shelved_until == T0 + timedelta(minutes=30)
    back = lifecycle.unshelve(shelved, at=T0 + timedelta(minutes=30))
    assert back is not None
    assert (back.transition, back.alarm.state) == (Transition.RAISED, AlarmState.UNACKNOWLEDGED)


INPUTS = st.sampled_from(["signal", "end", *(str(name) for name in CommandName)])


def take(alarm: Alarm | None, rule: Rule, number: int, name: str, comment: str) -> Alarm | None:
    """The alarm after one input; the same where the input changes nothing."""
    at = T0 + timedelta(seconds=number)
    step: lifecycle.Step | None
    if name == "signal":
        step = lifecycle.signal(
            alarm, rule, alarm_id=f"a{number}", device_id="d", site_id="s", at=at
        )
    elif name == "end":
        step = lifecycle.end(alarm, rule, at=at)
    elif alarm is None:
        step = None
    else:
        try:
            step = lifecycle.command(alarm, order(CommandName(name), comment, minutes=5, at=at))
        except CommandRefused:
            step = None
    return alarm if step is None else step.alarm


def assert_consistent(alarm: Alarm) -> None:
    match alarm.state:
        case AlarmState.UNACKNOWLEDGED:
            assert (alarm.active, alarm.acknowledged) == (True, False)
        case AlarmState.ACKNOWLEDGED:
            assert (alarm.active, alarm.acknowledged_by) == (True, "aigul")
        case AlarmState.CLEARED_UNACKNOWLEDGED:
            assert (alarm.active, alarm.acknowledged) == (False, False)
        case AlarmState.CLOSED:
            assert (alarm.active, alarm.acknowledged) == (False, True)
    assert (alarm.state is AlarmState.SHELVED) == (alarm.shelved_until is not None)


@given(
    rule=st.sampled_from(list(OF_CONDITION.values())),
    inputs=st.lists(st.tuples(INPUTS, st.sampled_from(["", "why"])), max_size=30),
)
def test_every_sequence_keeps_the_alarm_consistent(
    rule: Rule, inputs: list[tuple[str, str]]
) -> None:
    alarm: Alarm | None = None
    signals = 0
    for number, (name, comment) in enumerate(inputs):
        before = alarm
        alarm = take(before, rule, number, name, comment)
        if alarm is None:
            continue
        assert_consistent(alarm)
        if name == "signal":
            fresh = before is None or before.state is AlarmState.CLOSED
            signals = 1 if fresh else signals + 1
            assert alarm.active, "a signal may not end an alarm"
        assert alarm.count == signals
        if before is not None and before.active and not alarm.active:
            assert rule.ending is not Ending.LATCHED or name == CommandName.CLEAR
