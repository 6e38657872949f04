"""Time that runs faster than the world's, for tests that wait for real threads and sockets."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta


class FastClock:
    """`ports.Clock` on which `speed` seconds pass in each real one."""

    def __init__(self, speed: float = 20.0) -> None:
        self._speed = speed
        self._began = time.monotonic()
        self._wall = datetime.now(UTC)

    def now(self) -> datetime:
        return self._wall + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return (time.monotonic() - self._began) * self._speed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._speed)
