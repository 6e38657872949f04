"""Cuts what a broker sends into packets, and reads PUBLISH itself.

MQTT 5.0 and 3.1.1, sections 2.1 (fixed header) and 3.3 (PUBLISH). All other packets are handed on
as they are, for paho. PUBLISH is read here for two reasons. It is the hot path: paho 2.2 takes
40 µs for one of MQTT 5 (it builds a table of all properties each time) where this takes 3. And
the properties are skipped unread: a malformed one makes paho close the connection, and the broker
delivers the same message again after each reconnect, for ever.
"""

from __future__ import annotations

from typing import NamedTuple

PUBLISH = 3
MAX_PAYLOAD = 256 * 1024
"""Bytes of a payload that are kept. No device has more to say; of a longer one the head is kept."""
HEAD = 512
"""Bytes kept of a payload that is too long: what a technician needs to recognise it."""
_LONGEST_TOPIC = 65_535
_LONGEST_OTHER = 1024 * 1024
"""Bytes of a packet other than PUBLISH: a SUBACK has one a filter, so this is never reached."""


class Malformed(Exception):
    """The broker sent what is no MQTT: the connection is of no more use."""


class Publish(NamedTuple):
    """A PUBLISH. `size` is the payload's length on the wire, also where `payload` is only a head.

    `packet_id` is 0 for QoS 0.
    """

    topic: bytes
    payload: bytes
    size: int
    packet_id: int
    qos: int
    dup: bool
    retain: bool


class Other(NamedTuple):
    """Any other packet, whole."""

    packet: bytes


class Frames:
    """A stream of bytes in, packets out. Holds at most one packet that is not complete."""

    def __init__(self, *, properties: bool) -> None:
        """`properties`: whether PUBLISH has them, that is, whether MQTT 5 is spoken."""
        self._properties = properties
        self._buffer = bytearray()
        self._position = 0
        self._skip = 0
        self._skipped: Publish | None = None

    def feed(self, received: bytes) -> None:
        """Takes the next bytes of the stream."""
        if self._skip:
            passed = min(self._skip, len(received))
            self._skip -= passed
            received = received[passed:]
        if self._position:
            del self._buffer[: self._position]
            self._position = 0
        self._buffer += received

    def take(self, limit: int) -> list[Publish | Other]:
        """The next complete packets, at most `limit`. Raises Malformed."""
        packets: list[Publish | Other] = []
        while len(packets) < limit:
            packet = self._next()
            if packet is None:
                break
            packets.append(packet)
        return packets

    def _next(self) -> Publish | Other | None:
        if self._skip:
            return None
        if self._skipped is not None:
            packet, self._skipped = self._skipped, None
            return packet
        buffer, start = self._buffer, self._position
        if len(buffer) - start < 2:
            return None
        length, body = _variable_length(buffer, start + 1)
        if body == 0:
            return None
        end = body + length
        first = buffer[start]
        if first >> 4 != PUBLISH:
            if length > _LONGEST_OTHER:
                raise Malformed(f"a packet of type {first >> 4} with {length} bytes")
            if end > len(buffer):
                return None
            self._position = end
            return Other(bytes(buffer[start:end]))
        if end > len(buffer):
            if length > MAX_PAYLOAD + 2 * _LONGEST_TOPIC:
                self._begin_to_skip(first, body, length)
            return None
        self._position = end
        return self._publish(first, body, end, length)

    def _publish(self, first: int, position: int, end: int, length: int) -> Publish:
        """Reads variable header and payload; `end` is where the bytes at hand end."""
        buffer = self._buffer
        began = position
        qos = first >> 1 & 3
        if qos == 3 or end - position < 2:
            raise Malformed("a PUBLISH that cannot be read")
        topic_end = position + 2 + (buffer[position] << 8 | buffer[position + 1])
        topic = bytes(buffer[position + 2 : topic_end])
        position = topic_end
        packet_id = 0
        if qos:
            if end - position < 2:
                raise Malformed("a PUBLISH without a packet id")
            packet_id = buffer[position] << 8 | buffer[position + 1]
            position += 2
        if self._properties:
            length_of_properties, position = _variable_length(buffer, position)
            position += length_of_properties
        size = length - (position - began)
        if size < 0 or position < topic_end:
            raise Malformed("a PUBLISH whose parts are longer than the whole")
        if size > MAX_PAYLOAD:
            end = min(end, position + HEAD)
        return Publish(
            topic,
            bytes(buffer[position:end]),
            size,
            packet_id,
            qos,
            bool(first & 8),
            bool(first & 1),
        )

    def _begin_to_skip(self, first: int, body: int, length: int) -> None:
        """Keeps the head of a PUBLISH that is far too long and lets the rest pass by: memory stays
        bounded whatever a device sends. It is told once its last byte has passed."""
        at_hand = len(self._buffer) - body
        if at_hand < 2 * _LONGEST_TOPIC:
            return
        self._skipped = self._publish(first, body, len(self._buffer), length)
        self._skip = length - at_hand
        self._buffer.clear()
        self._position = 0


def _variable_length(buffer: bytearray, position: int) -> tuple[int, int]:
    """A Variable Byte Integer (MQTT 5.0, 1.5.5) and the position behind it; (0, 0) when it is not
    complete. Raises Malformed when it has more than four bytes."""
    value = shift = 0
    for at in range(position, min(position + 4, len(buffer))):
        byte = buffer[at]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at + 1
        shift += 7
    if len(buffer) - position >= 4:
        raise Malformed("a length of more than four bytes")
    return 0, 0
