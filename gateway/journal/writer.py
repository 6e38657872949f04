"""The group commit: all that waits becomes durable by one transaction and one sync."""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from gateway.errors import JournalError, JournalFull
from gateway.journal.schema import open_lane
from gateway.model import Lane, Record

log = logging.getLogger(__name__)

GROUP_RECORDS = 1000
"""Most records in one commit, some 15 ms. Larger groups gain nothing (the sync is 3 % of such a
one) and keep whoever comes next waiting longer."""

INSERT = """
    INSERT INTO record (sequence, record_id, type, retention, recorded_at, key, checksum, body)
    SELECT ?1 + key, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
           value ->> 6
    FROM json_each(?2) WHERE true
    ON CONFLICT (record_id) DO NOTHING
"""
"""A whole group in one statement, which outside of BEGIN is a transaction by itself. sqlite3 gives
up the interpreter's lock for each step, and beside a busy event loop each return to it has to wait:
row by row, each record may cost such a wait, so it costs one a group. A long VALUES does the same
and was 8 % faster, but needs a statement for every size of a group, or padding."""

_FULL = {
    sqlite3.SQLITE_FULL,
    # The WAL's index grows by a page and finds no room.
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_SHMOPEN,
}


class Append:
    """A call's records, encoded by its own thread; done when durable."""

    def __init__(self, records: Sequence[Record], rows: bytes) -> None:
        self.records = records
        self.rows = rows
        self.done: asyncio.Future[list[bool]] = asyncio.get_running_loop().create_future()

    @property
    def weight(self) -> int:
        return len(self.records)


class Change:
    """Another change of the file, in the same transaction. `then` is called in the event loop with
    what `apply` returned, even if nobody waits for `done` any more."""

    weight = 1

    def __init__(
        self,
        apply: Callable[[sqlite3.Connection], Any],
        then: Callable[[Any], None] = lambda _: None,
    ) -> None:
        self.apply = apply
        self.then = then
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


Entry = Append | Change


class Committed:
    """A group that is durable: its records begin at sequence `first`, those known before are not
    in `kept` (None: all are new); `results` are those of its changes."""

    def __init__(
        self, group: list[Entry], first: int, kept: frozenset[int] | None, results: list[Any]
    ) -> None:
        self.group = group
        self.first = first
        self.kept = kept
        self.results = results


class Failed:
    """A group of which nothing is durable, as far as can be known of a disk that fails; no sequence
    above `through` was given to it."""

    def __init__(self, group: list[Entry], error: JournalError, through: int) -> None:
        self.group = group
        self.error = error
        self.through = through


