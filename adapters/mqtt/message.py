"""A message as the broker handed it over, and the place where it waits to be read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Protocol

from msgspec import Struct


class Acknowledger(Protocol):
    """The connection that a message came by: the only one on which its PUBACK means anything."""

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Sends a PUBACK for each, at once; nothing when the connection has ended."""
        ...


class Message(Struct, frozen=True, gc=False):
    """A PUBLISH as it came, not yet looked at: every byte of it is the device's claim.

    `size` is the payload's length on the wire, also where `payload` is only a head of it.
    `rebuilding` is true while a session that the broker had lost is being rebuilt.
    """

    topic: bytes
    payload: bytes
    size: int
    packet_id: int
    qos: int
    dup: bool
    retained: bool
    received_at: datetime
    session: str
    rebuilding: bool
    connection: Acknowledger


def acknowledge(messages: Iterable[Message]) -> None:
    """Acknowledges messages to the connections that they came by.

    An ack of an earlier connection would acknowledge a stranger, as packet ids begin anew: the
    ended connection ignores it, and the broker delivers the message again.
    """
    for connection, group in groupby(messages, key=_connection):
        connection.acknowledge([message.packet_id for message in group if message.qos])


Acknowledge = Callable[[Iterable[Message]], None]


def _connection(message: Message) -> Acknowledger:
    return message.connection


class Inbox:
    """Where received messages wait for the next turn of the loop; order kept, nothing dropped.

    Bounded: a connection stops reading while its inbox is `full`.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._messages: deque[Message] = deque()
        self._arrived = asyncio.Event()

    def put(self, message: Message) -> None:
        self._messages.append(message)
        self._arrived.set()

    def full(self) -> bool:
        return len(self._messages) >= self._limit

    async def take(self, limit: int) -> list[Message]:
        """The oldest messages, at most `limit`; waits for the first."""
        while not self._messages:
            self._arrived.clear()
            await self._arrived.wait()
        messages = self._messages
        return [messages.popleft() for _ in range(min(limit, len(messages)))]
