"""Another process looks into the files, or changes what is aside, beside the running gateway."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta

import pytest

from gateway.errors import JournalError, JournalNewer
from gateway.journal import Damage, JournalFiles, SqliteJournal
from gateway.model import Lane
from gateway.ports import Consumer
from tests.journal.contract import next_batch
from tests.journal.neighbours import Folder, identity, ids, names, passage, press
from tests.simulated_clock import START

LATER = START + timedelta(hours=1)


async def quarantined(journal: SqliteJournal, name: str, count: int = 3) -> Consumer:
    """A consumer that has set the first telemetry records aside."""
    consumer = journal.consumer(name, Lane.TELEMETRY)
    batch = await next_batch(consumer)
    await consumer.set_aside(batch[:count], f"refused by {name}", None)
    await consumer.settle(batch[-1].sequence)
    return consumer


async def test_what_is_aside_is_listed_for_one_or_all(folder: Folder) -> None:
    async with folder.open() as journal:
        await journal.append([passage(n) for n in range(5)])
        await journal.append([press(9)])
        await quarantined(journal, "center")
        await quarantined(journal, "guard", 1)
        alarms = journal.consumer("center", Lane.ALARM)
        await alarms.set_aside(await next_batch(alarms), "503", LATER)
        with JournalFiles(folder.path) as files:
            listed = [
                (found.consumer, found.lane, found.aside.stored.record.record_id)
                for found in files.aside()
            ]
            assert listed == [
                ("center", Lane.ALARM, identity(9)),
                *(("center", Lane.TELEMETRY, identity(n)) for n in range(3)),
                ("guard", Lane.TELEMETRY, identity(0)),
            ]
            (alone,) = files.aside("guard")
            assert (alone.aside.reason, alone.aside.retry_at) == ("refused by guard", None)


async def test_many_asides_are_all_listed(folder: Folder) -> None:
    async with folder.open() as journal:
        await journal.append([passage(n) for n in range(1201)])
        consumer = journal.consumer("center", Lane.TELEMETRY)
        batch = await next_batch(consumer, 2000)
        await consumer.set_aside(batch, "422", None)
    with JournalFiles(folder.path) as files:
        assert ids([found.aside.stored for found in files.aside()]) == names(*range(1201))


async def test_a_running_gateway_takes_up_what_is_given_a_time(folder: Folder) -> None:
    async with folder.open() as journal:
        await journal.append([passage(n) for n in range(5)])
        consumer = await quarantined(journal, "center")
        other = await quarantined(journal, "guard")
        asides = await consumer.aside()
        assert await consumer.aside(due=LATER) == []
        with JournalFiles(folder.path) as files:
            chosen = [asides[1].stored.sequence, 10**6]
            assert files.retry("center", Lane.TELEMETRY, START, chosen) == 1
            due = await consumer.aside(due=START)
            assert ids([aside.stored for aside in due]) == names(1)
            assert files.retry("center", Lane.TELEMETRY, START) == 3
            assert files.retry("nobody", Lane.TELEMETRY, START) == 0
        assert len(await consumer.aside(due=START)) == 3
        assert await other.aside(due=LATER) == []
        async with asyncio.timeout(10):
            while consumer.backlog().records != 3:  # learnt with the next sweep
                await folder.clock.advance(60)


async def test_a_running_gateway_forgets_what_is_dropped(folder: Folder) -> None:
    async with folder.open() as journal:
        await journal.append([passage(n) for n in range(5)])
        consumer = await quarantined(journal, "center")
        batch = [aside.stored for aside in await consumer.aside()]
        await consumer.set_aside(batch, "again", LATER)
        assert consumer.backlog().records == 3
        with JournalFiles(folder.path) as files:
            assert files.drop("center", Lane.TELEMETRY, [batch[0].sequence]) == 1
            assert files.drop("center", Lane.ALARM, [batch[0].sequence]) == 0
            found = files.get(Lane.TELEMETRY, identity(0))
            assert found == batch[0], "it stays in the journal"
        assert ids([aside.stored for aside in await consumer.aside()]) == names(1, 2)
        async with asyncio.timeout(10):
            while consumer.backlog().records != 2:
                await folder.clock.advance(60)


async def test_records_are_read_without_a_gateway(folder: Folder) -> None:
    async with folder.open() as journal:
        await journal.append([press(n) for n in range(1100)])
    with JournalFiles(folder.path) as files:
        assert ids(list(files.records(Lane.ALARM))) == names(*range(1100))
        assert files.get(Lane.ALARM, identity("nobody")) is None
        damage: list[Damage] = []
        assert files.verify(Lane.ALARM, damage.append) == 1100
        assert damage == []


def test_no_journal_is_told(folder: Folder) -> None:
    with pytest.raises(JournalError, match="no journal"), JournalFiles(folder.path):
        pass


@pytest.mark.parametrize(
    ("version", "error", "words"),
    [(99, JournalNewer, "newer Kuzet"), (1, JournalError, "older Kuzet")],
)
async def test_only_this_versions_files_are_touched(
    folder: Folder, version: int, error: type[JournalError], words: str
) -> None:
    async with folder.open():
        pass
    connection = sqlite3.connect(folder.file(Lane.TELEMETRY))
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    with pytest.raises(error, match=words), JournalFiles(folder.path):
        pass
