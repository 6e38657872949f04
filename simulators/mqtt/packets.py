"""The few MQTT 3.1.1 packets that a publishing device needs (OASIS MQTT 3.1.1, chapter 3)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum

from msgspec import Struct


class Kind(IntEnum):
    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


class Message(Struct, frozen=True, kw_only=True):
    """What a device publishes, at QoS 1."""

    topic: str
    payload: bytes
    retain: bool = False


class ProtocolError(ValueError):
    """The broker sent what no broker sends."""


PINGREQ = bytes((Kind.PINGREQ << 4, 0))
DISCONNECT = bytes((Kind.DISCONNECT << 4, 0))

_LONGEST_LENGTH_FIELD = 4


def connect(
    client_id: str,
    *,
    keep_alive_s: int,
    will: Message | None,
    username: str | None,
    password: str | None,
) -> bytes:
    """CONNECT with a clean session; the will at QoS 1, retained if it says so."""
    flags = 0x02
    payload = _text(client_id)
    if will is not None:
        flags |= 0x04 | 0x08 | (0x20 if will.retain else 0)
        payload += _text(will.topic) + struct.pack("!H", len(will.payload)) + will.payload
    if username is not None:
        flags |= 0x80
        payload += _text(username)
    if password is not None:
        flags |= 0x40
        payload += _text(password)
    return _packet(
        Kind.CONNECT << 4, _text("MQTT") + struct.pack("!BBH", 4, flags, keep_alive_s) + payload
    )


def publish(message: Message, *, packet_id: int) -> bytes:
    """PUBLISH at QoS 1. Never with DUP: over clean sessions each sending is a first one."""
    first = Kind.PUBLISH << 4 | 0x02 | (0x01 if message.retain else 0)
    return _packet(first, _text(message.topic) + struct.pack("!H", packet_id) + message.payload)


def puback_id(body: bytes) -> int:
    """The packet id that a PUBACK acknowledges."""
    if len(body) < 2:
        raise ProtocolError("PUBACK without a packet id")
    (packet_id,) = struct.unpack_from("!H", body)
    return int(packet_id)


class Splitter:
    """Cuts the byte stream of a connection into packets."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, received: bytes) -> Iterator[tuple[int, bytes]]:
        """The kind and the body of each packet that is now complete. Raises ProtocolError."""
        self._buffer += received
        while (whole := self._complete()) is not None:
            start, end = whole
            kind, body = self._buffer[0] >> 4, bytes(self._buffer[start:end])
            del self._buffer[:end]
            yield kind, body

    def _complete(self) -> tuple[int, int] | None:
        length = 0
        for index in range(_LONGEST_LENGTH_FIELD):
            if len(self._buffer) < index + 2:
                return None
            byte = self._buffer[index + 1]
            length |= (byte & 0x7F) << 7 * index
            if not byte & 0x80:
                start = index + 2
                end = start + length
                return (start, end) if len(self._buffer) >= end else None
        raise ProtocolError("remaining length of five bytes")


def _packet(first: int, body: bytes) -> bytes:
    length = bytearray()
    left = len(body)
    while True:
        left, low = divmod(left, 128)
        length.append(low | 0x80 if left else low)
        if not left:
            return bytes((first,)) + bytes(length) + body


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("!H", len(encoded)) + encoded