class Writer:
    """The one thread that writes to a lane's file. It alone waits for the disk.

    `told` is called in the event loop with each group's outcome, in the order of the commits.
    `admits` is asked, in the thread, whether records may be written at all; `make_room`, when the
    disk is full, whether it has given some up.
    """

    def __init__(
        self,
        path: Path,
        lane: Lane,
        *,
        told: Callable[[Committed | Failed], None],
        admits: Callable[[], bool] = lambda: True,
        make_room: Callable[[], bool] = lambda: False,
    ) -> None:
        self._path = path
        self._lane = lane
        self._told = told
        self._admits = admits
        self._make_room = make_room
        self._next = 1
        self.writes_back = False
        """Whether it is this thread's turn to write the WAL back."""
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()

    async def open(self, load: Callable[[sqlite3.Connection], Any]) -> Any:
        """Starts the thread, which opens the file; what `load` finds in it. Raises JournalError."""
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[Any] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._thread = threading.Thread(
            target=self._run,
            args=(loop, opened, self._ended, load),
            name=f"journal-{self._lane}-writer",
            daemon=True,  # a disk that hangs for ever must not keep the process from ending
        )
        self._thread.start()
        try:
            return await opened
        except JournalError:
            self._thread.join()  # it has said its last word
            raise
        except asyncio.CancelledError:
            self._queue.put(None)
            raise

    def submit(self, entry: Entry) -> None:
        self._queue.put(entry)

    def write_back_soon(self) -> None:
        """Has the rest of the WAL written back behind the next commit; callable from any thread."""
        self.writes_back = True

    async def close(self) -> None:
        """Returns when everything submitted is committed, the WAL written back and the thread
        gone."""
        self._queue.put(None)
        await self._ended
        self._thread.join()

    # --- in the thread ----------------------------------------------------------------------------

    def _run(
        self,
        loop: asyncio.AbstractEventLoop,
        opened: asyncio.Future[Any],
        ended: asyncio.Future[None],
        load: Callable[[sqlite3.Connection], Any],
    ) -> None:
        try:
            connection = open_lane(self._path)
            try:
                self._next = _last_sequence(connection) + 1
                found = load(connection)
            except BaseException:
                connection.close()
                raise
        except Exception as error:  # noqa: BLE001 -- handed to who opens
            loop.call_soon_threadsafe(_fail, opened, mapped(error))
            return
        loop.call_soon_threadsafe(_succeed, opened, found)
        with closing(connection):
            while group := self._next_group():
                loop.call_soon_threadsafe(self._told, self._commit(connection, group))
                if self.writes_back:
                    self.writes_back = not _checkpoint(connection, "PASSIVE")
            _checkpoint(connection, "TRUNCATE")
        loop.call_soon_threadsafe(ended.set_result, None)

    def _next_group(self) -> list[Entry]:
        """Waits for one entry and takes those that came meanwhile; empty at the end."""
        entry = self._queue.get()
        group: list[Entry] = []
        weight = 0
        while entry is not None:
            group.append(entry)
            weight += entry.weight
            if weight >= GROUP_RECORDS:
                return group
            try:
                entry = self._queue.get_nowait()
            except queue.Empty:
                return group
        if group:
            self._queue.put(None)  # the end, again for the next round: nothing comes behind it
        return group

    def _commit(self, connection: sqlite3.Connection, group: list[Entry]) -> Committed | Failed:
        try:
            try:
                return self._attempt(connection, group)
            except sqlite3.Error as error:
                if not is_full(error) or not self._make_room():
                    raise
                return self._attempt(connection, group)
        except Exception as error:  # noqa: BLE001 -- handed to every caller of the group
            return Failed(group, mapped(error), self._next - 1)

    def _attempt(self, connection: sqlite3.Connection, group: list[Entry]) -> Committed:
        appends = [entry for entry in group if isinstance(entry, Append)]
        changes = [entry for entry in group if isinstance(entry, Change)]
        if appends and not self._admits():
            raise JournalFull("the rest of the disk is kept for alarms")
        first = self._next
        if not changes:
            kept = self._insert(connection, appends)
            return Committed(group, first, kept, [])
        connection.execute("BEGIN IMMEDIATE")
        try:
            kept = self._insert(connection, appends)
            results = [change.apply(connection) for change in changes]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return Committed(group, first, kept, results)

    def _insert(
        self, connection: sqlite3.Connection, appends: list[Append]
    ) -> frozenset[int] | None:
        if not appends:
            return None
        first = self._next
        count = sum(len(append.records) for append in appends)
        rows = b",".join(append.rows for append in appends)
        self._next += count  # whatever becomes of it: sequences may have gaps
        inserted = connection.execute(INSERT, (first, f"[{rows.decode()}]")).rowcount
        if inserted == count:
            return None
        known = connection.execute(
            "SELECT json_group_array(sequence) FROM record WHERE sequence >= ?", (first,)
        )
        return frozenset(msgspec.json.decode(known.fetchone()[0]))


def is_full(error: sqlite3.Error) -> bool:
    """Whether it says that the disk has no room."""
    # The module's own complaints carry no code.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) in _FULL


def mapped(error: Exception) -> JournalError:
    """The error as this room's callers know it."""
    if isinstance(error, JournalError):
        return error
    text = f"{error} ({getattr(error, 'sqlite_errorname', type(error).__name__)})"
    full = isinstance(error, sqlite3.Error) and is_full(error)
    return JournalFull(text) if full else JournalError(text)


def _succeed(future: asyncio.Future[Any], result: object) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _last_sequence(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'record'").fetchone()
    return row[0] if row else 0


def _checkpoint(connection: sqlite3.Connection, mode: str) -> bool:
    """False when another thread is at it."""
    try:
        busy, _, _ = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    except sqlite3.Error as error:  # all is durable in the WAL, and read from it
        log.warning("the journal's WAL was not written back: error=%s", error)
        return True
    return not busy
