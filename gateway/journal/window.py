"""How many records may be on their way to the disk at once; who comes later waits in line."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque


class Window:
    """Counts what is in flight. First come, first served: the order of calls is kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def enter(self, count: int) -> None:
        """Waits for room. More than the whole window enters when it is empty, alone."""
        if not self._waiting and self._fits(count):
            self._used += count
            return
        admitted = asyncio.get_running_loop().create_future()
        place = (count, admitted)
        self._waiting.append(place)
        try:
            await admitted
        except asyncio.CancelledError:
            if admitted.cancelled():
                with contextlib.suppress(ValueError):  # `_admit` may have passed it already
                    self._waiting.remove(place)
                self._admit()
            else:  # let in and cancelled in the same moment
                self.leave(count)
            raise

    def leave(self, count: int) -> None:
        self._used -= count
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            count, admitted = self._waiting.popleft()
            if admitted.cancelled():
                continue
            self._used += count
            admitted.set_result(None)

    def _fits(self, count: int) -> bool:
        return self._used == 0 or self._used + count <= self._limit
