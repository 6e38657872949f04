"""A disk that is low, and one that is really full."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from gateway.errors import JournalError, JournalFull
from gateway.journal import SqliteJournal
from gateway.model import Lane, Record
from tests.journal.contract import all_of, next_batch
from tests.journal.neighbours import Folder, ids, names, passage, press
from tests.peers import missing

MEGABYTE = 2**20


async def test_a_low_disk_takes_alarms_only_and_recovers_by_itself(folder: Folder) -> None:
    async with folder.open() as journal:
        await journal.append([passage(1)])
        folder.free_ratio = 0.049
        await journal.look_at_disk()
        assert journal.disk_low()
        with pytest.raises(JournalFull):
            await journal.append([passage(2)])
        await journal.append([press(1)])
        assert journal.writable()
        folder.free_ratio = 0.055  # not yet: else it would flutter
        await journal.look_at_disk()
        with pytest.raises(JournalFull):
            await journal.append([passage(2)])
        folder.free_ratio = 0.065
        await journal.look_at_disk()
        assert not journal.disk_low()
        await journal.append([passage(2)])
        folder.free_ratio = 0.055
        await journal.look_at_disk()
        await journal.append([passage(3)])
        assert ids(await all_of(journal, Lane.TELEMETRY)) == names(1, 2, 3)


async def test_it_looks_by_itself_and_at_the_start(folder: Folder) -> None:
    folder.free_ratio = 0.01
    async with folder.open() as journal:
        with pytest.raises(JournalFull):
            await journal.append([passage(1)])
        folder.free_ratio = 0.5
        async with asyncio.timeout(10):
            while journal.disk_low():
                await folder.clock.advance(1)
        await journal.append([passage(1)])


async def test_consumers_go_on_while_the_disk_is_low(folder: Folder) -> None:
    async with folder.open() as journal:
        consumer = journal.consumer("center", Lane.TELEMETRY)
        await journal.append([passage(n) for n in range(3)])
        folder.free_ratio = 0.01
        await journal.look_at_disk()
        batch = await next_batch(consumer)
        await consumer.set_aside(batch[:1], "422", None)
        await consumer.settle(batch[-1].sequence)
        await consumer.release([batch[0].sequence])
        assert consumer.backlog().records == 0


async def test_the_reserve_is_really_allocated_and_kept(folder: Folder) -> None:
    reserve = folder.path / "journal-alarm.reserve"
    async with folder.open(reserve_mb=2):
        assert reserve.stat().st_blocks * 512 >= 2 * MEGABYTE
        made = reserve.stat().st_ino
    async with folder.open(reserve_mb=2):
        assert reserve.stat().st_ino == made


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB, mounted for the test."""
    if os.geteuid() != 0:
        missing("root, to mount a small disk")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        missing(f"the right to mount a small disk ({mounted.stderr.strip()})")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Takes every block that is left."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (MEGABYTE, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    assert shutil.disk_usage(folder).free == 0
    return path


class RealDisk(Folder):
    """Measures the disk itself instead of being told."""

    def journal(self, reserve_mb: int = 4) -> SqliteJournal:
        return SqliteJournal(
            self.path,
            clock=self.clock,
            metrics=self.metrics,
            retention_days={},
            max_size_mb=100,
            reserve_mb=reserve_mb,
        )


async def appended_until_full(journal: SqliteJournal, records: Iterable[Record]) -> int:
    """Appends them one by one; how many were taken until the disk was full."""
    for count, told in enumerate(records):
        try:
            await journal.append([told])
        except JournalFull:
            return count
    pytest.fail("the disk was not full")


async def test_on_a_full_disk_alarms_go_on_from_the_reserve(small_disk: Path) -> None:
    disk = RealDisk(small_disk)
    async with disk.journal(reserve_mb=8) as journal:
        await journal.append([press("before")])
        await journal.append([passage("before")])
        filler = fill(small_disk)

        # Nobody has looked at the disk since: it is met when writing.
        taken = await appended_until_full(journal, (passage(n) for n in range(2000)))
        for n in range(1000):
            await journal.append([press(n)])
        assert journal.writable()
        assert not (small_disk / "journal-alarm.reserve").exists()
        assert journal.disk_low(), "what is free now belongs to alarms"
        with pytest.raises(JournalFull):
            await journal.append([passage("none")])
        await journal.look_at_disk()
        assert journal.disk_low()
        consumer = journal.consumer("center", Lane.ALARM)
        assert ids(await next_batch(consumer, 2000)) == names("before", *range(1000))

        filler.unlink()
        await journal.look_at_disk()
        assert (small_disk / "journal-alarm.reserve").exists()
        assert not journal.disk_low()
        await journal.append([passage("after")])
        await journal.append([press("after")])
    async with disk.journal() as journal:
        assert ids(await all_of(journal, Lane.ALARM)) == names("before", *range(1000), "after")
        telemetry = ids(await all_of(journal, Lane.TELEMETRY))
        assert telemetry == names("before", *range(taken), "after")


async def test_telemetry_that_did_not_fit_is_not_there_and_fits_later(small_disk: Path) -> None:
    disk = RealDisk(small_disk)
    async with disk.journal(reserve_mb=1) as journal:
        filler = fill(small_disk)
        group = [passage(n, text="x" * 40_000) for n in range(100)]
        with pytest.raises(JournalFull):
            await journal.append(group)
        assert await all_of(journal, Lane.TELEMETRY) == []
        filler.unlink()
        await journal.look_at_disk()
        assert list(await journal.append(group)) == [True] * 100


async def test_when_the_reserve_is_used_up_alarms_fail_until_there_is_room(
    small_disk: Path,
) -> None:
    disk = RealDisk(small_disk)
    async with disk.journal(reserve_mb=1) as journal:
        filler = fill(small_disk)
        taken = await appended_until_full(journal, (press(n, text="x" * 4000) for n in range(2000)))
        assert taken > 20
        assert not journal.writable()
        filler.unlink()
        await journal.look_at_disk()
        assert journal.writable()
        await journal.append([press("after")])
        assert ids(await all_of(journal, Lane.ALARM)) == names(*range(taken), "after")


async def test_a_gateway_starts_on_a_full_disk(small_disk: Path) -> None:
    disk = RealDisk(small_disk)
    async with disk.journal() as journal:
        await journal.append([press("before")])
    fill(small_disk)
    async with disk.journal() as journal:
        assert journal.disk_low()
        assert ids(await all_of(journal, Lane.ALARM)) == names("before")
        await journal.append([press("after")])
        with pytest.raises(JournalFull):
            await journal.append([passage(1)])


async def test_a_disk_too_small_for_the_reserve_is_kept_for_alarms(small_disk: Path) -> None:
    disk = RealDisk(small_disk)
    async with disk.journal(reserve_mb=20) as journal:
        await journal.append([press(1)])
        with pytest.raises(JournalFull):
            await journal.append([passage(1)])


async def test_a_folder_on_a_full_disk_that_cannot_begin_is_told(small_disk: Path) -> None:
    fill(small_disk)
    with pytest.raises(JournalError):
        await RealDisk(small_disk).journal().__aenter__()
