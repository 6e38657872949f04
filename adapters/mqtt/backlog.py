"""The road of telemetry: in order, in batches, and always drained.

What cannot be committed in time is dropped, oldest first, counted and acknowledged. The broker's
queue is never our buffer: it drops silently, and what it drops may be a press.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from adapters.mqtt.message import Message, acknowledge
from gateway.errors import JournalError
from gateway.model import Lane, Observation
from gateway.ports import Clock, Emit, Metrics

log = logging.getLogger(__name__)

BATCH = 500
"""Messages a commit: one sync for all of them, and short enough for the loop (about 10 ms)."""
MOST_WAITING = 20_000
"""Messages: three seconds of what a gateway can commit."""
MOST_BYTES = 64 * 1024 * 1024
"""Of their payloads, should they be large."""
LONGEST_WAIT_S = 10.0
"""A broker that sends only 20 messages at a time (3.1.1) would never fill the queue: while a commit
hangs, what has waited for so long makes room for what is new."""
PAUSE_S = 0.5
"""After a refusal by the journal: a full disk is not asked thousands of times a second."""


class Waiting(NamedTuple):
    """Observations on their way to the journal. `message` is acknowledged with them, if any."""

    observations: Sequence[Observation]
    message: Message | None
    since: float
    size: int


class Backlog:
    """The telemetry of one session."""

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._waiting: deque[Waiting] = deque()
        self._size = 0
        self._arrived = asyncio.Event()
        self._under_way: list[Waiting] = []
        self._dropped_at: float | None = None

    def put(self, observations: Sequence[Observation], message: Message | None) -> None:
        """Takes observations; what is too much by it is dropped. Never blocks."""
        size = len(message.payload) if message is not None else 0
        self._waiting.append(Waiting(observations, message, self._clock.monotonic(), size))
        self._size += size
        self._arrived.set()
        excess = len(self._waiting) - MOST_WAITING
        while excess > 0 or self._size > MOST_BYTES:
            self._drop([self._popleft()], "overflow")
            excess -= 1

    def expire(self) -> None:
        """Drops what has waited too long; to be called about every second."""
        oldest = self._clock.monotonic() - LONGEST_WAIT_S
        late = self._under_way if self._under_way and self._under_way[0].since < oldest else []
        if late:
            # Still under way, and perhaps committed one day: but the broker must not wait for it.
            self._under_way = []
        expired = list(late)
        while self._waiting and self._waiting[0].since < oldest:
            expired.append(self._popleft())
        if expired:
            self._drop(expired, "overflow")

    async def run(self, emit: Emit) -> None:
        """Commits and acknowledges batch after batch, until cancelled."""
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            count = min(BATCH, len(self._waiting))
            batch = self._under_way = [self._popleft() for _ in range(count)]
            try:
                await emit([one for waiting in batch for one in waiting.observations])
            except JournalError as error:
                self._drop(self._under_way, "journal", error)
                self._under_way = []
                await self._clock.sleep(PAUSE_S)
                continue
            acknowledge(one.message for one in self._under_way if one.message is not None)
            self._under_way = []
            self._committed()

    def _popleft(self) -> Waiting:
        waiting = self._waiting.popleft()
        self._size -= waiting.size
        return waiting

    def _drop(
        self, waiting: Sequence[Waiting], reason: str, error: JournalError | None = None
    ) -> None:
        if not waiting:
            return
        self._metrics.dropped(Lane.TELEMETRY, reason, len(waiting))
        acknowledge(one.message for one in waiting if one.message is not None)
        if self._dropped_at is None:
            log.warning("mqtt telemetry is dropped reason=%s %s", reason, error or "")
        self._dropped_at = self._clock.monotonic()

    def _committed(self) -> None:
        """Tells the end of the trouble, not every breath that it takes."""
        since = self._dropped_at
        if since is not None and self._clock.monotonic() - since > LONGEST_WAIT_S:
            self._dropped_at = None
            log.info("mqtt telemetry is all committed again")
