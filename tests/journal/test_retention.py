"""What goes with age or for want of room, and what never goes."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta

import pytest

from gateway.errors import JournalError
from gateway.journal import SqliteJournal, retention
from gateway.model import AlarmState, Lane, Retention, Transition
from tests.journal.contract import all_of, next_batch
from tests.journal.neighbours import (
    DAYS,
    Folder,
    health,
    identity,
    ids,
    names,
    passage,
    press,
    transition,
)
from tests.simulated_clock import START

DAY = timedelta(days=1)
BULKY = "x" * 3000
"""A record of it takes a page of its own: a megabyte is full with 250."""


async def settled(journal: SqliteJournal, lane: Lane, name: str = "center") -> None:
    """Everything of the lane is delivered to that consumer."""
    consumer = journal.consumer(name, lane)
    while consumer.backlog().records:
        batch = await next_batch(consumer)
        await consumer.settle(batch[-1].sequence)


async def test_each_class_has_its_own_age(folder: Folder) -> None:
    async with folder.open() as journal:
        kinds = [passage("access"), health("camera-1", "health"), health("camera-1", "newer")]
        await journal.append(kinds)
        await settled(journal, Lane.TELEMETRY)
        folder.clock.jump(DAYS[Retention.ACCESS] * DAY)
        assert await journal.sweep() == 0
        folder.clock.jump(timedelta(seconds=1))
        assert await journal.sweep() == 1
        assert ids(await all_of(journal, Lane.TELEMETRY)) == names("health", "newer")
        folder.clock.jump(DAYS[Retention.HEALTH] * DAY)
        assert await journal.sweep() == 1
        assert ids(await all_of(journal, Lane.TELEMETRY)) == names("newer")
    assert not folder.metrics.drops


async def test_many_go_in_chunks_and_the_lane_stays_as_it_says(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "CHUNK", 20)
    async with folder.open() as journal:
        consumer = journal.consumer("center", Lane.TELEMETRY)
        for n in range(10):
            at = START + timedelta(days=n)
            await journal.append([passage((n, m), at=at) for m in range(30)])
        folder.clock.jump((DAYS[Retention.ACCESS] + 4.5) * DAY)
        assert await journal.sweep() == 150
        assert len(await all_of(journal, Lane.TELEMETRY)) == 150
        assert (consumer.backlog().records, consumer.backlog().oldest) == (
            150,
            START + timedelta(days=5),
        )
        assert ids(await next_batch(consumer, 2)) == names((5, 0), (5, 1))
        new = journal.consumer("new", Lane.TELEMETRY).backlog()
        assert (new.records, new.oldest) == (150, START + timedelta(days=5))
        assert await journal.get(Lane.TELEMETRY, identity((0, 0))) is None
    assert folder.metrics.drops == {(Lane.TELEMETRY, "retention"): 150}


async def test_it_sweeps_by_itself(folder: Folder) -> None:
    async with folder.open() as journal:
        await journal.append([passage(n) for n in range(3)])
        await settled(journal, Lane.TELEMETRY)
        folder.clock.jump(31 * DAY)
        async with asyncio.timeout(10):
            while await all_of(journal, Lane.TELEMETRY):
                await folder.clock.advance(1)


async def test_an_alarm_that_any_consumer_has_not_settled_stays(folder: Folder) -> None:
    async with folder.open() as journal:
        await journal.append([press(n) for n in range(4)])
        slow = journal.consumer("slow", Lane.ALARM)
        await settled(journal, Lane.ALARM, "fast")
        batch = await next_batch(slow)
        await slow.settle(batch[1].sequence)
        folder.clock.jump(4000 * DAY)
        assert await journal.sweep() == 2
        assert ids(await all_of(journal, Lane.ALARM)) == names(2, 3)
        await slow.settle(batch[3].sequence)
        assert await journal.sweep() == 2
    assert not folder.metrics.drops


async def test_an_alarm_waits_for_a_sink_that_is_out_of_the_settings(folder: Folder) -> None:
    async with folder.open() as journal:
        journal.consumer("taken out", Lane.ALARM)
        await journal.append([press(1)])
    async with folder.open() as journal:
        await settled(journal, Lane.ALARM, "center")
        folder.clock.jump(4000 * DAY)
        assert await journal.sweep() == 0
        assert ids(await next_batch(journal.consumer("taken out", Lane.ALARM))) == names(1)


@pytest.mark.parametrize("retried", [True, False])
async def test_what_is_aside_stays_until_it_is_released(folder: Folder, *, retried: bool) -> None:
    async with folder.open() as journal:
        await journal.append([press(1), press(2)])
        consumer = journal.consumer("center", Lane.ALARM)
        batch = await next_batch(consumer)
        await consumer.set_aside(batch[:1], "422", START if retried else None)
        await consumer.settle(batch[-1].sequence)
        folder.clock.jump(4000 * DAY)
        assert await journal.sweep() == 1
        (aside,) = await consumer.aside()
        assert aside.stored.record == press(1)
        await consumer.release([aside.stored.sequence])
        assert await journal.sweep() == 1


async def test_the_state_of_what_is_not_over_outlives_every_age(folder: Folder) -> None:
    open_steps = [
        transition("open", Transition.RAISED),
        transition("open", Transition.ACKNOWLEDGED, AlarmState.ACKNOWLEDGED),
    ]
    closed_steps = [
        transition("closed", Transition.RAISED),
        transition("closed", Transition.CLEARED, AlarmState.CLOSED),
    ]
    async with folder.open() as journal:
        await journal.append([*open_steps, *closed_steps])
        await journal.append([health("camera-1", 1), health("camera-1", 2)])
        await settled(journal, Lane.ALARM)
        folder.clock.jump(4000 * DAY)
        await journal.sweep()
        assert [s.record async for s in journal.latest("alarm")] == [open_steps[1]]
        assert [s.record async for s in journal.latest("device.health")] == [health("camera-1", 2)]
    async with folder.open() as journal:
        assert [s.record async for s in journal.latest("alarm")] == [open_steps[1]]


async def test_damage_is_kept_as_evidence(folder: Folder) -> None:
    async with folder.open() as journal:
        await journal.append([passage(1), passage(2)])
    connection = sqlite3.connect(folder.file(Lane.TELEMETRY))
    connection.execute("UPDATE record SET body = '{}' WHERE record_id = ?", (identity(1),))
    connection.commit()
    connection.close()
    async with folder.open() as journal:
        assert ids(await all_of(journal, Lane.TELEMETRY)) == names(2)
        # A commit behind that of the finding.
        await journal.append([passage(3)])
        folder.clock.jump(31 * DAY)
        assert await journal.sweep() == 2
        assert await journal.sweep() == 0


async def test_too_much_telemetry_loses_its_oldest_first_delivered_or_not(folder: Folder) -> None:
    async with folder.open(max_size_mb=1) as journal:
        consumer = journal.consumer("center", Lane.TELEMETRY)
        for n in range(10):
            await journal.append([passage((n, m), text=BULKY) for m in range(50)])
        assert await journal.sweep() > 200
        left = ids(await all_of(journal, Lane.TELEMETRY))
        assert left == names(*((n, m) for n in range(10) for m in range(50)))[-len(left) :]
        assert 150 < len(left) < 300
        dropped = 500 - len(left)
        assert folder.metrics.drops == {(Lane.TELEMETRY, "size"): dropped}
        assert consumer.backlog().records == len(left)
        assert ids(await next_batch(consumer)) == left
        assert await journal.sweep() == 0


async def test_delivered_telemetry_that_goes_is_not_counted_as_dropped(folder: Folder) -> None:
    async with folder.open(max_size_mb=1) as journal:
        await journal.append([passage(n, text=BULKY) for n in range(500)])
        await settled(journal, Lane.TELEMETRY)
        assert await journal.sweep() > 0
    assert not folder.metrics.drops


async def test_alarms_do_not_go_for_want_of_room(folder: Folder) -> None:
    async with folder.open(max_size_mb=1) as journal:
        await journal.append([press(n, text=BULKY) for n in range(500)])
        await settled(journal, Lane.ALARM)
        assert await journal.sweep() == 0


async def test_what_a_consumer_has_in_its_hands_is_not_taken_from_it(folder: Folder) -> None:
    async with folder.open(max_size_mb=1) as journal:
        await journal.append([passage(n, text=BULKY) for n in range(500)])
        consumer = journal.consumer("center", Lane.TELEMETRY)
        batch = await next_batch(consumer, 40)
        await journal.sweep()
        await consumer.set_aside(batch[:1], "422", None)
        await consumer.settle(batch[-1].sequence)
        (aside,) = await consumer.aside()
        assert aside.stored == batch[0]
        left = await all_of(journal, Lane.TELEMETRY)
        assert ids(left)[:40] == names(*range(40))
        assert ids(await next_batch(consumer)) == ids(left)[40:]


async def test_quarantined_telemetry_goes_last(folder: Folder) -> None:
    async with folder.open(max_size_mb=1) as journal:
        await journal.append([passage(n, text=BULKY) for n in range(500)])
        consumer = journal.consumer("center", Lane.TELEMETRY)
        batch = await next_batch(consumer)
        await consumer.set_aside(batch[:400], "422", START)
        await consumer.settle(batch[-1].sequence)
        await journal.sweep()
        left = len(await all_of(journal, Lane.TELEMETRY))
        kept = await consumer.aside()
        assert 150 < len(kept) == left < 300, "all that is left is aside"
        assert [a.stored for a in kept] == list(batch[:400])[-len(kept) :]
        await folder.clock.advance(61)
        async with asyncio.timeout(10):
            while consumer.backlog().records != len(kept):
                await folder.clock.advance(61)


async def test_sequences_are_not_given_again_when_all_records_are_gone(folder: Folder) -> None:
    async with folder.open() as journal:
        await journal.append([passage(n) for n in range(10)])
        await settled(journal, Lane.TELEMETRY)
        folder.clock.jump(31 * DAY)
        assert await journal.sweep() == 10
    async with folder.open() as journal:
        consumer = journal.consumer("center", Lane.TELEMETRY)
        await journal.append([passage("new")])
        (stored,) = await next_batch(consumer)
        assert (stored.record, stored.sequence) == (passage("new"), 11)
        assert list(await journal.append([passage(1)])) == [True], "forgotten with its record"


async def test_what_is_freed_goes_back_to_the_disk(folder: Folder) -> None:
    async with folder.open() as journal:
        await journal.append([passage(n, text=BULKY) for n in range(500)])
        await settled(journal, Lane.TELEMETRY)
    full = folder.file(Lane.TELEMETRY).stat().st_size
    async with folder.open() as journal:
        folder.clock.jump(31 * DAY)
        assert await journal.sweep() == 500
    assert folder.file(Lane.TELEMETRY).stat().st_size < full / 2


async def test_a_sweep_that_cannot_write_changes_nothing(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.journal.schema.BUSY_S", 0.1)
    async with folder.open() as journal:
        consumer = journal.consumer("center", Lane.TELEMETRY)
        await journal.append([passage(n) for n in range(10)])
        folder.clock.jump(31 * DAY)
        blocker = sqlite3.connect(folder.file(Lane.TELEMETRY), isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError):
            await journal.sweep()
        blocker.close()
        assert consumer.backlog().records == 10
        assert ids(await next_batch(consumer)) == names(*range(10))
