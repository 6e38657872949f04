"""How a message was heard: the facts about its way to us that go into observations."""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b

from adapters.mqtt.message import Message
from gateway.model import Wire


class Heard:
    """A message and when it was heard. `at` is in monotonic seconds."""

    __slots__ = ("_message", "_wire", "at", "live", "received_at")

    def __init__(self, message: Message, at: float) -> None:
        self.at = at
        self.received_at: datetime = message.received_at
        self.live = not message.retained
        self._message = message
        self._wire: Wire | None = None

    def wire(self) -> Wire:
        """What proves that another message is this one's redelivery."""
        if self._wire is None:
            message = self._message
            digest = blake2b(message.topic, digest_size=16)
            digest.update(b"\0")
            digest.update(message.payload)
            self._wire = Wire(
                session=message.session,
                packet_id=message.packet_id,
                dup=message.dup,
                retained=message.retained,
                digest=digest.hexdigest(),
                session_lost=message.retained and message.rebuilding,
            )
        return self._wire
