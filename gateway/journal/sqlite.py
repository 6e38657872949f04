"""`ports.Journal` on SQLite: a file, a writer and a reader for each lane."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.errors import JournalError, JournalFull
from gateway.journal import reading, statements
from gateway.journal.consumer import SqliteConsumer
from gateway.journal.disk import LOW_RATIO, DirectoryLock, DiskWatch, Reserve
from gateway.journal.interpreter import prompt_turns
from gateway.journal.lane import LaneFile
from gateway.journal.retention import Sweeper
from gateway.journal.schema import lane_path
from gateway.journal.thread import DiskThread
from gateway.model import Lane, Record, Retention, Stored
from gateway.ports import Clock, Metrics

log = logging.getLogger(__name__)

MEGABYTE = 2**20

RESERVE_MB = 64
"""Room for some 50,000 alarms: a region's months."""

READ_CHUNK = 500
"""Records read from disk at a time: 5 ms, in which the lane's consumers wait."""

LOOK_S = 1.0
"""How often the disk is looked at; at 30,000 records a second that is 30 MB."""
SWEEP_S = 60.0
"""How often retention sweeps. Ages count in days."""
SWEEP_PAUSE_S = 0.05
"""Pause after each chunk, in which the lane commits. Some 8,000 records a second then go: five
times what the peak before lessons brings."""


