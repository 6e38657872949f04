"""The road of telemetry: in order, in batches, and always drained.

What cannot be committed in time is dropped, oldest first, counted and acknowledged. The broker's
queue is never our buffer: it drops silently, and what it drops may be a press. One exception:
after an absence the broker hands out in a moment what it kept for hours. As long as commits go on,
reading then waits for them, within `PATIENCE_S`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from adapters.mqtt.message import Acknowledge, Message
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
STALLED_S = 2.0
"""A journal that takes so long for a batch is not catching up, it is stuck."""
PATIENCE_S = 30.0
"""How long reading may wait for the journal: at 6,000 commits a second for nearly twice what the
shipped broker keeps. Longer is no catching up, but more than a gateway can take."""
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

    def __init__(self, clock: Clock, metrics: Metrics, acknowledge: Acknowledge) -> None:
        self._acknowledge = acknowledge
        self._clock = clock
        self._metrics = metrics
        self._waiting: deque[Waiting] = deque()
        self._size = 0
        self._arrived = asyncio.Event()
        self._under_way: list[Waiting] = []
        self._moved = asyncio.Event()
        self._commit_began: float | None = None
        self._refused = False
        self._full_since: float | None = None
        self._dropped_at: float | None = None

    async def room(self, count: int) -> None:
        """Waits until `count` more fit, as long as the journal is catching up."""
        while self._full(count) and self._catching_up():
            self._moved.clear()
            await self._moved.wait()

    def put(self, observations: Sequence[Observation], message: Message | None) -> None:
        """Takes observations; what is too much by it is dropped. Never blocks."""
        size = len(message.payload) if message is not None else 0
        self._waiting.append(Waiting(observations, message, self._clock.monotonic(), size))
        self._size += size
        self._arrived.set()
        while self._full():
            self._drop([self._popleft()], "overflow")

    def expire(self) -> None:
        """While a commit hangs, drops what has waited too long, the batch under way with it: it may
        yet be committed one day, but the broker must not wait for it. To be called about every
        second."""
        self._moved.set()
        if self._progressing():
            return
        oldest = self._clock.monotonic() - LONGEST_WAIT_S
        expired: list[Waiting] = []
        if self._under_way and self._under_way[0].since < oldest:
            expired, self._under_way = self._under_way, expired
        while self._waiting and self._waiting[0].since < oldest:
            expired.append(self._popleft())
        self._drop(expired, "overflow")

    async def run(self, emit: Emit) -> None:
        """Commits and acknowledges batch after batch, until cancelled."""
        self._under_way, self._commit_began = [], None  # of an earlier life: delivered again
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            count = min(BATCH, len(self._waiting))
            self._under_way = [self._popleft() for _ in range(count)]
            self._commit_began = self._clock.monotonic()
            try:
                await emit([one for waiting in self._under_way for one in waiting.observations])
            except JournalError as error:
                self._drop(self._under_way, "journal", error)
                self._under_way = []
                self._refused = True
                await self._clock.sleep(PAUSE_S)
                continue
            self._acknowledge(one.message for one in self._under_way if one.message is not None)
            self._under_way = []
            self._committed()
            self._moved.set()

    def _full(self, more: int = 0) -> bool:
        return len(self._waiting) + more > MOST_WAITING or self._size > MOST_BYTES

    def _progressing(self) -> bool:
        began = self._commit_began
        stuck = began is not None and self._clock.monotonic() - began >= STALLED_S
        return not self._refused and not stuck

    def _catching_up(self) -> bool:
        now = self._clock.monotonic()
        if self._full_since is None:
            self._full_since = now
        return self._progressing() and now - self._full_since < PATIENCE_S

    def _popleft(self) -> Waiting:
        waiting = self._waiting.popleft()
        self._size -= waiting.size
        if len(self._waiting) < MOST_WAITING // 2:
            self._full_since = None
        return waiting

    def _drop(
        self, waiting: Sequence[Waiting], reason: str, error: JournalError | None = None
    ) -> None:
        if not waiting:
            return
        self._metrics.dropped(Lane.TELEMETRY, reason, len(waiting))
        self._acknowledge(one.message for one in waiting if one.message is not None)
        if self._dropped_at is None:
            log.warning("mqtt telemetry is dropped reason=%s %s", reason, error or "")
        self._dropped_at = self._clock.monotonic()

    def _committed(self) -> None:
        """Tells the end of a trouble, not every breath that it takes."""
        self._commit_began, self._refused = None, False
        since = self._dropped_at
        if since is not None and self._clock.monotonic() - since > LONGEST_WAIT_S:
            self._dropped_at = None
            log.info("mqtt telemetry is all committed again")
