"""The journal's files for a process beside the gateway: `kuzet quarantine`, `kuzet journal verify`.

Nothing here needs the gateway to run or to stand still. All of it waits for the disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Self

from msgspec import Struct

from gateway.errors import JournalError
from gateway.journal import reading, statements
from gateway.journal.codec import Damage, to_microseconds
from gateway.journal.schema import connect, lane_path, require_current
from gateway.journal.writer import mapped
from gateway.model import Lane, Stored
from gateway.ports import Aside

CHUNK = 500


class SetAside(Struct, frozen=True, kw_only=True):
    """A record that a consumer of a lane set aside."""

    consumer: str
    lane: Lane
    aside: Aside


class JournalFiles:
    """The files of a journal, opened beside the gateway that may be using them.

    Use as a context manager. Entering raises JournalNewer for files of a newer Kuzet, JournalError
    when there is no journal or it belongs to an older one; everything raises JournalError when the
    disk does not answer.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lanes: dict[Lane, sqlite3.Connection] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack, _mapping():
            for lane in Lane:
                path = lane_path(self._directory, lane)
                if not path.is_file():
                    msg = f"no journal in {self._directory}"
                    raise JournalError(msg)
                connection = connect(path)
                stack.callback(connection.close)
                connection.text_factory = bytes
                connection.execute("PRAGMA synchronous = FULL")
                require_current(connection, path)
                self._lanes[lane] = connection
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def verify(self, lane: Lane, found: Callable[[Damage], None]) -> int:
        """Checks every record of the lane against its checksum; `found` is told each that is not as
        it was written. How many were checked."""
        checked = 0
        for read in self._chunks(lane):
            checked += len(read.stored) + len(read.damage)
            for damage in read.damage:
                found(damage)
        return checked

    def records(self, lane: Lane) -> Iterator[Stored]:
        """Every sound record of the lane, by sequence."""
        for read in self._chunks(lane):
            yield from read.stored

    def get(self, lane: Lane, record_id: str) -> Stored | None:
        """The record of that id, if it is there and sound."""
        with _mapping():
            read = reading.by_id(self._lanes[lane], lane, record_id)
        return read.stored[0] if read.stored else None

    def aside(self, consumer: str | None = None) -> Iterator[SetAside]:
        """What is aside: of one consumer or of all, by lane, consumer and sequence."""
        for lane, connection in self._lanes.items():
            with _mapping():
                consumers = statements.consumers_with_asides(connection)
            for name in consumers:
                if consumer in (None, name):
                    for aside in self._asides(lane, name):
                        yield SetAside(consumer=name, lane=lane, aside=aside)

    def retry(
        self, consumer: str, lane: Lane, at: datetime, sequences: Sequence[int] | None = None
    ) -> int:
        """Gives what is aside (these, or all of the consumer) a new time: a running gateway takes
        it up then. How many."""
        with _mapping():
            return statements.retry(self._lanes[lane], consumer, to_microseconds(at), sequences)

    def drop(self, consumer: str, lane: Lane, sequences: Sequence[int]) -> int:
        """These are no longer aside; they stay in the journal. How many."""
        with _mapping():
            return statements.release(self._lanes[lane], consumer, sequences)

    def _chunks(self, lane: Lane) -> Iterator[reading.Read]:
        after = 0
        while True:
            with _mapping():
                read = reading.after(self._lanes[lane], lane, after, CHUNK)
            yield read
            if read.complete:
                return
            after = read.through

    def _asides(self, lane: Lane, consumer: str) -> Iterator[Aside]:
        after = 0
        while True:
            with _mapping():
                found, damage = reading.aside(
                    self._lanes[lane], lane, consumer, due=None, after=after, limit=CHUNK
                )
            yield from found
            if not found and not damage:
                return
            after = max(
                *(aside.stored.sequence for aside in found), *(hurt.sequence for hurt in damage), 0
            )


@contextmanager
def _mapping() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise mapped(error) from error
