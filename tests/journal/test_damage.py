"""Records that are not as they were written: found, told, set aside; the rest is served."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.journal import JournalFiles
from gateway.journal import lane as lane_module
from gateway.journal.codec import Damage, Fault
from gateway.journal.tail import Tail
from gateway.model import AlarmState, Lane, Transition
from tests.journal.contract import next_batch
from tests.journal.neighbours import (
    Folder,
    identity,
    ids,
    names,
    passage,
    press,
    record,
    transition,
)
from tests.simulated_clock import START


@pytest.fixture(autouse=True)
def no_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage is on disk: what is served from memory does not meet it."""
    monkeypatch.setattr(lane_module, "Tail", functools.partial(Tail, limit=0))


def spoil(path: Path, statement: str, *arguments: object) -> None:
    """Changes rows as a failing disk would: beneath every rule of ours."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        assert connection.execute(statement, arguments).rowcount > 0
    finally:
        connection.close()


def flip(path: Path, name: object) -> None:
    """Flips one bit in the middle of a record's body."""
    connection = sqlite3.connect(path)
    (body,) = connection.execute(
        "SELECT body FROM record WHERE record_id = ?", (identity(name),)
    ).fetchone()
    connection.close()
    middle = len(body) // 2
    body = body[:middle] + chr(ord(body[middle]) ^ 1) + body[middle + 1 :]
    spoil(path, "UPDATE record SET body = ? WHERE record_id = ?", body, identity(name))


@pytest.mark.parametrize("lane", list(Lane))
async def test_a_flipped_bit_is_found_told_and_passed(folder: Folder, lane: Lane) -> None:
    async with folder.open() as journal:
        await journal.append([record(lane, n) for n in range(5)])
        flip(folder.file(lane), 2)
        consumer = journal.consumer("center", lane)
        batch = await next_batch(consumer)
        assert ids(batch) == names(0, 1, 3, 4)
        assert journal.take_corrupt() == [(lane, batch[1].sequence + 1, identity(2))]
        assert journal.take_corrupt() == [], "told once"
        assert folder.metrics.errors == {("journal", "checksum"): 1}
        await consumer.settle(batch[-1].sequence)
        assert consumer.backlog().records == 0


@pytest.mark.parametrize("column", ["type", "key", "retention"])
async def test_every_column_is_under_the_checksum(folder: Folder, column: str) -> None:
    async with folder.open() as journal:
        steps = [transition(f"a-{n}", Transition.RAISED) for n in range(3)]
        await journal.append(steps)
        spoil(
            folder.file(Lane.ALARM),
            f"UPDATE record SET {column} = {column} || 'x' WHERE record_id = ?",  # noqa: S608
            steps[1].record_id,
        )
        batch = await next_batch(journal.consumer("center", Lane.ALARM))
        assert [stored.record for stored in batch] == [steps[0], steps[2]]
        assert [found[2] for found in journal.take_corrupt()] == [steps[1].record_id]


@pytest.mark.parametrize(
    ("fault", "statement"),
    [
        ("broken JSON", "UPDATE record SET body = substr(body, 2) WHERE record_id = ?"),
        ("another row's end", "UPDATE record SET body = '{},[1' WHERE record_id = ?"),
        ("two rows of one", "UPDATE record SET body = body || '],' || body WHERE record_id = ?"),
        ("no UTF-8", "UPDATE record SET body = CAST(x'22fffe22' AS TEXT) WHERE record_id = ?"),
        ("empty", "UPDATE record SET body = '' WHERE record_id = ?"),
        ("another time", "UPDATE record SET recorded_at = recorded_at + 1 WHERE record_id = ?"),
    ],
)
async def test_no_kind_of_damage_hides_the_neighbours(
    folder: Folder, fault: str, statement: str
) -> None:
    async with folder.open() as journal:
        await journal.append([press(n) for n in range(5)])
        spoil(folder.file(Lane.ALARM), statement, identity(2))
        assert ids([s async for s in journal.read(Lane.ALARM)]) == names(0, 1, 3, 4), fault
        assert [found[2] for found in journal.take_corrupt()] == [identity(2)]


async def test_a_batch_of_nothing_but_damage_is_passed(folder: Folder) -> None:
    async with folder.open() as journal:
        await journal.append([press(n) for n in range(20)])
        for n in range(3, 17):
            flip(folder.file(Lane.ALARM), n)
        consumer = journal.consumer("center", Lane.ALARM)
        seen: list[str] = []
        while consumer.backlog().records:
            batch = await next_batch(consumer, 2)
            seen += ids(batch)
            await consumer.settle(batch[-1].sequence)
        assert seen == names(0, 1, 2, 17, 18, 19)
        assert len(journal.take_corrupt()) == 14


