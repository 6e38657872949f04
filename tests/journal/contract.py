"""What any form of `ports.Journal` has to do. A form's test module subclasses `JournalContract` and
gives it the fixture `open_journal`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from gateway.model import AlarmState, Lane, Record, Stored, Transition
from gateway.ports import Aside, Consumer, Journal
from tests.journal.neighbours import (
    OpenJournal,
    health,
    identity,
    ids,
    names,
    passage,
    press,
    record,
    transition,
)
from tests.simulated_clock import START

WAIT_S = 10.0
"""Bound for what must come; nothing here takes long."""

LATER = START + timedelta(minutes=1)

both_lanes = pytest.mark.parametrize("lane", list(Lane))


async def next_batch(consumer: Consumer, limit: int = 1000) -> Sequence[Stored]:
    async with asyncio.timeout(WAIT_S):
        return await consumer.batch(limit)


async def all_of(journal: Journal, lane: Lane, after: int = 0) -> list[Stored]:
    return [stored async for stored in journal.read(lane, after=after)]


def described(asides: Sequence[Aside]) -> list[tuple[str, str, int]]:
    return [(aside.stored.record.record_id, aside.reason, aside.attempts) for aside in asides]


class AppendContract:
    @both_lanes
    async def test_what_is_appended_is_read_back_as_it_was(
        self, open_journal: OpenJournal, lane: Lane
    ) -> None:
        told = record(
            lane, 1, text='quotes " and \\ and \n, Жамбыл, 🚨', number=-0.25, nested=[{"a": None}]
        )
        async with open_journal() as journal:
            assert list(await journal.append([told])) == [True]
            (kept,) = await all_of(journal, lane)
            assert kept.record == told
            assert await journal.get(lane, told.record_id) == kept

    async def test_it_survives_a_restart(self, open_journal: OpenJournal) -> None:
        records = [press(1), transition("a-1", Transition.RAISED)]
        async with open_journal() as journal:
            await journal.append(records)
            before = await all_of(journal, Lane.ALARM)
        async with open_journal() as journal:
            assert await all_of(journal, Lane.ALARM) == before
            assert [stored.record for stored in before] == records

    async def test_order_is_that_of_the_calls_and_within_them(
        self, open_journal: OpenJournal
    ) -> None:
        calls = [[passage((call, n)) for n in range(5)] for call in range(40)]
        async with open_journal() as journal:
            await asyncio.gather(*(journal.append(records) for records in calls))
            stored = await all_of(journal, Lane.TELEMETRY)
        assert ids(stored) == [r.record_id for records in calls for r in records]
        sequences = [entry.sequence for entry in stored]
        assert sequences == sorted(set(sequences))

    async def test_a_known_record_is_told_and_its_first_form_stays(
        self, open_journal: OpenJournal
    ) -> None:
        async with open_journal() as journal:
            await journal.append([press(1, form="first")])
            assert list(await journal.append([press(1, form="second"), press(2)])) == [False, True]
            (first, second) = await all_of(journal, Lane.ALARM)
            assert first.record == press(1, form="first")
            assert second.record == press(2)

    async def test_a_known_record_is_known_after_a_restart(self, open_journal: OpenJournal) -> None:
        async with open_journal() as journal:
            await journal.append([press(1)])
        async with open_journal() as journal:
            assert list(await journal.append([press(1), press(2)])) == [False, True]
            assert ids(await all_of(journal, Lane.ALARM)) == names(1, 2)

    async def test_the_same_record_twice_in_one_call_is_new_once(
        self, open_journal: OpenJournal
    ) -> None:
        async with open_journal() as journal:
            told = [passage(1, form="first"), passage(2), passage(1, form="second")]
            assert list(await journal.append(told)) == [True, True, False]
            assert [s.record for s in await all_of(journal, Lane.TELEMETRY)] == told[:2]

    async def test_the_same_record_in_calls_at_once_is_new_once(
        self, open_journal: OpenJournal
    ) -> None:
        async with open_journal() as journal:
            calls = (journal.append([press("same", call=n), press(n)]) for n in range(20))
            answers = await asyncio.gather(*calls)
            assert [list(answer) for answer in answers] == [[True, True]] + [[False, True]] * 19
            stored = await all_of(journal, Lane.ALARM)
            assert ids(stored) == names("same", *range(20))
            assert stored[0].record == press("same", call=0)

    async def test_appending_nothing_is_nothing(self, open_journal: OpenJournal) -> None:
        async with open_journal() as journal:
            assert list(await journal.append([])) == []

    async def test_sequences_grow_over_a_restart(self, open_journal: OpenJournal) -> None:
        async with open_journal() as journal:
            await journal.append([press(1), press(1), press(2)])
            before = (await all_of(journal, Lane.ALARM))[-1].sequence
        async with open_journal() as journal:
            await journal.append([press(3)])
            assert (await all_of(journal, Lane.ALARM))[-1].sequence > before

    async def test_an_append_that_is_cancelled_harms_nothing(
        self, open_journal: OpenJournal
    ) -> None:
        async with open_journal() as journal:
            task = asyncio.create_task(_appended(journal, [press("cancelled")]))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            await journal.append([press("after")])
            await journal.append([press("cancelled")])
            assert sorted(ids(await all_of(journal, Lane.ALARM))) == sorted(
                names("cancelled", "after")
            )

    async def test_a_fresh_journal_is_writable(self, open_journal: OpenJournal) -> None:
        async with open_journal() as journal:
            assert journal.writable()
            await journal.append([press(1)])
            assert journal.writable()


class ConsumerContract:
    @both_lanes
    async def test_records_come_in_order_and_each_once(
        self, open_journal: OpenJournal, lane: Lane
    ) -> None:
        async with open_journal() as journal:
            await journal.append([record(lane, n) for n in range(5)])
            consumer = journal.consumer("center", lane)
            assert (consumer.name, consumer.lane) == ("center", lane)
            assert ids(await next_batch(consumer, 2)) == names(0, 1)
            assert ids(await next_batch(consumer, 2)) == names(2, 3)
            assert ids(await next_batch(consumer, 2)) == names(4)

    async def test_a_batch_waits_for_a_record(self, open_journal: OpenJournal) -> None:
        async with open_journal() as journal:
            consumer = journal.consumer("center", Lane.ALARM)
            waiting = asyncio.create_task(next_batch(consumer))
            await asyncio.sleep(0)
            assert not waiting.done()
            await journal.append([press(1)])
            assert ids(await waiting) == names(1)

    async def test_a_batch_given_up_loses_nothing(self, open_journal: OpenJournal) -> None:
        async with open_journal() as journal:
            consumer = journal.consumer("center", Lane.ALARM)
            waiting = asyncio.create_task(next_batch(consumer))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            await journal.append([press(1)])
            assert ids(await next_batch(consumer)) == names(1)

    async def test_consumers_and_lanes_know_nothing_of_one_another(
        self, open_journal: OpenJournal
    ) -> None:
        async with open_journal() as journal:
            await journal.append([press(1), press(2)])
            await journal.append([passage(3)])
            one, other = (journal.consumer(name, Lane.ALARM) for name in ("one", "other"))
            batch = await next_batch(one)
            await one.settle(batch[-1].sequence)
            assert ids(await next_batch(other)) == names(1, 2)
            assert ids(await next_batch(journal.consumer("one", Lane.TELEMETRY))) == names(3)

    async def test_a_new_one_may_begin_behind_the_last(self, open_journal: OpenJournal) -> None:
        async with open_journal() as journal:
            await journal.append([press(1)])
            consumer = journal.consumer("late", Lane.ALARM, from_start=False)
            assert consumer.backlog().records == 0
            await journal.append([press(2)])
            assert ids(await next_batch(consumer)) == names(2)
        async with open_journal() as journal:  # known by now: it goes on where it was
            consumer = journal.consumer("late", Lane.ALARM, from_start=False)
            assert ids(await next_batch(consumer)) == names(2)

    async def test_a_new_one_that_began_behind_the_last_keeps_that_place(
        self, open_journal: OpenJournal
    ) -> None:
        async with open_journal() as journal:
            await journal.append([press(1)])
            journal.consumer("late", Lane.ALARM, from_start=False)
            await journal.append([press(2)])
        async with open_journal() as journal:
            consumer = journal.consumer("late", Lane.ALARM, from_start=False)
            assert ids(await next_batch(consumer)) == names(2)

    async def test_after_a_restart_it_begins_behind_what_was_settled(
        self, open_journal: OpenJournal
    ) -> None:
        async with open_journal() as journal:
            await journal.append([press(n) for n in range(5)])
            consumer = journal.consumer("center", Lane.ALARM)
            batch = await next_batch(consumer)
            await consumer.settle(batch[1].sequence)
        async with open_journal() as journal:
            consumer = journal.consumer("center", Lane.ALARM)
            assert ids(await next_batch(consumer)) == names(2, 3, 4)

    async def test_a_second_life_begins_behind_what_was_settled(
        self, open_journal: OpenJournal
    ) -> None:
        async with open_journal() as journal:
            await journal.append([press(n) for n in range(5)])
            consumer = journal.consumer("center", Lane.ALARM)
            batch = await next_batch(consumer, 4)
            await consumer.settle(batch[1].sequence)
            again = journal.consumer("center", Lane.ALARM)
            assert ids(await next_batch(again)) == names(2, 3, 4)

    async def test_settling_goes_forward_only(self, open_journal: OpenJournal) -> None:
        async with open_journal() as journal:
            await journal.append([press(n) for n in range(3)])
            consumer = journal.consumer("center", Lane.ALARM)
            batch = await next_batch(consumer)
            await consumer.settle(batch[1].sequence)
            await consumer.settle(batch[0].sequence)
            again = journal.consumer("center", Lane.ALARM)
            assert ids(await next_batch(again)) == names(2)


class AsideContract:
    async def test_what_is_set_aside_stays_when_the_cursor_moves_on(
        self, open_journal: OpenJournal
    ) -> None:
        async with open_journal() as journal:
            await journal.append([press(1), press(2), press(3)])
            consumer = journal.consumer("center", Lane.ALARM)
            batch = await next_batch(consumer)
            await consumer.set_aside(batch[:2], "refused: 422", LATER)
            await consumer.settle(batch[-1].sequence)
        async with open_journal() as journal:
            consumer = journal.consumer("center", Lane.ALARM)
            found = await consumer.aside()
            assert [aside.stored for aside in found] == list(batch[:2])
            assert {(a.reason, a.attempts, a.since, a.retry_at) for a in found} == {
                ("refused: 422", 1, START, LATER)
            }

    async def test_setting_aside_again_counts_the_attempt(self, open_journal: OpenJournal) -> None:
        async with open_journal() as journal:
            await journal.append([press(1)])
            consumer = journal.consumer("center", Lane.ALARM)
            batch = await next_batch(consumer)
            await consumer.set_aside(batch, "500", START)
            await consumer.set_aside(batch, "422", None)
            (aside,) = await consumer.aside()
            assert (aside.reason, aside.attempts, aside.retry_at) == ("422", 2, None)
            assert aside.since == START

    async def test_only_what_is_due_or_a_page_can_be_asked_for(
        self, open_journal: OpenJournal
    ) -> None:
        async with open_journal() as journal:
            await journal.append([press(n) for n in range(4)])
            consumer = journal.consumer("center", Lane.ALARM)
            batch = await next_batch(consumer)
            await consumer.set_aside(batch[3:], "due", START)
            await consumer.set_aside(batch[:1], "due", START)
            await consumer.set_aside(batch[1:2], "later", LATER)
            await consumer.set_aside(batch[2:3], "never", None)
            due = await consumer.aside(due=START)
            assert described(due) == [(identity(0), "due", 1), (identity(3), "due", 1)]
            assert len(await consumer.aside(due=LATER)) == 3
            everything = await consumer.aside()
            assert ids([aside.stored for aside in everything]) == names(0, 1, 2, 3)
            page = await consumer.aside(after=batch[0].sequence, limit=2)
            assert ids([aside.stored for aside in page]) == names(1, 2)
            alone = await consumer.aside(due=LATER, after=batch[1].sequence - 1, limit=1)
            assert ids([aside.stored for aside in alone]) == names(1)

    async def test_a_record_can_be_handed_to_another_consumer(
        self, open_journal: OpenJournal
    ) -> None:
        async with open_journal() as journal:
            await journal.append([press(1)])
            fallback = journal.consumer("fallback", Lane.ALARM, from_start=False)
            batch = await next_batch(journal.consumer("center", Lane.ALARM))
            await fallback.set_aside(batch, "handed over by center", START)
            assert described(await fallback.aside()) == [(identity(1), "handed over by center", 1)]
            assert await journal.consumer("center", Lane.ALARM).aside() == []

    async def test_what_is_released_is_gone(self, open_journal: OpenJournal) -> None:
        async with open_journal() as journal:
            await journal.append([press(1), press(2)])
            consumer = journal.consumer("center", Lane.ALARM)
            batch = await next_batch(consumer)
            await consumer.set_aside(batch, "500", START)
            await consumer.release([batch[0].sequence, 10**6])
            assert ids([aside.stored for aside in await consumer.aside()]) == names(2)
        async with open_journal() as journal:
            consumer = journal.consumer("center", Lane.ALARM)
            assert ids([aside.stored for aside in await consumer.aside()]) == names(2)

    async def test_records_released_once_begin_to_count_anew(
        self, open_journal: OpenJournal
    ) -> None:
        async with open_journal() as journal:
            await journal.append([press(1)])
            consumer = journal.consumer("center", Lane.ALARM)
            batch = await next_batch(consumer)
            for _ in range(2):
                await consumer.set_aside(batch, "500", START)
                (aside,) = await consumer.aside()
                assert aside.attempts == 1
                await consumer.release([batch[0].sequence])


class BacklogContract:
    async def test_it_counts_what_is_not_settled(self, open_journal: OpenJournal) -> None:
        async with open_journal() as journal:
            consumer = journal.consumer("center", Lane.ALARM)
            assert (consumer.backlog().records, consumer.backlog().oldest) == (0, None)
            await journal.append([press(n, at=START + timedelta(seconds=n)) for n in range(4)])
            assert consumer.backlog().records == 4
            batch = await next_batch(consumer, 3)
            assert consumer.backlog().records == 4
            assert consumer.backlog().oldest == START
            await consumer.settle(batch[0].sequence)
            assert consumer.backlog().records == 3
            assert consumer.backlog().oldest == START + timedelta(seconds=1)
            await consumer.settle(batch[2].sequence)
            assert consumer.backlog().records == 1
            assert consumer.backlog().oldest == START + timedelta(seconds=3)

    async def test_it_is_right_after_a_restart_and_for_a_new_consumer(
        self, open_journal: OpenJournal
    ) -> None:
        async with open_journal() as journal:
            await journal.append([press(n, at=START + timedelta(seconds=n)) for n in range(5)])
            consumer = journal.consumer("center", Lane.ALARM)
            batch = await next_batch(consumer)
            await consumer.settle(batch[1].sequence)
        async with open_journal() as journal:
            known = journal.consumer("center", Lane.ALARM).backlog()
            assert (known.records, known.oldest) == (3, START + timedelta(seconds=2))
            new = journal.consumer("new", Lane.ALARM).backlog()
            assert (new.records, new.oldest) == (5, START)
            late = journal.consumer("late", Lane.ALARM, from_start=False).backlog()
            assert (late.records, late.oldest) == (0, None)

    async def test_what_is_aside_counts_while_it_has_a_time(
        self, open_journal: OpenJournal
    ) -> None:
        async with open_journal() as journal:
            await journal.append([press(n, at=START + timedelta(seconds=n)) for n in range(3)])
            consumer = journal.consumer("center", Lane.ALARM)
            batch = await next_batch(consumer)
            await consumer.set_aside(batch[:1], "500", LATER)
            await consumer.set_aside(batch[1:2], "422", None)
            assert consumer.backlog().records == 3, "each record counts once"
            await consumer.settle(batch[-1].sequence)
            assert (consumer.backlog().records, consumer.backlog().oldest) == (1, START)
        async with open_journal() as journal:
            consumer = journal.consumer("center", Lane.ALARM)
            assert (consumer.backlog().records, consumer.backlog().oldest) == (1, START)
            await consumer.set_aside(batch[:1], "gave up", None)
            assert consumer.backlog().records == 0
            await consumer.set_aside(batch[1:2], "again", START)
            assert consumer.backlog().records == 1
            await consumer.release([batch[1].sequence])
            assert (consumer.backlog().records, consumer.backlog().oldest) == (0, None)

    async def test_known_records_do_not_count_twice(self, open_journal: OpenJournal) -> None:
        async with open_journal() as journal:
            consumer = journal.consumer("center", Lane.TELEMETRY)
            await journal.append([passage(1), passage(1)])
            await journal.append([passage(1), passage(2)])
            assert consumer.backlog().records == 2


class QuestionContract:
    async def test_latest_is_the_last_record_of_every_key(self, open_journal: OpenJournal) -> None:
        first = transition("a-1", Transition.RAISED)
        last = transition("a-1", Transition.ACKNOWLEDGED, AlarmState.ACKNOWLEDGED)
        other = transition("a-2", Transition.RAISED)
        async with open_journal() as journal:
            await journal.append([press("no key"), first, other, last])
            await journal.append([health("camera-1", 1), health("camera-1", 2)])
            assert [s.record async for s in journal.latest("alarm")] == [other, last]
            assert [s.record async for s in journal.latest("alarm.raised")] == [first, other]
            assert [s.record async for s in journal.latest("device.health")] == [
                health("camera-1", 2)
            ]
            assert [s.record async for s in journal.latest("device")] == [health("camera-1", 2)]
        async with open_journal() as journal:
            assert [s.record async for s in journal.latest("alarm")] == [other, last]

    async def test_latest_takes_whole_words_of_a_type(self, open_journal: OpenJournal) -> None:
        async with open_journal() as journal:
            await journal.append([transition("a-1", Transition.RAISED)])
            for family in ("ala", "alarm.", "alarm.rais", "alarms", "alarm.raised.x", "", "%", "_"):
                assert [s async for s in journal.latest(family)] == [], family

    async def test_a_known_record_is_not_latest_again(self, open_journal: OpenJournal) -> None:
        async with open_journal() as journal:
            await journal.append([health("camera-1", 1), health("camera-1", 2)])
            await journal.append([health("camera-1", 1)])
            assert [s.record async for s in journal.latest("device.health")] == [
                health("camera-1", 2)
            ]

    async def test_a_lane_is_read_from_a_place_or_a_time(self, open_journal: OpenJournal) -> None:
        async with open_journal() as journal:
            # Clocks jump: what is older may come later.
            moments = [START + timedelta(hours=h) for h in (0, 2, 1, 3)]
            await journal.append([passage(n, at=at) for n, at in enumerate(moments)])
            everything = await all_of(journal, Lane.TELEMETRY)
            assert ids(everything) == names(0, 1, 2, 3)
            assert await all_of(journal, Lane.TELEMETRY, everything[1].sequence) == everything[2:]
            since = [s async for s in journal.read(Lane.TELEMETRY, since=moments[1])]
            assert ids(since) == names(1, 3)
            both = [
                s
                async for s in journal.read(
                    Lane.TELEMETRY, after=everything[1].sequence, since=moments[2]
                )
            ]
            assert ids(both) == names(2, 3)
            assert [
                s async for s in journal.read(Lane.TELEMETRY, since=START + timedelta(days=1))
            ] == []
            assert await all_of(journal, Lane.ALARM) == []

    async def test_reading_takes_many_records(self, open_journal: OpenJournal) -> None:
        async with open_journal() as journal:
            await journal.append([passage(n) for n in range(2500)])
            assert ids(await all_of(journal, Lane.TELEMETRY)) == names(*range(2500))

    async def test_a_record_is_found_by_its_id_in_its_lane(self, open_journal: OpenJournal) -> None:
        async with open_journal() as journal:
            await journal.append([press(1)])
            found = await journal.get(Lane.ALARM, identity(1))
            assert found is not None
            assert found.record == press(1)
            assert await journal.get(Lane.TELEMETRY, identity(1)) is None
            assert await journal.get(Lane.ALARM, identity(2)) is None


class JournalContract(
    AppendContract, ConsumerContract, AsideContract, BacklogContract, QuestionContract
):
    """The whole of it."""


async def _appended(journal: Journal, records: Sequence[Record]) -> Sequence[bool]:
    return await journal.append(records)
