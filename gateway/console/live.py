"""The live feed: every change of an alarm or a device as a server-sent event.

A client that falls behind is told `resync` once and loads everything anew; one whose connection
takes nothing for `SEND_TIMEOUT_S` is cut. Nothing is replayed: on (re)connecting, a client loads
what it shows and follows from there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from msgspec import Struct

from gateway.errors import KuzetError

CLIENTS = 300
"""Open streams at once: each costs about 50 kB behind TLS and a frame of every change."""
QUEUE = 256
"""Frames kept for a client that reads slowly; a region's blackout is 17,000 of them at once."""
BEAT_S = 5.0
"""How often a silent stream says that it lives: the page says "not live" after two missing ones."""
SEND_TIMEOUT_S = 15.0


class Frame(Struct, frozen=True):
    """One server-sent event: its name and its JSON."""

    event: str
    json: str


RESYNC = Frame("resync", "{}")


class TooManyClients(KuzetError):
    """`CLIENTS` streams are open already."""


class Listener:
    """One client's queue."""

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()
        self._waiting = asyncio.Event()
        self.closed = False

    def put(self, frame: Frame) -> None:
        """Queues a frame; on overflow the client gets one `resync` in place of all that waited."""
        if len(self._frames) >= QUEUE:
            self._frames.clear()
            frame = RESYNC
        self._frames.append(frame)
        self._waiting.set()

    def close(self) -> None:
        self.closed = True
        self._waiting.set()

    async def next(self, timeout_s: float) -> Frame | None:
        """The next frame; None when there was none in time, or the feed closed."""
        if not self._frames and not self.closed:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._waiting.wait()
            except TimeoutError:
                return None
        if self.closed:
            return None
        frame = self._frames.popleft()
        if not self._frames:
            self._waiting.clear()
        return frame


class Feed:
    """Hands every change to every open stream; never blocks who publishes."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._closed = False

    def open(self) -> None:
        """Streams may begin (again): the console was closed and serves anew."""
        self._closed = False

    def publish(self, event: str, body: Struct) -> None:
        if not self._listeners:
            return
        frame = Frame(event, msgspec.json.encode(body).decode())
        for listener in self._listeners:
            listener.put(frame)

    @contextmanager
    def listening(self) -> Iterator[Listener]:
        """A queue of all changes from now on. Raises TooManyClients."""
        if len(self._listeners) >= CLIENTS:
            raise TooManyClients
        listener = Listener()
        if self._closed:
            listener.close()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def close(self) -> None:
        """Ends every stream: the gateway stops."""
        self._closed = True
        for listener in self._listeners:
            listener.close()
