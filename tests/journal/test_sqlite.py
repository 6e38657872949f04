"""What is SQLite's own: one commit for a group, lanes apart, one gateway for a folder, the end."""

from __future__ import annotations

import asyncio
import functools
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.errors import JournalError
from gateway.journal import SqliteJournal
from gateway.journal import lane as lane_module
from gateway.journal import reader as reader_module
from gateway.journal.interpreter import SWITCH_INTERVAL_S
from gateway.journal.tail import Tail
from gateway.model import Lane, Record
from tests.journal.contract import next_batch
from tests.journal.neighbours import Folder, ids, names, passage, press, record
from tests.peers import until
from tests.simulated_clock import START


@contextmanager
def held(path: Path) -> Iterator[sqlite3.Connection]:
    """Another process' write: the lane's writer waits for it, as for a disk that hangs."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    finally:
        connection.close()


async def appended(journal: SqliteJournal, records: Sequence[Record]) -> Sequence[bool]:
    return await journal.append(records)


def commits(path: Path) -> int:
    """Committed transactions in the WAL: frames that carry a database size (file format 4.1)."""
    wal = path.with_name(f"{path.name}-wal").read_bytes()
    frames = range(32, len(wal), 24 + 4096)
    return sum(1 for at in frames if wal[at + 4 : at + 8] != b"\0\0\0\0")


async def test_what_waits_is_committed_together(folder: Folder) -> None:
    async with folder.open() as journal:
        await journal.append([press("first")])
        with held(folder.file(Lane.ALARM)):
            before = commits(folder.file(Lane.ALARM))
            tasks = [asyncio.create_task(appended(journal, [press("held")]))]
            await asyncio.sleep(0)
            tasks += [asyncio.create_task(appended(journal, [press(n)])) for n in range(100)]
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        # What the writer had taken already, and all that came while it waited.
        assert commits(folder.file(Lane.ALARM)) - before <= 2
        stored = [s async for s in journal.read(Lane.ALARM)]
        assert ids(stored) == names("first", "held", *range(100))


@pytest.mark.parametrize(("stuck", "free"), [tuple(Lane), tuple(reversed(Lane))])
async def test_a_lane_that_hangs_does_not_hold_up_the_other(
    folder: Folder, stuck: Lane, free: Lane
) -> None:
    async with folder.open() as journal:
        with held(folder.file(stuck)):
            hanging = asyncio.create_task(appended(journal, [record(stuck, "hangs")]))
            consumer = journal.consumer("center", free)
            for n in range(20):
                await journal.append([record(free, n)])
                assert ids(await next_batch(consumer)) == names(n)
            assert not hanging.done()
        assert list(await hanging) == [True]


async def test_cancelled_appenders_spoil_nothing_of_their_group(folder: Folder) -> None:
    async with folder.open() as journal:
        consumer = journal.consumer("center", Lane.TELEMETRY)
        with held(folder.file(Lane.TELEMETRY)):
            tasks = [asyncio.create_task(appended(journal, [passage(n)])) for n in range(10)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            await asyncio.wait(tasks[::2])
        await asyncio.gather(*tasks[1::2])
        stored = [s async for s in journal.read(Lane.TELEMETRY)]
        assert ids(stored) == names(*range(10)), "what was cancelled was on its way"
        assert list(await next_batch(consumer)) == stored


async def test_who_appends_too_much_waits_in_line(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_module, "IN_FLIGHT_RECORDS", 10)
    async with folder.open() as journal:
        with held(folder.file(Lane.ALARM)):
            calls = [[press((call, n)) for n in range(4)] for call in range(6)]
            tasks = [asyncio.create_task(appended(journal, records)) for records in calls]
            await asyncio.sleep(0)
            tasks[3].cancel()  # one that still waits for room: it never gets to the disk
            await asyncio.wait([tasks[3]])
        await asyncio.gather(*tasks[:3], *tasks[4:])
        expected = [r.record_id for call, records in enumerate(calls) if call != 3 for r in records]
        assert ids([s async for s in journal.read(Lane.ALARM)]) == expected
        assert list(await journal.append([press(n) for n in range(50)])) == [True] * 50


async def test_a_failed_commit_fails_every_call_of_its_group_and_the_next_succeeds(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.journal.schema.BUSY_S", 0.1)
    async with folder.open() as journal:
        consumer = journal.consumer("center", Lane.ALARM)
        with held(folder.file(Lane.ALARM)):
            tasks = [asyncio.create_task(appended(journal, [press(n)])) for n in range(5)]
            await asyncio.wait(tasks)
            assert all(isinstance(task.exception(), JournalError) for task in tasks)
            assert not journal.writable()
        assert [s async for s in journal.read(Lane.ALARM)] == []
        assert consumer.backlog().records == 0
        assert list(await journal.append([press(3)])) == [True]
        assert journal.writable()
        assert ids(await next_batch(consumer)) == names(3)


async def test_writable_comes_back_without_an_append(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.journal.schema.BUSY_S", 0.1)
    async with folder.open() as journal:
        with held(folder.file(Lane.ALARM)), pytest.raises(JournalError):
            await journal.append([press(1)])
        assert not journal.writable()
        await journal.look_at_disk()
        assert journal.writable()


async def test_leaving_commits_what_was_appended_and_settled(folder: Folder) -> None:
    async with folder.open() as journal:
        await journal.append([press(n) for n in range(3)])
        consumer = journal.consumer("center", Lane.ALARM)
        batch = await next_batch(consumer)
        await consumer.settle(batch[1].sequence)
        task = asyncio.create_task(appended(journal, [press("last")]))
        await asyncio.sleep(0)
    assert list(await task) == [True]
    assert not list(folder.path.glob("*-wal")), "the WAL is written back"
    async with folder.open() as journal:
        consumer = journal.consumer("center", Lane.ALARM)
        assert ids(await next_batch(consumer)) == names(2, "last")


async def test_a_closed_journal_says_so_to_whoever_waits_or_asks(folder: Folder) -> None:
    async with folder.open() as journal:
        consumer = journal.consumer("center", Lane.ALARM)
        waiting = asyncio.create_task(next_batch(consumer))
        await asyncio.sleep(0)
    for attempt in (
        waiting,
        next_batch(consumer),
        appended(journal, [press(1)]),
        journal.get(Lane.ALARM, "x"),
        consumer.aside(),
        consumer.release([1]),
    ):
        with pytest.raises(JournalError, match="closed"):
            await attempt


async def test_cursors_become_durable_without_an_append(folder: Folder) -> None:
    async with folder.open() as journal:
        await journal.append([press(n) for n in range(3)])
        consumer = journal.consumer("center", Lane.ALARM)
        batch = await next_batch(consumer)
        await consumer.settle(batch[1].sequence)
        reader = sqlite3.connect(folder.file(Lane.ALARM))
        try:
            await until(
                lambda: (
                    reader.execute("SELECT sequence FROM cursor").fetchall()
                    == [(batch[1].sequence,)]
                )
            )
        finally:
            reader.close()


async def test_what_two_lanes_hold_is_not_appended_together(folder: Folder) -> None:
    async with folder.open() as journal:
        with pytest.raises(ValueError, match="one lane"):
            await journal.append([press(1), passage(2)])
        with pytest.raises(TypeError):
            await journal.append([press(1, unsayable=object())])
        assert [s async for s in journal.read(Lane.ALARM)] == []


async def test_threads_get_their_turn_soon_while_a_journal_is_open(folder: Folder) -> None:
    before = sys.getswitchinterval()
    async with folder.open():
        assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL_S)
    assert sys.getswitchinterval() == before


async def test_the_wal_begins_anew_however_thick_commits_come(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_module, "CHECKPOINT_PAGES", 100)
    monkeypatch.setitem(reader_module.WAL_LIMIT_PAGES, Lane.ALARM, 100)
    wal = folder.file(Lane.ALARM).with_name("journal-alarm.sqlite-wal")
    commits = 1500
    async with folder.open() as journal:
        for n in range(commits):
            await journal.append([press(n)])
        assert wal.stat().st_size < commits * 4 * 4096 / 4, "a quarter of what they wrote"
        assert len([s async for s in journal.read(Lane.ALARM)]) == commits


async def test_a_second_gateway_is_refused(folder: Folder) -> None:
    async with folder.open() as journal:
        with pytest.raises(JournalError, match="in use by another gateway"):
            await folder.open().__aenter__()
        await journal.append([press(1)])
    async with folder.open() as journal:
        assert ids([s async for s in journal.read(Lane.ALARM)]) == names(1)


async def test_a_second_gateways_process_is_refused_and_told_who_has_it(folder: Folder) -> None:
    script = (
        "import fcntl, os, sys\n"
        "file = open(sys.argv[1], 'a+')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print(os.getpid(), file=file, flush=True)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    other = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        str(folder.path / "journal.lock"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert other.stdout is not None
        assert await other.stdout.readline() == b"held\n"
        with pytest.raises(JournalError, match=rf"process {other.pid}\b"):
            await folder.open().__aenter__()
    finally:
        other.kill()
        await other.communicate()
    async with folder.open():
        pass


async def test_a_folder_that_cannot_be_made_is_told(folder: Folder) -> None:
    (folder.path / "file").write_text("")
    with pytest.raises(JournalError, match="cannot be used"):
        await Folder(folder.path / "file" / "below").open().__aenter__()


async def test_the_size_is_that_of_the_files(folder: Folder) -> None:
    async with folder.open() as journal:
        await journal.append([passage(n) for n in range(500)])
        await journal.look_at_disk()
        expected = sum(
            path.stat().st_size
            for path in folder.path.iterdir()
            if path.name.endswith((".sqlite", "-wal"))
        )
        assert journal.size_bytes() == expected > 100_000


async def test_a_consumer_that_fell_behind_the_tail_catches_up(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_module, "Tail", functools.partial(Tail, limit=50))
    async with folder.open() as journal:
        consumer = journal.consumer("center", Lane.TELEMETRY)
        seen: list[str] = []
        for call in range(20):
            at = START + timedelta(seconds=call)
            await journal.append([passage((call, n), at=at) for n in range(30)])
            if call % 4 == 3:
                batch = await next_batch(consumer, 70)
                seen += ids(batch)
                await consumer.settle(batch[-1].sequence)
                assert consumer.backlog().records == (call + 1) * 30 - len(seen)
                assert consumer.backlog().oldest == START + timedelta(seconds=len(seen) // 30)
        while len(seen) < 600:
            seen += ids(await next_batch(consumer, 70))
        assert seen == names(*((call, n) for call in range(20) for n in range(30)))
        assert consumer.backlog().oldest is not None
