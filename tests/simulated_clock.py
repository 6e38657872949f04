"""Time that only a test moves."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)

ROUNDS = 50
"""Passes of the loop that let woken tasks go on: more than any chain of awaits here is long."""


class SimulatedClock:
    """`ports.Clock` that stands still until `advance`. Sleepers wake in the order of their ends."""

    def __init__(self, start: datetime = START) -> None:
        self._wall = start
        self._monotonic = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> datetime:
        return self._wall

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        self._count += 1
        sleeper = (self._monotonic + seconds, self._count, woken)
        heapq.heappush(self._sleepers, sleeper)
        try:
            await woken
        finally:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)
                heapq.heapify(self._sleepers)

    async def advance(self, seconds: float = 0.0) -> None:
        """Moves both clocks, stopping at each sleeper's end until what it woke has gone on: a task
        that sleeps again within `seconds` is woken again. Waits for no threads and no sockets."""
        target = self._monotonic + seconds
        await settled()
        while self._sleepers and self._sleepers[0][0] <= target:
            end, _, woken = heapq.heappop(self._sleepers)
            self._move(end)
            if not woken.done():
                woken.set_result(None)
            await settled()
        self._move(target)
        await settled()

    def jump(self, delta: timedelta) -> None:
        """Moves the wall clock alone, as a time server or an administrator does."""
        self._wall += delta

    def _move(self, monotonic: float) -> None:
        self._wall += timedelta(seconds=monotonic - self._monotonic)
        self._monotonic = monotonic


async def settled() -> None:
    """Every task that can go on without time, threads or sockets has done so."""
    for _ in range(ROUNDS):
        await asyncio.sleep(0)
