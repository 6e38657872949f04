"""Where the alarm lane's undelivered records lie: open in memory, or aside in the journal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from gateway.errors import JournalError
from gateway.model import Stored
from gateway.ports import Aside, Clock, Consumer

log = logging.getLogger(__name__)

OPEN_LIMIT = 1000
"""Records read and neither delivered nor durably aside; reading waits above it. Ten full batches:
reached only while the journal takes nothing."""

JOURNAL_PATIENCE_S = 2.0
"""Longest wait for the journal: a hanging disk must not hold up what can be tried from memory."""


@asynccontextmanager
async def patience() -> AsyncIterator[None]:
    """Raises JournalError when the journal takes longer than JOURNAL_PATIENCE_S."""
    try:
        async with asyncio.timeout(JOURNAL_PATIENCE_S):
            yield
    except TimeoutError as error:
        msg = f"no answer of the journal within {JOURNAL_PATIENCE_S:g} s"
        raise JournalError(msg) from error


class LaneShelf:
    """Keeps one rule: the cursor passes a record once it is delivered or durably aside.

    A record that the journal does not take aside stays open in memory, before the cursor.
    """

    def __init__(self, consumer: Consumer, clock: Clock) -> None:
        self._consumer = consumer
        self._clock = clock
        self._open: dict[int, Stored] = {}
        self._highest = 0
        self._settled = 0
        self._unsure: set[int] = set()
        """Open records that may be aside all the same: the journal did not say in time."""
        self._room = asyncio.Event()

    async def read(self, limit: int) -> Sequence[Stored]:
        """The lane's next records, which are open from now on. Raises JournalError."""
        while len(self._open) >= OPEN_LIMIT:
            self._room.clear()
            await self._room.wait()
        batch = await self._consumer.batch(limit)
        self._open.update((stored.sequence, stored) for stored in batch)
        self._highest = batch[-1].sequence
        return batch

    async def fetch(self, sequence: int) -> Stored | None:
        if (stored := self._open.get(sequence)) is not None:
            return stored
        async with patience():
            found = await self._consumer.aside(after=sequence - 1, limit=1)
        if found and found[0].stored.sequence == sequence:
            return found[0].stored
        return None

    async def delivered(self, sequences: Sequence[int]) -> None:
        aside = [s for s in sequences if s not in self._open or s in self._unsure]
        if aside:
            async with patience():
                await self._consumer.release(aside)
        await self.close(sequences)

    async def keep(self, records: Sequence[Stored], reason: str, pause_s: float) -> None:
        retry_at = self._clock.now() + timedelta(seconds=pause_s)
        sequences = [stored.sequence for stored in records]
        try:
            async with patience():
                await self._consumer.set_aside(records, reason, retry_at)
        except JournalError as error:
            log.debug("not set aside: consumer=%s error=%s", self._consumer.name, error)
            self._unsure.update(s for s in sequences if s in self._open)
        else:
            await self.close(sequences)

    async def close(self, sequences: Sequence[int]) -> None:
        """These need no place before the cursor (any longer)."""
        for sequence in sequences:
            self._open.pop(sequence, None)
            self._unsure.discard(sequence)
        self._room.set()
        upto = next(iter(self._open)) - 1 if self._open else self._highest
        if upto > self._settled:
            self._settled = upto
            await self._consumer.settle(upto)

    async def page(self, *, after: int, limit: int, due: datetime | None = None) -> Sequence[Aside]:
        """Records aside behind `after`. Raises JournalError."""
        async with patience():
            return await self._consumer.aside(due=due, after=after, limit=limit)
