"""The one thread that reads a lane's file, beside its writer, and writes the WAL back."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from gateway.journal.schema import connect
from gateway.journal.thread import DiskThread
from gateway.journal.writer import mapped
from gateway.model import Lane

log = logging.getLogger(__name__)

WAL_LIMIT_PAGES = {Lane.ALARM: 1_000, Lane.TELEMETRY: 16_384}
"""4 and 64 MB. The WAL is written back by this thread, so that no commit waits for it. It begins
anew only when all of it is written back, which never is while commits come thick: then the writer
itself writes the rest, once the WAL is this large. In a flood telemetry pauses for some 10 ms each
64 MB; of alarms the rest is a handful of pages, and their WAL must not eat the reserve."""

P = ParamSpec("P")
T = TypeVar("T")


class Reader:
    """Serves questions one after the other. If the caller of one is cancelled it is asked all the
    same, and its answer dropped."""

    _connection: sqlite3.Connection

    def __init__(self, path: Path, lane: Lane, *, behind: Callable[[], None]) -> None:
        """`behind` is called in the thread when the writer has to write the rest."""
        self._path = path
        self._limit = WAL_LIMIT_PAGES[lane]
        self._behind = behind
        self._thread = DiskThread(f"journal-{lane}-reader")
        self._checkpoint_fails = False
        self._checkpoint_asked = False

    async def open(self) -> None:
        """Opens the file, which its writer has opened before. Raises JournalError."""
        self._thread.start()
        try:
            await self._thread.do(self._open)
        except BaseException as error:
            await self._thread.close()
            if isinstance(error, sqlite3.Error):
                raise mapped(error) from error
            raise

    async def close(self) -> None:
        """Returns when every question is answered and the thread gone."""
        await self._thread.close(lambda: self._connection.close())

    async def ask(
        self,
        question: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """What `question` finds. Raises JournalError when the disk does not answer."""
        try:
            return await self._thread.do(lambda: question(self._connection, *args, **kwargs))
        except sqlite3.Error as error:
            raise mapped(error) from error

    def checkpoint(self) -> None:
        """Has the WAL written back into the file, as far as that keeps nobody waiting."""
        if not self._checkpoint_asked:
            self._checkpoint_asked = True
            self._thread.soon(self._checkpoint)

    # --- in the thread ----------------------------------------------------------------------------

    def _open(self) -> None:
        self._connection = connect(self._path)
        # JSON goes to its decoder as bytes; broken UTF-8 is for the checksum to find.
        self._connection.text_factory = bytes

    def _checkpoint(self) -> None:
        try:
            _, pages, _ = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:  # the WAL grows meanwhile, and is read all the same
            if not self._checkpoint_fails:
                log.warning("the WAL cannot be written back: file=%s error=%s", self._path, error)
            self._checkpoint_fails = True
        else:
            self._checkpoint_fails = False
            if pages > self._limit:
                self._behind()
        finally:
            self._checkpoint_asked = False
