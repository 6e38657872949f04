"""The one thread that reads a lane's file, beside its writer, and writes the WAL back."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from gateway.journal.schema import connect
from gateway.journal.writer import mapped
from gateway.model import Lane

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class Reader:
    """Serves questions one after the other. A question whose caller is cancelled is still asked,
    its answer dropped."""

    _connection: sqlite3.Connection

    def __init__(self, path: Path, lane: Lane) -> None:
        self._path = path
        self._executor = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix=f"journal-{lane}-reader"
        )
        self._checkpoint_fails = False

    async def open(self) -> None:
        """Opens the file, which its writer has opened before."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._open)
        except BaseException:
            self._executor.shutdown()
            raise

    async def close(self) -> None:
        """Returns when every question is answered and the thread gone."""
        await asyncio.get_running_loop().run_in_executor(self._executor, self._close)
        self._executor.shutdown()

    async def ask(
        self,
        question: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """What `question` finds. Raises JournalError when the disk does not answer."""

        def asked() -> T:
            return question(self._connection, *args, **kwargs)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, asked)
        except sqlite3.Error as error:
            raise mapped(error) from error

    def checkpoint(self) -> None:
        """Has the WAL written back into the file, as far as that keeps nobody waiting."""
        self._executor.submit(self._checkpoint)

    # --- in the thread ----------------------------------------------------------------------------

    def _open(self) -> None:
        self._connection = connect(self._path)
        # JSON goes to its decoder as bytes; broken UTF-8 is for the checksum to find.
        self._connection.text_factory = bytes

    def _close(self) -> None:
        self._connection.close()

    def _checkpoint(self) -> None:
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:  # the WAL grows meanwhile, and is read all the same
            if not self._checkpoint_fails:
                log.warning("the WAL cannot be written back: file=%s error=%s", self._path, error)
            self._checkpoint_fails = True
        else:
            self._checkpoint_fails = False