class SqliteJournal:
    """The journal in a folder of its own, as an asynchronous context manager.

    Entering raises JournalNewer for files of a newer Kuzet, and JournalError when another gateway
    uses the folder or it cannot be used. Leaving commits all that was appended or settled; waiting
    consumers then raise JournalError. The folder must not lie on a network share.
    """

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock,
        metrics: Metrics,
        retention_days: Mapping[Retention, int],
        max_size_mb: int,
        reserve_mb: int = RESERVE_MB,
        free_ratio: Callable[[], float] | None = None,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._reserve = Reserve(directory, reserve_mb * MEGABYTE)
        self._disk = DiskWatch(directory, self._reserve, free_ratio)
        self._lock = DirectoryLock(directory)
        self._files = {
            Lane.ALARM: LaneFile(
                Lane.ALARM,
                lane_path(directory, Lane.ALARM),
                clock=clock,
                metrics=metrics,
                make_room=self._reserve.give_up,
            ),
            Lane.TELEMETRY: LaneFile(
                Lane.TELEMETRY,
                lane_path(directory, Lane.TELEMETRY),
                clock=clock,
                metrics=metrics,
                # What is free when the reserve is given up belongs to alarms.
                admits=lambda: self._reserve.held,
            ),
        }
        self._sweeper = Sweeper(
            list(self._files.values()),
            clock=clock,
            metrics=metrics,
            retention_days=retention_days,
            max_bytes=max_size_mb * MEGABYTE,
        )
        # A thread of its own: to allocate the reserve may take seconds, and nobody waits for it.
        self._disk_thread = DiskThread("journal-disk")
        self._size_bytes = 0
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(prompt_turns())
            self._disk_thread.start()
            stack.push_async_callback(self._disk_thread.close, self._lock.release)
            try:
                await self._disk_thread.do(self._prepare)
            except OSError as error:
                msg = f"{self._directory} cannot be used: {error}"
                raise JournalError(msg) from error
            for file in self._files.values():
                try:
                    await file.open()
                except JournalFull:  # even to look into its files SQLite needs a little room
                    await self._disk_thread.do(self._reserve.give_up)
                    await file.open()
                stack.push_async_callback(file.close)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            for name, run in (("look", self._keep_looking), ("sweep", self._keep_sweeping)):
                stack.callback(tasks.create_task(run(), name=f"journal-{name}").cancel)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    # --- ports.Journal ----------------------------------------------------------------------------

    async def append(self, records: Sequence[Record]) -> Sequence[bool]:
        """Raises JournalFull for telemetry while the disk is low; ValueError for records of two
        lanes, TypeError or ValueError for what JSON cannot say."""
        if not records:
            return []
        lane = records[0].lane
        if any(record.lane is not lane for record in records):
            raise ValueError("records of one lane are appended together")
        if lane is Lane.TELEMETRY and self._disk.low:
            msg = f"less than {LOW_RATIO:.0%} of the disk is free: it is kept for alarms"
            raise JournalFull(msg)
        return await self._files[lane].append(records)

    def consumer(self, name: str, lane: Lane, *, from_start: bool = True) -> SqliteConsumer:
        """Asked for again, it begins anew behind what was settled."""
        file = self._files[lane]
        return SqliteConsumer(name, file, file.position(name, from_start=from_start))

    async def latest(self, family: str) -> AsyncIterator[Stored]:
        for file in self._files.values():
            sequences = await file.ask(reading.latest, family)
            for first in range(0, len(sequences), READ_CHUNK):
                for stored in await file.these(sequences[first : first + READ_CHUNK]):
                    yield stored

    async def read(
        self, lane: Lane, *, after: int = 0, since: datetime | None = None
    ) -> AsyncIterator[Stored]:
        file = self._files[lane]
        if since is not None:
            first = await file.ask(reading.first_since, since)
            if not first:
                return
            after = max(after, first - 1)
        while True:
            read = await file.read(after, READ_CHUNK, since)
            for stored in read.stored:
                yield stored
            if read.complete:
                return
            after = read.through

    async def get(self, lane: Lane, record_id: str) -> Stored | None:
        return await self._files[lane].get(record_id)

    def writable(self) -> bool:
        return self._files[Lane.ALARM].writable

    def size_bytes(self) -> int:
        """Both files with their WALs, without the reserve; at most a second old."""
        return self._size_bytes

    # --- besides ----------------------------------------------------------------------------------

    def disk_low(self) -> bool:
        """Whether only alarms are taken. Ends by itself when the disk has room again."""
        return self._disk.low

    def take_corrupt(self) -> Sequence[tuple[Lane, int, str]]:
        """Records found damaged since the last call: lane, sequence, id (empty where it is lost).
        They are set aside; everything else is served."""
        return [
            (found.lane, found.sequence, found.record_id)
            for file in self._files.values()
            for found in file.take_damage()
        ]

    async def sweep(self) -> int:
        """Removes now all that retention lets go; how many records. Raises JournalError."""
        removed = 0
        async with contextlib.aclosing(self._sweeper.chunks()) as chunks:
            async for count in chunks:
                removed += count
        return removed

    async def look_at_disk(self) -> None:
        """Looks at the disk now instead of within a second, and at what its lack has stopped."""
        await self._disk_thread.do(self._look)
        for file in self._files.values():
            if not file.writable:
                with contextlib.suppress(JournalError):  # told when it began
                    await file.change(statements.touch)

    # --- the two tasks ----------------------------------------------------------------------------

    async def _keep_looking(self) -> None:
        failing = False
        while True:
            await self._clock.sleep(LOOK_S)
            try:
                await self.look_at_disk()
            except OSError as error:
                if not failing:
                    log.warning("the disk cannot be looked at: error=%s", error)
                failing = True
            else:
                failing = False

    async def _keep_sweeping(self) -> None:
        failing = False
        while True:
            await self._clock.sleep(SWEEP_S)
            # Removing takes room too, and what is free now belongs to alarms.
            if not self._reserve.held:
                continue
            try:
                for file in self._files.values():
                    await file.refresh_asides()
                async with contextlib.aclosing(self._sweeper.chunks()) as chunks:
                    async for _ in chunks:
                        await self._clock.sleep(SWEEP_PAUSE_S)
            except JournalError as error:
                if not failing:
                    log.warning("retention cannot remove records: error=%s", error)
                failing = True
            else:
                failing = False

    # --- in the disk's thread ---------------------------------------------------------------------

    def _prepare(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        self._look()

    def _look(self) -> None:
        self._disk.look()
        self._size_bytes = sum(
            path.stat().st_size
            for path in self._directory.glob("journal-*.sqlite*")
            if not path.name.endswith("-shm")
        )
