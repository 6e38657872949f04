"""A thread that waits for the disk in the event loop's stead."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from gateway.errors import JournalError

T = TypeVar("T")


class DiskThread:
    """Does work in the order in which it comes. Its thread is a daemon: a disk that hangs for ever
    must not keep the process from ending."""

    def __init__(self, name: str) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._open = False

    def start(self) -> None:
        self._open = True
        self._thread.start()

    async def do(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises. If the caller is cancelled it is done all the same."""
        if not self._open:
            raise JournalError("the journal is closed")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def worked() -> None:
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 -- handed to the caller
                loop.call_soon_threadsafe(_answer, done, done.set_exception, error)
            else:
                loop.call_soon_threadsafe(_answer, done, done.set_result, result)

        self._queue.put(worked)
        return await done

    def soon(self, work: Callable[[], None]) -> None:
        """Has `work` done, which raises nothing and is waited for by nobody."""
        self._queue.put(work)

    async def close(self, last: Callable[[], None] = lambda: None) -> None:
        """Returns when all work, and `last` after it, is done and the thread is gone."""
        try:
            await self.do(last)
        finally:
            self._open = False
            self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            work()


def _answer(done: asyncio.Future[Any], answer: Callable[[Any], None], value: object) -> None:
    if not done.done():
        answer(value)
