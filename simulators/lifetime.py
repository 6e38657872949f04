"""When a simulator ends: on SIGTERM or Ctrl-C, or when whoever started it is gone."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from typing import Any


async def run_until_told(work: Coroutine[Any, Any, None], *, child: bool) -> None:
    """Runs `work` to its end, or cancels it and waits when told to stop. Raises what it raises.

    SIGTERM and SIGINT tell. A `child` is told by the end of its standard input instead of SIGINT:
    its parent holds the other end of that pipe, which the kernel closes however the parent dies,
    and a Ctrl-C, which reaches every process of a terminal at once, leaves the order to the parent.
    """
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, told.set)
    loop.add_signal_handler(signal.SIGINT, (lambda: None) if child else told.set)
    pipe: asyncio.BaseTransport | None = None
    if child:
        pipe, _ = await loop.connect_read_pipe(lambda: _EndOfInput(told), sys.stdin)
    working = asyncio.create_task(work, name="work")
    telling = asyncio.create_task(told.wait(), name="told")
    try:
        await asyncio.wait((working, telling), return_when=asyncio.FIRST_COMPLETED)
    finally:
        telling.cancel()
        working.cancel()
        await asyncio.wait((working, telling))
        if pipe is not None:
            pipe.close()
    if not working.cancelled():
        working.result()


class _EndOfInput(asyncio.Protocol):
    def __init__(self, told: asyncio.Event) -> None:
        self._told = told

    def connection_lost(self, _: Exception | None) -> None:
        self._told.set()
