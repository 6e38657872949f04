"""`ports.Consumer` on a lane's file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from gateway.errors import JournalError
from gateway.journal import reading, statements
from gateway.journal.codec import to_microseconds
from gateway.journal.cursors import Position
from gateway.journal.lane import LaneFile
from gateway.model import Lane, Stored
from gateway.ports import Aside, Backlog


class SqliteConsumer:
    """One reader of one lane: from the hot tail while it keeps up, else from disk."""

    def __init__(self, name: str, file: LaneFile, position: Position) -> None:
        self._name = name
        self._file = file
        self._position = position

    @property
    def name(self) -> str:
        return self._name

    @property
    def lane(self) -> Lane:
        return self._file.lane

    async def batch(self, limit: int) -> Sequence[Stored]:
        """Raises JournalError when the disk does not answer, or the journal is closed."""
        file, position = self._file, self._position
        while not file.closed:
            if position.handed_out < file.tail.floor:
                batch = await self._from_disk(limit)
            else:
                batch = self._from_tail(limit)
            if batch:
                return batch
            if position.handed_out >= file.last:
                await file.committed.wait()
        raise JournalError("the journal is closed")

    async def settle(self, sequence: int) -> None:
        """Never beyond what was handed out."""
        if self._position.settle(sequence):
            self._file.move(self._name)

    async def set_aside(
        self, records: Sequence[Stored], reason: str, retry_at: datetime | None
    ) -> None:
        """Raises JournalFull or JournalError: then nothing has changed."""
        if not records:
            return
        sequences = [stored.sequence for stored in records]
        now = to_microseconds(self._file.clock.now())
        again = None if retry_at is None else to_microseconds(retry_at)
        await self._file.change(
            lambda connection: statements.set_aside(
                connection, self._name, sequences, reason, now, again
            ),
            lambda _: self._position.aside(
                [(stored.sequence, stored.record.recorded_at) for stored in records],
                retried=retry_at is not None,
            ),
        )

    async def aside(
        self, *, due: datetime | None = None, after: int = 0, limit: int = 1000
    ) -> Sequence[Aside]:
        """Raises JournalError when the disk does not answer."""
        found, damage = await self._file.ask(
            reading.aside, self.lane, self._name, due=due, after=after, limit=limit
        )
        self._file.note(damage)
        return found

    async def release(self, sequences: Sequence[int]) -> None:
        """Durable on return. Raises JournalFull or JournalError: then nothing has changed."""
        if not sequences:
            return
        await self._file.change(
            lambda connection: statements.release(connection, self._name, sequences),
            lambda _: self._position.released(sequences),
        )

    def backlog(self) -> Backlog:
        return self._position.backlog()

    # One record more than asked for is looked at: it tells how old the first of the backlog is.

    def _from_tail(self, limit: int) -> Sequence[Stored]:
        found = self._file.tail.after(self._position.handed_out, limit + 1)
        batch, next_at = found[:limit], _recorded_at(found[limit:])
        # Behind its last record the lane may end with some that retention took.
        through = batch[-1].sequence if next_at else self._file.last
        self._position.hand_out(batch, through=through, count=len(batch), next_at=next_at)
        return batch

    async def _from_disk(self, limit: int) -> Sequence[Stored]:
        file, position = self._file, self._position
        async with file.still:
            last, stood = file.last, position.handed_out
            read = await file.read(stood, limit + 1)
            if position.handed_out != stood:  # the consumer began anew meanwhile
                return ()
            batch, ahead = read.stored[:limit], read.stored[limit:]
            if ahead:
                through, next_at = batch[-1].sequence, _recorded_at(ahead)
            elif read.complete:  # nothing else was left up to where the lane ended then
                through = max(last, read.through)
                next_at = _recorded_at(file.tail.after(through, 1))
            else:  # damage took the place of some: the next one is not older than these
                through, next_at = read.through, _recorded_at(batch[-1:]) or position.next_at
            passed = len(batch) + sum(found.sequence <= through for found in read.damage)
            position.hand_out(batch, through=through, count=passed, next_at=next_at)
            return batch


def _recorded_at(records: Sequence[Stored]) -> datetime | None:
    return records[0].record.recorded_at if records else None
