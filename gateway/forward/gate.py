"""A tidy stop: what is under way may end, nothing new begins."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType


class Gate:
    """Deliveries pass it, each with what must follow it (settling, setting aside).

    `async with gate:` counts one as under way. Once the gate is closed, entering waits for ever:
    the stop that closed it cancels those who wait.
    """

    def __init__(self) -> None:
        self._under_way = 0
        self._closed = False
        self._empty = asyncio.Event()

    def open(self) -> None:
        """Lets deliveries pass (again): at the start of a life."""
        self._under_way = 0
        self._closed = False
        self._empty.clear()

    async def close(self, grace_s: float) -> None:
        """Lets nothing new begin and waits at most `grace_s` for what is under way."""
        self._closed = True
        if self._under_way:
            with suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._empty.wait()

    async def __aenter__(self) -> None:
        if self._closed:
            await asyncio.get_running_loop().create_future()
        self._under_way += 1

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._under_way -= 1
        if self._closed and not self._under_way:
            self._empty.set()