async def test_damage_at_the_end_leaves_the_consumer_waiting(folder: Folder) -> None:
    async with folder.open() as journal:
        await journal.append([press(n) for n in range(3)])
        flip(folder.file(Lane.ALARM), 2)
        consumer = journal.consumer("center", Lane.ALARM)
        assert ids(await next_batch(consumer)) == names(0, 1)
        waiting = asyncio.create_task(next_batch(consumer))
        await journal.append([press("next")])
        assert ids(await waiting) == names("next")


async def test_it_is_told_once_whoever_meets_it_and_again_after_a_restart_not(
    folder: Folder,
) -> None:
    async with folder.open() as journal:
        await journal.append([press(n) for n in range(3)])
        flip(folder.file(Lane.ALARM), 1)
        for name in ("one", "other"):
            assert ids(await next_batch(journal.consumer(name, Lane.ALARM))) == names(0, 2)
        assert await journal.get(Lane.ALARM, identity(1)) is None
        assert len(journal.take_corrupt()) == 1
    async with folder.open() as journal:
        assert ids(await next_batch(journal.consumer("one", Lane.ALARM))) == names(0, 2)
        assert journal.take_corrupt() == []
    assert folder.metrics.errors.total() == 1


async def test_what_is_aside_and_damaged_is_tried_no_more(folder: Folder) -> None:
    async with folder.open() as journal:
        await journal.append([press(n) for n in range(3)])
        consumer = journal.consumer("center", Lane.ALARM)
        batch = await next_batch(consumer)
        await consumer.set_aside(batch, "500", START)
        await consumer.settle(batch[-1].sequence)
        flip(folder.file(Lane.ALARM), 1)
        found = await consumer.aside(due=START)
        assert ids([aside.stored for aside in found]) == names(0, 2)
        assert consumer.backlog().records == 2
    async with folder.open() as journal:
        assert journal.consumer("center", Lane.ALARM).backlog().records == 2


async def test_the_last_word_on_an_alarm_may_be_damaged(folder: Folder) -> None:
    steps = [
        transition("a-1", Transition.RAISED),
        transition("a-1", Transition.ACKNOWLEDGED, AlarmState.ACKNOWLEDGED),
        transition("a-2", Transition.RAISED),
    ]
    async with folder.open() as journal:
        await journal.append(steps)
        spoil(
            folder.file(Lane.ALARM),
            "UPDATE record SET body = '{}' WHERE record_id = ?",
            steps[1].record_id,
        )
        assert [s.record async for s in journal.latest("alarm")] == [steps[2]]
        assert len(journal.take_corrupt()) == 1


def _zeroes(page: bytes) -> bytes:
    return bytes(len(page))


def _wrong_count(page: bytes) -> bytes:
    return page[:3] + b"\xff\xff" + page[5:]


@pytest.mark.parametrize("ruin", [_zeroes, _wrong_count])
async def test_a_ruined_page_costs_its_records_and_no_others(
    folder: Folder, ruin: Callable[[bytes], bytes]
) -> None:
    async with folder.open() as journal:
        await journal.append([passage(n) for n in range(100)])
        await journal.append([press(1)])
    path = folder.file(Lane.TELEMETRY)
    connection = sqlite3.connect(path)
    # The leaf pages of the table, by the rows that they hold.
    pages = connection.execute(
        "SELECT pageno FROM dbstat WHERE name = 'record' AND pagetype = 'leaf' ORDER BY path"
    ).fetchall()
    connection.close()
    page = pages[len(pages) // 2][0] - 1
    content = bytearray(path.read_bytes())
    content[page * 4096 : (page + 1) * 4096] = ruin(bytes(content[page * 4096 : (page + 1) * 4096]))
    path.write_bytes(content)

    async with folder.open() as journal:
        consumer = journal.consumer("center", Lane.TELEMETRY)
        seen: list[str] = []
        while consumer.backlog().records:
            batch = await next_batch(consumer, 30)
            seen += ids(batch)
            await consumer.settle(batch[-1].sequence)
        lost = [found for found in journal.take_corrupt() if found[0] is Lane.TELEMETRY]
        assert seen == [i for i in names(*range(100)) if i in set(seen)], "in order, each once"
        assert 0 < len(lost) < 30
        assert len(seen) + len(lost) == 100
        assert ids([s async for s in journal.read(Lane.ALARM)]) == names(1)


async def test_verify_names_every_damaged_record_and_its_place(folder: Folder) -> None:
    async with folder.open() as journal:
        await journal.append([passage(n) for n in range(1200)])
        await journal.append([press(1)])
        for n in (3, 700):
            flip(folder.file(Lane.TELEMETRY), n)
        found: list[Damage] = []
        with JournalFiles(folder.path) as files:  # beside the running gateway
            assert files.verify(Lane.TELEMETRY, found.append) == 1200
            assert files.verify(Lane.ALARM, found.append) == 1
        assert [(d.lane, d.sequence, d.record_id, d.fault) for d in found] == [
            (Lane.TELEMETRY, 4, identity(3), Fault.CHECKSUM),
            (Lane.TELEMETRY, 701, identity(700), Fault.CHECKSUM),
        ]
