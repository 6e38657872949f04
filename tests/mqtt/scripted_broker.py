"""A broker that answers as a test says: what no well-behaved one can be made to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self

CONNECT, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT, PUBACK = 1, 8, 10, 12, 14, 4

CONNACK_NEW = b"\x20\x03\x00\x00\x00"
CONNACK_PRESENT = b"\x20\x03\x01\x00\x00"

Answer = Callable[[bytes], bytes | None]
"""What to send for a packet; None closes the connection."""


def accept(_packet: bytes) -> bytes:
    return CONNACK_NEW


def grant(packet: bytes, code: int = 1) -> bytes:
    """SUBACK of MQTT 5 with `code` for each filter."""
    position = packet_body(packet)
    mid = packet[position : position + 2]
    position += 3  # no properties
    codes = bytearray()
    while position < len(packet):
        position += 2 + int.from_bytes(packet[position : position + 2], "big") + 1
        codes.append(code)
    return b"\x90" + bytes([3 + len(codes)]) + mid + b"\x00" + bytes(codes)


def packet_body(packet: bytes) -> int:
    position = 1
    while packet[position] & 128:
        position += 1
    return position + 1


class ScriptedBroker:
    """Listens on port 0. `received` holds every packet; `connections` counts them."""

    def __init__(self, **answers: Answer) -> None:
        """`answers` by packet: `connect`, `subscribe`. A clean CONNECT, which only asks for the
        version, is always accepted unless `probe` says otherwise."""
        self._answers: dict[str, Answer] = {"connect": accept, "subscribe": grant, **answers}
        self.received: list[bytes] = []
        self.logins = 0
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()
        await asyncio.sleep(0)

    def send(self, content: bytes) -> None:
        for writer in self._writers:
            writer.write(content)

    def packets(self, kind: int) -> list[bytes]:
        return [packet for packet in self.received if packet[0] >> 4 == kind]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            async for packet in _packets(reader):
                self.received.append(packet)
                answer = self._answer(packet)
                if answer is None:
                    break
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answer(self, packet: bytes) -> bytes | None:
        kind = packet[0] >> 4
        if kind == CONNECT:
            # Protocol name (6), level (1), then the flags.
            clean = packet[packet_body(packet) + 7] & 2
            if clean:
                return self._answers.get("probe", accept)(packet)
            self.logins += 1
            return self._answers["connect"](packet)
        if kind == SUBSCRIBE:
            return self._answers["subscribe"](packet)
        if kind == UNSUBSCRIBE:
            position = packet_body(packet)
            return b"\xb0\x04" + packet[position : position + 2] + b"\x00\x00"
        if kind == PINGREQ:
            return b"\xd0\x00"
        return None if kind == DISCONNECT else b""


async def _packets(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        head = await reader.readexactly(2)
        while head[-1] & 128:
            head += await reader.readexactly(1)
        length = sum((digit & 127) << 7 * place for place, digit in enumerate(head[1:]))
        yield head + await reader.readexactly(length)
