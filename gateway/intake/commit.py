"""Commits records of the alarm lane: for ever if need be, and never late for the center."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from gateway.errors import JournalError
from gateway.model import Lane, Record, Stored
from gateway.ports import Clock, Journal, Metrics

log = logging.getLogger(__name__)

PATIENCE_S = 1.0
"""A press that is not committed by then goes out from memory (architecture, promise 3)."""
RETRY_S = 0.5


class AlarmRoad:
    """Commits records of the alarm lane, for ever if need be.

    A commit belongs to the road, not to its caller: an adapter that is cancelled meanwhile must not
    leave a press behind that is half known. `express` takes the records of the memory road; it
    must return at once.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        clock: Clock,
        metrics: Metrics,
        express: Callable[[Sequence[Record]], None],
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._metrics = metrics
        self._express = express
        self._under_way: dict[str, asyncio.Task[Any]] = {}

    def start(self, record_id: str, commit: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Runs a commit that its caller may stop waiting for (with `asyncio.shield`)."""
        task = asyncio.create_task(commit, name=f"commit:{record_id}")
        self._under_way[record_id] = task
        task.add_done_callback(lambda _: self._under_way.pop(record_id, None))
        return task

    def under_way(self, record_id: str) -> asyncio.Task[Any] | None:
        """The commit of this record, while it lasts."""
        return self._under_way.get(record_id)

    async def found(self, record: Record) -> Stored | None:
        """The journal's record of that id; asked for until the journal answers."""
        while True:
            try:
                return await self._journal.get(record.lane, record.record_id)
            except JournalError as error:
                log.error("the alarm lane cannot be read: %s", error)
                await self._clock.sleep(RETRY_S)

    async def commit(self, record: Record) -> bool:
        """Returns once it is durable; whether it is new."""
        loop = asyncio.get_running_loop()
        express = loop.call_later(PATIENCE_S, self._express, [record])
        try:
            while True:
                try:
                    [new] = await self._journal.append([record])
                except Exception as error:  # noqa: BLE001 -- given up, the press would be forgotten
                    self._metrics.error("intake", "alarm_commit")
                    log.error(
                        "a record of the alarm lane cannot be committed: %s: %s",
                        type(error).__name__,
                        error,
                    )
                    await self._clock.sleep(RETRY_S)
                else:
                    if new:
                        self._metrics.appended(Lane.ALARM, 1)
                    return new
        finally:
            express.cancel()

    async def drained(self) -> None:
        """Everything that was started is committed."""
        while self._under_way:
            await asyncio.wait(set(self._under_way.values()))

    def abandon(self) -> None:
        """The gateway ends: what cannot be committed stays unacknowledged at its source."""
        for task in self._under_way.values():
            task.cancel()
