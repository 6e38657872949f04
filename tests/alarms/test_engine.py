"""The alarm engine on a journal: what it raises, and that neither crash nor repeat changes it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from msgspec.structs import replace

from gateway.alarms.causes import GATEWAY_SITE
from gateway.alarms.engine import CLOSED_KEPT, AlarmEngine
from gateway.errors import CommandRefused, JournalError, JournalFull, NotFound
from gateway.model import (
    Alarm,
    AlarmState,
    AlarmTransition,
    Audience,
    Body,
    Command,
    CommandName,
    Condition,
    DeviceKind,
    Event,
    EventType,
    Finding,
    FindingCause,
    GatewayCondition,
    Lane,
    Record,
    Retention,
    Severity,
    Transition,
)
from tests.memory_journal import MemoryJournal
from tests.simulated_clock import SimulatedClock, settled


class Counted:
    """`ports.Metrics` that remembers what the engine counts."""

    def __init__(self) -> None:
        self.raised: list[str] = []
        self.errors: list[tuple[str, str]] = []

    def appended(self, lane: Lane, count: int) -> None: ...

    def dropped(self, lane: Lane, reason: str, count: int = 1) -> None: ...

    def error(self, stage: str, reason: str) -> None:
        self.errors.append((stage, reason))

    def check_took(self, kind: DeviceKind, seconds: float) -> None: ...

    def broker_connected(self, broker: str, connected: bool) -> None: ...

    def delivered(self, sink: str, lane: Lane, outcome: str, count: int) -> None: ...

    def press_delivered(self, seconds: float) -> None: ...

    def alarm_raised(self, alarm: Alarm) -> None:
        self.raised.append(alarm.alarm_id)


class Rig:
    """An engine that follows a journal, and the hands of an operator."""

    def __init__(self, journal: MemoryJournal, clock: SimulatedClock) -> None:
        self.journal = journal
        self.clock = clock
        self.metrics = Counted()
        self.engine = AlarmEngine(
            journal=journal, submit=self._submit, clock=clock, metrics=self.metrics
        )

    async def _submit(self, command: Command) -> Record:
        record = command_record(command)
        await self.journal.append([record])
        return record

    async def commit(self, *records: Record) -> None:
        """Commits each record and lets the engine follow."""
        for record in records:
            await self.journal.append([record])
        await settled()

    async def order(
        self,
        name: CommandName,
        alarm_id: str,
        comment: str = "",
        minutes: float | None = None,
    ) -> Alarm:
        return await self.engine.execute(self.command(name, alarm_id, comment, minutes))

    def command(
        self, name: CommandName, target: str, comment: str = "", minutes: float | None = None
    ) -> Command:
        return Command(
            name=name,
            target=target,
            by="aigul",
            at=self.clock.now(),
            comment=comment,
            minutes=minutes,
        )

    def record(self, ident: str, body: Body, lane: Lane = Lane.ALARM) -> Record:
        return Record(
            record_id=ident,
            lane=lane,
            retention=Retention.EVENT,
            type="test",
            recorded_at=self.clock.now(),
            body=body,
        )

    def event(
        self,
        ident: str,
        event_type: EventType = EventType.PANIC_PRESSED,
        device_id: str = "button-1",
        *,
        exercise: bool = False,
    ) -> Record:
        lane = Lane.ALARM if event_type.startswith("panic.") else Lane.TELEMETRY
        body = Event(
            device_id=device_id,
            site_id="school-1",
            type=event_type,
            received_at=self.clock.now(),
            record_id=ident,
            exercise=exercise,
        )
        return self.record(ident, body, lane)

    async def transitions(self) -> list[tuple[Transition, AlarmState, int]]:
        return [
            (one.transition, one.alarm.state, one.alarm.count)
            for one in [stored.body for stored in await self.transition_records()]
            if isinstance(one, AlarmTransition)
        ]

    async def transition_records(self) -> list[Record]:
        return [
            stored.record
            async for stored in self.journal.read(Lane.ALARM)
            if isinstance(stored.record.body, AlarmTransition)
        ]

    def only(self) -> Alarm:
        [alarm] = self.engine.alarms()
        return alarm


def command_record(command: Command) -> Record:
    return Record(
        record_id=f"command {command.name} {command.target} {command.at.isoformat()}",
        lane=Lane.ALARM,
        retention=Retention.AUDIT,
        type=f"command.{command.name}",
        recorded_at=command.at,
        body=command,
    )


@contextlib.asynccontextmanager
async def running(journal: MemoryJournal, clock: SimulatedClock) -> AsyncIterator[Rig]:
    """One life of the engine, from its restore to its death."""
    rig = Rig(journal, clock)
    await rig.engine.restore()
    task = asyncio.create_task(rig.engine.run(), name="engine")
    try:
        await settled()
        yield rig
        assert not task.done(), "the engine has ended by itself"
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def again(rig: Rig, *, unsettled: bool = False) -> AsyncIterator[Rig]:
    """The next process; `unsettled`: the last moves of the cursors were lost, all comes again."""
    journal = rig.journal.restart()
    if unsettled:
        for kept in journal._lanes.values():
            kept.cursors.clear()
    async with running(journal, rig.clock) as next_rig:
        yield next_rig


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
async def rig(clock: SimulatedClock) -> AsyncIterator[Rig]:
    async with running(MemoryJournal(clock), clock) as rig:
        yield rig


# --- presses and what an operator does -----------------------------------------------------------


async def test_presses_raise_count_and_announce_again(rig: Rig) -> None:
    heard: list[Alarm] = []
    rig.engine.watch(heard.append)
    await rig.commit(rig.event("p1"), rig.event("p2"))
    raised = rig.only()
    assert (raised.condition, raised.state, raised.count) == (
        Condition.PANIC,
        AlarmState.UNACKNOWLEDGED,
        2,
    )
    taken = await rig.order(CommandName.ACKNOWLEDGE, raised.alarm_id)
    assert (taken.state, taken.acknowledged_by) == (AlarmState.ACKNOWLEDGED, "aigul")
    await rig.commit(rig.event("p3"))
    assert await rig.transitions() == [
        (Transition.RAISED, AlarmState.UNACKNOWLEDGED, 1),
        (Transition.UPDATED, AlarmState.UNACKNOWLEDGED, 2),
        (Transition.ACKNOWLEDGED, AlarmState.ACKNOWLEDGED, 2),
        (Transition.RAISED, AlarmState.UNACKNOWLEDGED, 3),
    ]
    assert {alarm.alarm_id for alarm in heard} == {raised.alarm_id}
    assert len(heard) == 4
    assert rig.metrics.raised == [raised.alarm_id]


async def test_presses_of_one_batch_are_counted_one_by_one(clock: SimulatedClock) -> None:
    journal = MemoryJournal(clock)
    before = Rig(journal, clock)
    await journal.append([before.event(f"p{n}", device_id=f"button-{n % 2}") for n in range(6)])
    async with running(journal, clock) as rig:
        assert {(one.device_id, one.count) for one in rig.engine.alarms()} == {
            ("button-0", 3),
            ("button-1", 3),
        }


async def test_a_clear_closes_the_alarm_and_the_next_press_is_a_new_one(rig: Rig) -> None:
    await rig.commit(rig.event("p1"))
    first = rig.only()
    closed = await rig.order(CommandName.CLEAR, first.alarm_id, "false press, teacher called")
    assert closed.state is AlarmState.CLOSED
    assert rig.engine.active_counts() == {}
    await rig.clock.advance(1)
    await rig.commit(rig.event("p2"))
    newest, oldest = rig.engine.alarms()
    assert (oldest.alarm_id, oldest.state) == (first.alarm_id, AlarmState.CLOSED)
    assert (newest.state, newest.count) == (AlarmState.UNACKNOWLEDGED, 1)
    assert rig.engine.active_counts() == {"critical": 1}


async def test_a_transition_tells_who_and_why(rig: Rig) -> None:
    await rig.commit(rig.event("p1"))
    await rig.order(CommandName.CLEAR, rig.only().alarm_id, "false press")
    raised, cleared = [record.body for record in await rig.transition_records()]
    assert isinstance(raised, AlarmTransition)
    assert isinstance(cleared, AlarmTransition)
    assert (raised.caused_by, raised.by) == ("p1", None)
    assert (cleared.by, cleared.comment) == ("aigul", "false press")


async def test_commands_that_cannot_be_leave_no_record(rig: Rig) -> None:
    await rig.commit(rig.event("p1"))
    alarm_id = rig.only().alarm_id
    size = rig.journal.size_bytes()
    with pytest.raises(NotFound):
        await rig.order(CommandName.ACKNOWLEDGE, "nothing")
    with pytest.raises(CommandRefused, match="comment"):
        await rig.order(CommandName.CLEAR, alarm_id)
    with pytest.raises(CommandRefused, match="shelved"):
        await rig.order(CommandName.SHELVE, alarm_id, "too loud", 10)
    assert rig.journal.size_bytes() == size


async def test_a_second_acknowledgement_changes_nothing(rig: Rig) -> None:
    await rig.commit(rig.event("p1"))
    first = await rig.order(CommandName.ACKNOWLEDGE, rig.only().alarm_id)
    size = rig.journal.size_bytes()
    await rig.clock.advance(1)
    assert await rig.order(CommandName.ACKNOWLEDGE, first.alarm_id) == first
    assert rig.journal.size_bytes() == size


async def test_a_command_whose_giver_leaves_is_finished_all_the_same(rig: Rig) -> None:
    await rig.commit(rig.event("p1"))
    alarm_id = rig.only().alarm_id
    rig.journal.hold(Lane.ALARM)
    giver = asyncio.create_task(rig.order(CommandName.ACKNOWLEDGE, alarm_id))
    await settled()
    giver.cancel()
    await settled()
    rig.journal.release(Lane.ALARM)
    with pytest.raises(asyncio.CancelledError):
        await giver
    assert rig.only().state is AlarmState.ACKNOWLEDGED
    assert (await rig.transitions())[-1][0] is Transition.ACKNOWLEDGED


async def test_a_committed_command_that_today_would_be_refused_stops_nothing(rig: Rig) -> None:
    await rig.commit(rig.event("p1"))
    refused = rig.command(CommandName.SHELVE, rig.only().alarm_id, "by an older version", 10)
    await rig.commit(command_record(refused), rig.event("p2"))
    assert (rig.only().state, rig.only().count) == (AlarmState.UNACKNOWLEDGED, 2)


async def test_the_oldest_closed_alarms_are_forgotten(clock: SimulatedClock) -> None:
    journal = MemoryJournal(clock)
    rig = Rig(journal, clock)
    for number in range(CLOSED_KEPT + 1):
        closed = Alarm(
            alarm_id=f"closed-{number}",
            device_id="button-1",
            site_id="school-1",
            condition=Condition.PANIC,
            severity=Severity.CRITICAL,
            state=AlarmState.CLOSED,
            active=False,
            acknowledged=True,
            raised_at=clock.now(),
            updated_at=clock.now(),
        )
        step = AlarmTransition(transition=Transition.CLEARED, alarm=closed, caused_by="")
        record = rig.record(f"r{number}", step)
        await journal.append([replace(record, type="alarm.cleared", key=closed.alarm_id)])
    await rig.engine.restore()
    assert len(rig.engine.alarms()) == CLOSED_KEPT
    with pytest.raises(NotFound):
        rig.engine.alarm("closed-0")


# --- repeats and restarts ------------------------------------------------------------------------


async def test_a_restart_changes_nothing(rig: Rig) -> None:
    await rig.commit(rig.event("p1"), rig.event("p2"), rig.event("q1", device_id="button-2"))
    await rig.commit(rig.event("t1", EventType.TAMPER_OPENED))
    await rig.order(CommandName.ACKNOWLEDGE, rig.engine.alarms()[0].alarm_id)
    before, transitions = rig.engine.alarms(), await rig.transitions()
    async with again(rig) as next_rig:
        assert next_rig.engine.alarms() == before
        assert await next_rig.transitions() == transitions
        assert next_rig.metrics.raised == []


async def test_records_seen_twice_change_nothing(rig: Rig) -> None:
    await rig.commit(rig.event("p1"), rig.event("p2"))
    await rig.order(CommandName.ACKNOWLEDGE, rig.only().alarm_id)
    await rig.order(CommandName.COMMENT, rig.only().alarm_id, "guard is on the way")
    await rig.commit(rig.event("p3"), rig.event("t1", EventType.TAMPER_OPENED))
    await rig.commit(rig.event("t2", EventType.TAMPER_CLOSED))
    before, transitions = rig.engine.alarms(), await rig.transitions()
    async with again(rig, unsettled=True) as next_rig:
        assert next_rig.engine.alarms() == before
        assert await next_rig.transitions() == transitions


async def test_presses_of_a_closed_alarm_that_come_again_raise_no_false_alarm(rig: Rig) -> None:
    await rig.commit(rig.event("p1"), rig.event("p2"))
    alarm_id = rig.only().alarm_id
    await rig.order(CommandName.CLEAR, alarm_id, "false press")
    async with again(rig, unsettled=True) as next_rig:
        assert next_rig.only().state is AlarmState.CLOSED
        assert next_rig.engine.active_counts() == {}
        await next_rig.commit(next_rig.event("p3"))
        assert next_rig.engine.active_counts() == {"critical": 1}


async def test_an_end_that_comes_again_does_not_end_what_began_after_it(rig: Rig) -> None:
    await rig.commit(rig.event("t1", EventType.TAMPER_CLOSED))
    await rig.commit(rig.event("t2", EventType.TAMPER_OPENED))
    assert rig.only().active
    async with again(rig, unsettled=True) as next_rig:
        assert next_rig.only() == rig.only()
        await next_rig.commit(next_rig.event("t3", EventType.TAMPER_CLOSED))
        assert not next_rig.only().active


async def test_an_end_before_the_restart_that_was_not_taken_yet_still_ends(
    clock: SimulatedClock,
) -> None:
    journal = MemoryJournal(clock)
    async with running(journal, clock) as rig:
        await rig.commit(rig.event("t1", EventType.TAMPER_OPENED))
    await journal.append([rig.event("t2", EventType.TAMPER_CLOSED)])
    await journal.append([rig.event("t3", EventType.TAMPER_OPENED)])
    async with again(rig) as next_rig:
        assert [step[0] for step in await next_rig.transitions()] == [
            Transition.RAISED,
            Transition.CLEARED,
            Transition.RAISED,
        ]
        assert (next_rig.only().active, next_rig.only().count) == (True, 2)


async def test_a_crash_before_the_transition_raises_the_alarm_in_the_next_life(rig: Rig) -> None:
    await rig.commit(rig.event("p1"))
    committed = rig.event("p2")
    await rig.journal.append([committed])
    # No turn of the loop between: the engine has not seen it.
    async with again(rig) as next_rig:
        assert next_rig.only().count == 2
        assert len(await next_rig.transitions()) == 2


async def test_a_crash_between_the_transition_and_the_settling_takes_it_once(
    clock: SimulatedClock,
) -> None:
    journal = MemoryJournal(clock)
    async with running(journal, clock) as rig:
        await rig.commit(rig.event("p1"))
    crashed = journal.restart()
    crashed._lanes[Lane.ALARM].cursors["alarms"] = 0
    async with running(crashed, clock) as next_rig:
        assert next_rig.only().count == 1
        assert await next_rig.transitions() == [(Transition.RAISED, AlarmState.UNACKNOWLEDGED, 1)]
        await next_rig.commit(next_rig.event("p2"))
        assert next_rig.only().count == 2


# --- a journal in trouble ------------------------------------------------------------------------


async def test_the_transition_follows_when_the_journal_recovers(rig: Rig) -> None:
    await rig.journal.append([rig.event("p1")])
    rig.journal.fail[Lane.ALARM] = JournalFull("no room")
    await rig.clock.advance(2)
    assert rig.engine.alarms() == []
    assert ("alarms", "journal") in rig.metrics.errors
    rig.journal.fail[Lane.ALARM] = None
    await rig.clock.advance(2)
    assert rig.only().count == 1
    assert await rig.transitions() == [(Transition.RAISED, AlarmState.UNACKNOWLEDGED, 1)]


async def test_a_command_that_cannot_be_committed_is_told_and_changes_nothing(rig: Rig) -> None:
    await rig.commit(rig.event("p1"))
    before = rig.only()
    rig.journal.fail[Lane.ALARM] = JournalError("broken")
    with pytest.raises(JournalError):
        await rig.order(CommandName.ACKNOWLEDGE, before.alarm_id)
    assert rig.only() == before


async def test_what_is_foreseen_has_the_ids_of_what_follows(rig: Rig) -> None:
    presses = [rig.event("p1"), rig.event("p2"), rig.event("q1", device_id="button-2")]
    # One by one, as each loses its patience.
    foreseen = [transition for press in presses for transition in rig.engine.foresee([press])]
    assert rig.engine.alarms() == []
    assert rig.engine.foresee(presses) == foreseen
    await rig.commit(*presses)
    assert told(await rig.transition_records()) == told(foreseen)
    assert {one.count for one in rig.engine.alarms()} == {1, 2}


async def test_the_foreseen_id_of_an_alarm_holds_in_whatever_order_its_presses_are_committed(
    rig: Rig,
) -> None:
    first, second = rig.event("p1"), rig.event("p2")
    foreseen = rig.engine.foresee([first, second])
    await rig.commit(second)
    assert rig.only().alarm_id == foreseen[0].key
    await rig.commit(first)
    assert (rig.only().alarm_id, rig.only().count) == (foreseen[0].key, 2)
    # Nothing of it is left for later alarms.
    await rig.order(CommandName.CLEAR, rig.only().alarm_id, "done")
    await rig.commit(rig.event("p3"))
    assert len({alarm.alarm_id for alarm in rig.engine.alarms()}) == 2
    assert rig.engine._foreseen == {}


async def test_nothing_foreseen_outlives_a_clear(rig: Rig) -> None:
    await rig.commit(rig.event("p1"))
    press = rig.event("p2")
    [foreseen] = rig.engine.foresee([press])
    await rig.order(CommandName.CLEAR, rig.only().alarm_id, "guard was there")
    await rig.commit(press)
    newest = next(one for one in rig.engine.alarms() if one.state is not AlarmState.CLOSED)
    assert (newest.alarm_id != foreseen.key, newest.count) == (True, 1)
    assert rig.engine._foreseen == {}


async def test_a_press_is_foreseen_as_what_it_does_to_the_standing_alarm(rig: Rig) -> None:
    await rig.commit(rig.event("p1"))
    await rig.order(CommandName.ACKNOWLEDGE, rig.only().alarm_id)
    press = rig.event("p2")
    [foreseen] = rig.engine.foresee([press, rig.event("pass", EventType.ACCESS_PASSED)])
    assert (foreseen.type, foreseen.key) == ("alarm.raised", rig.only().alarm_id)
    assert rig.only().count == 1
    await rig.commit(press)
    assert told((await rig.transition_records())[-1:]) == told([foreseen])


# --- other conditions ----------------------------------------------------------------------------


async def test_both_lanes_are_followed(rig: Rig) -> None:
    await rig.commit(
        rig.event("p1"),
        rig.event("d1", EventType.DOOR_FORCED, "turnstile-1"),
        rig.event("a1", EventType.ACCESS_PASSED, "turnstile-1"),
    )
    assert {one.condition for one in rig.engine.alarms()} == {
        Condition.PANIC,
        Condition.DOOR_FORCED,
    }
    await rig.commit(rig.event("d2", EventType.DOOR_CLOSED, "turnstile-1"))
    [door] = [one for one in rig.engine.alarms() if one.condition is Condition.DOOR_FORCED]
    assert door.state is AlarmState.CLEARED_UNACKNOWLEDGED


async def test_telemetry_that_hangs_does_not_delay_an_alarm(rig: Rig) -> None:
    rig.journal.hold(Lane.TELEMETRY)
    tamper = rig.event("t1", EventType.TAMPER_OPENED)
    hanging = asyncio.create_task(rig.journal.append([tamper]))
    await rig.commit(rig.event("p1"))
    assert rig.only().condition is Condition.PANIC
    rig.journal.release(Lane.TELEMETRY)
    await hanging
    await settled()
    assert len(rig.engine.alarms()) == 2


async def test_shelving_ends_by_the_clock_and_asks_for_attention_again(rig: Rig) -> None:
    await rig.commit(rig.event("t1", EventType.TAMPER_OPENED))
    alarm_id = rig.only().alarm_id
    shelved = await rig.order(CommandName.SHELVE, alarm_id, "lid is being mended", 10)
    assert shelved.state is AlarmState.SHELVED
    await rig.clock.advance(9 * 60)
    assert rig.only().state is AlarmState.SHELVED
    await rig.clock.advance(2 * 60)
    assert (rig.only().state, rig.only().shelved_until) == (AlarmState.UNACKNOWLEDGED, None)
    assert [step[0] for step in await rig.transitions()] == [
        Transition.RAISED,
        Transition.UPDATED,
        Transition.RAISED,
    ]
    # Announced again, but not another alarm.
    assert rig.metrics.raised == [alarm_id]


async def test_a_shelving_ends_after_a_restart_and_after_a_jump_of_the_wall_clock(rig: Rig) -> None:
    await rig.commit(rig.event("t1", EventType.TAMPER_OPENED))
    await rig.order(CommandName.SHELVE, rig.only().alarm_id, "lid is being mended", 60)
    async with again(rig, unsettled=True) as next_rig:
        assert next_rig.only().state is AlarmState.SHELVED
        rig.clock.jump(timedelta(minutes=61))
        await rig.clock.advance(60)
        assert next_rig.only().state is AlarmState.UNACKNOWLEDGED


async def test_an_exercise_pages_nobody(rig: Rig) -> None:
    await rig.commit(rig.event("p1", exercise=True))
    assert rig.engine.alarms() == []
    assert await rig.transitions() == []


async def test_findings_become_items_of_the_technician(rig: Rig) -> None:
    for number, cause in enumerate(FindingCause):
        finding = Finding(
            device_id="button-1",
            site_id="school-1",
            cause=cause,
            received_at=rig.clock.now(),
            topic="kuzet/school-1/button-1/event",
            excerpt="[[[[",
            detail="not JSON",
        )
        await rig.commit(rig.record(f"f{number}", finding))
    items = rig.engine.alarms()
    assert {one.condition for one in items} == {
        Condition.UNREADABLE_MESSAGE,
        Condition.RETAINED_PRESS,
    }
    assert {one.audience for one in items} == {Audience.TECHNICIAN}
    assert {one.detail for one in items} == {"kuzet/school-1/button-1/event: not JSON"}
    assert rig.engine.active_counts() == {}
    done = await rig.order(CommandName.ACKNOWLEDGE, items[0].alarm_id)
    assert done.state is AlarmState.CLOSED


async def test_a_condition_of_the_gateway_raises_and_ends_a_local_alarm(rig: Rig) -> None:
    def told_active(ident: str, active: bool) -> Record:
        body = GatewayCondition(
            condition=Condition.DELIVERY_FAILED,
            subject="opscenter",
            active=active,
            at=rig.clock.now(),
            detail="401" if active else "",
        )
        return rig.record(ident, body)

    await rig.commit(told_active("c1", True))
    alarm = rig.only()
    assert (alarm.device_id, alarm.site_id, alarm.detail) == ("opscenter", GATEWAY_SITE, "401")
    await rig.order(CommandName.ACKNOWLEDGE, alarm.alarm_id)
    await rig.commit(told_active("c2", False))
    assert (rig.only().state, rig.only().detail) == (AlarmState.CLOSED, "401")


def told(records: list[Record]) -> list[tuple[str, str, str | None]]:
    return [(record.record_id, record.type, record.key) for record in records]
