"""One lane: its file, its two threads, its hot tail, and where its consumers stand."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from gateway.errors import JournalError, JournalFull
from gateway.journal import codec, reading, statements
from gateway.journal.codec import Damage, to_microseconds
from gateway.journal.cursors import Position
from gateway.journal.reader import Reader
from gateway.journal.tail import Tail
from gateway.journal.window import Window
from gateway.journal.writer import Append, Change, Committed, Failed, Writer
from gateway.model import Lane, Record, Stored
from gateway.ports import Clock, Metrics

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

IN_FLIGHT_RECORDS = 20_000
"""Appended and not yet committed; who comes later waits. Twenty groups: some half a second."""

CURSOR_DELAY_S = 0.2
"""How soon a moved cursor is durable. At most five small commits a second, however often a consumer
settles; a crash repeats what was delivered in between."""

CHECKPOINT_PAGES = 1000
"""4 MB, after which the WAL is written back and begun anew: on a full disk that makes the reserve
last for some twenty times as many alarms."""
COMMIT_PAGES = 5
"""What a commit writes besides a page or so for each record: the ends of table and indexes."""

DAMAGE_KEPT = 1000
"""Most damaged records kept until they are told; the file names all of them."""


class LaneFile:
    """The lane as consumers, retention and the journal use it: what the event loop knows of it, and
    the two threads that wait for the disk in its stead."""

    def __init__(
        self,
        lane: Lane,
        path: Path,
        *,
        clock: Clock,
        metrics: Metrics,
        admits: Callable[[], bool] = lambda: True,
        make_room: Callable[[], bool] = lambda: False,
    ) -> None:
        self.lane = lane
        self.clock = clock
        self.last = 0
        self.count = 0
        self.closed = False
        self.writable = True
        self.tail = Tail(0)
        self.committed = asyncio.Event()
        """Set and cleared by each commit: whoever waits at that moment is woken."""
        self.still = asyncio.Lock()
        """Held while rows are read for a consumer, and while retention removes some."""
        self.positions: dict[str, Position] = {}
        self._metrics = metrics
        self._writer = Writer(path, lane, told=self._told, admits=admits, make_room=make_room)
        self._reader = Reader(path, lane, behind=self._writer.write_back_soon)
        self._window = Window(IN_FLIGHT_RECORDS)
        self._first_at: datetime | None = None
        self._moved: set[str] = set()
        self._flush: asyncio.TimerHandle | None = None
        self._unwritten = 0
        self._damaged: set[int] = set()
        self._untold: deque[Damage] = deque(maxlen=DAMAGE_KEPT)

    async def open(self) -> None:
        """Opens or makes the file. Raises JournalError, and JournalNewer."""
        found: statements.Found = await self._writer.open(statements.load)
        try:
            await self._reader.open()
        except BaseException:
            await self._writer.close()
            raise
        self.last = found.last
        self.tail = Tail(found.last)
        self.count, self._first_at = found.count, found.first_at
        self._damaged = set(found.damaged)
        for name, (sequence, behind, next_at) in found.cursors.items():
            self.positions[name] = Position(sequence, behind=behind, next_at=next_at)
            self.positions[name].only_aside(found.retrying.get(name, {}))

    async def close(self) -> None:
        """Everything that was appended or settled before is durable; the threads are gone."""
        self.closed = True
        self._announce()
        self._write_cursors()
        await self._reader.close()
        await self._writer.close()

    # --- writing ----------------------------------------------------------------------------------

    async def append(self, records: Sequence[Record]) -> Sequence[bool]:
        """Durable on return; whether each is new. Raises JournalFull or JournalError."""
        rows = codec.encode(records)
        await self._window.enter(len(records))
        if self.closed:
            self._window.leave(len(records))
            raise JournalError("the journal is closed")
        append = Append(records, rows)
        self._writer.submit(append)
        return await append.done

    async def change(
        self,
        apply: Callable[[sqlite3.Connection], T],
        then: Callable[[T], None] = lambda _: None,
    ) -> T:
        """Changes the file in the next commit. `then` is called in the event loop once that is
        durable, even when the caller is gone."""
        if self.closed:
            raise JournalError("the journal is closed")
        change = Change(apply, then)
        self._writer.submit(change)
        result: T = await change.done
        return result

    def move(self, name: str) -> None:
        """The cursor of that consumer has moved: written with a commit that comes soon."""
        self._moved.add(name)
        if self._flush is None and not self.closed:
            loop = asyncio.get_running_loop()
            self._flush = loop.call_later(CURSOR_DELAY_S, self._write_cursors)

    def _write_cursors(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        if not self._moved:
            return
        moved, self._moved = self._moved, set()
        cursors = [(name, self.positions[name].settled) for name in moved]
        change = Change(lambda connection: statements.save_cursors(connection, cursors))
        change.done.add_done_callback(lambda done: self._cursors_written(done, moved))
        self._writer.submit(change)

    def _cursors_written(self, done: asyncio.Future[Any], moved: set[str]) -> None:
        if done.exception() is not None:
            for name in moved:
                self.move(name)

    def _told(self, outcome: Committed | Failed) -> None:
        """Called in the event loop with each group's outcome, in the order of the commits."""
        if isinstance(outcome, Failed):
            self._failed(outcome)
            return
        if not self.writable:
            log.info("records can be committed again: lane=%s", self.lane)
        self.writable = True
        sequence = outcome.first
        results = iter(outcome.results)
        for entry in outcome.group:
            if isinstance(entry, Append):
                answer: Any = self._take(entry.records, sequence, outcome.kept)
                sequence += len(entry.records)
                self._window.leave(len(entry.records))
            else:
                answer = next(results)
                entry.then(answer)
            if not entry.done.done():
                entry.done.set_result(answer)
        self._announce()
        self._unwritten += COMMIT_PAGES + sequence - outcome.first
        if self._unwritten >= CHECKPOINT_PAGES and not self._writer.writes_back:
            self._unwritten = 0
            self._reader.checkpoint()

    def _take(
        self, records: Sequence[Record], first: int, kept: frozenset[int] | None
    ) -> list[bool]:
        flags = [kept is None or first + n in kept for n in range(len(records))]
        fresh = [
            Stored(sequence=first + n, record=record)
            for n, record in enumerate(records)
            if flags[n]
        ]
        if fresh:
            self.last = fresh[-1].sequence
            self.tail.extend(fresh)
            if not self.count:
                self._first_at = fresh[0].record.recorded_at
            self.count += len(fresh)
            for position in self.positions.values():
                position.committed(fresh)
        return flags

    def _failed(self, outcome: Failed) -> None:
        full = isinstance(outcome.error, JournalFull)
        if self.writable:
            log.error("records cannot be committed: lane=%s error=%s", self.lane, outcome.error)
        self.writable = False
        self._metrics.error("journal", "full" if full else "commit")
        # Should some of it be there after all, consumers find it on disk.
        self.tail.forget(outcome.through)
        for entry in outcome.group:
            if isinstance(entry, Append):
                self._window.leave(len(entry.records))
            if not entry.done.done():
                # One for each: what is raised carries the traceback of who raised it.
                entry.done.set_exception(type(outcome.error)(*outcome.error.args))

    def _announce(self) -> None:
        self.committed.set()
        self.committed.clear()

    # --- reading ----------------------------------------------------------------------------------

    async def ask(
        self,
        question: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """What a query finds in the file. Raises JournalError."""
        if self.closed:
            raise JournalError("the journal is closed")
        return await self._reader.ask(question, *args, **kwargs)

    async def read(self, after: int, limit: int, since: datetime | None = None) -> reading.Read:
        """The next records behind `after`, from disk; damage is noted."""
        return self._noted(await self.ask(reading.after, self.lane, after, limit, since))

    async def these(self, sequences: Sequence[int]) -> Sequence[Stored]:
        """The records of these sequences that are there and sound."""
        return self._noted(await self.ask(reading.these, self.lane, sequences)).stored

    async def get(self, record_id: str) -> Stored | None:
        """The record of that id, if it is there and sound."""
        read = self._noted(await self.ask(reading.by_id, self.lane, record_id))
        return read.stored[0] if read.stored else None

    def _noted(self, read: reading.Read) -> reading.Read:
        self.note(read.damage)
        return read

    # --- damage -----------------------------------------------------------------------------------

    def note(self, damage: Sequence[Damage]) -> None:
        """These were found damaged: each is told, counted and written down once."""
        new = [found for found in damage if found.sequence not in self._damaged]
        if not new or self.closed:
            return
        sequences = [found.sequence for found in new]
        self._damaged.update(sequences)
        self._untold.extend(new)
        for found in new:
            self._metrics.error("journal", found.fault)
        log.error("damaged: lane=%s records=%d first=%s", self.lane, len(new), new[0])
        for position in self.positions.values():
            position.released(sequences)
        found_at = to_microseconds(self.clock.now())
        change = Change(lambda connection: statements.note_damage(connection, new, found_at))
        # Nobody waits: what could not be written down is found again after the next start.
        change.done.add_done_callback(lambda done: done.exception())
        self._writer.submit(change)

    def take_damage(self) -> list[Damage]:
        """What was found since the last call."""
        told = list(self._untold)
        self._untold.clear()
        return told

    # --- consumers and retention ------------------------------------------------------------------

    def position(self, name: str, *, from_start: bool) -> Position:
        """Where the consumer stands: behind its cursor, or where a new one begins."""
        position = self.positions.get(name)
        if position is None:
            if from_start:
                position = Position(0, behind=self.count, next_at=self._first_at)
            else:
                position = Position(self.last, behind=0, next_at=None)
            self.positions[name] = position
            self._moved.add(name)
            self._write_cursors()
        position.rewind()
        position.in_use = True
        return position

    async def remove(self, sequences: Sequence[int]) -> int:
        """Takes these records out of the lane; the caller holds `still`, and no consumer has them
        in its hands. How many of them some consumer of this run had not had."""
        gone = frozenset(sequences)
        # Before the file: nobody may be handed what will not be there.
        self.tail.remove(gone)
        positions = list(self.positions.values())
        unseen = [position.removed(gone) for position in positions]
        standing = [0, *(position.handed_out for position in positions)]

        def then(times: list[datetime | None]) -> None:
            self.count -= len(gone)
            self._first_at = times[0]
            for position, stood, next_at in zip(positions, standing[1:], times[1:], strict=True):
                if position.handed_out == stood:
                    position.peeked(next_at)

        try:
            await self.change(lambda c: statements.remove(c, gone, standing), then)
        except JournalError:
            self.tail.forget(self.last)
            for position, count in zip(positions, unseen, strict=True):
                position.kept(count)
            raise
        return max((n for p, n in zip(positions, unseen, strict=True) if p.in_use), default=0)

    async def refresh_asides(self) -> None:
        """Learns what another process (`kuzet quarantine`) has changed beside us."""

        def then(found: dict[str, dict[int, datetime]]) -> None:
            for name, position in self.positions.items():
                position.only_aside(found.get(name, {}))

        # By the writer, so that it takes its place among our own changes.
        await self.change(statements.retrying, then)
