"""The kinds of MQTT devices at a site, each with what can happen to it."""

from __future__ import annotations

from enum import StrEnum

from simulators.mqtt.device import MqttDevice
from simulators.mqtt.dialects import Occurrence


class Direction(StrEnum):
    IN = "in"
    OUT = "out"


class PanicButton(MqttDevice):
    """A button under a desk, on a battery."""

    FULL_BATTERY = 0.97

    async def press(self) -> Occurrence:
        """Returns once the broker has the press."""
        return await self.happens("panic.pressed")

    async def release(self) -> Occurrence:
        return await self.happens("panic.released")

    async def open_case(self) -> Occurrence:
        return await self.happens("tamper.opened")

    async def close_case(self) -> Occurrence:
        return await self.happens("tamper.closed")


class Turnstile(MqttDevice):
    """A turnstile at a school's entrance."""

    async def let_pass(self, credential: str, direction: Direction = Direction.IN) -> Occurrence:
        """`credential`: the card's number, as readers send it. Raises ValueError, NotSaid."""
        return await self.happens(
            "access.passed", direction=Direction(direction), credential=credential
        )

    async def deny(self, credential: str) -> Occurrence:
        return await self.happens("access.denied", credential=credential)

    async def force(self) -> Occurrence:
        """Somebody climbed over or pushed it through."""
        return await self.happens("access.forced")


class Intercom(MqttDevice):
    """An intercom at a kindergarten's gate, with the contact of its door."""

    async def call(self) -> Occurrence:
        return await self.happens("intercom.called")

    async def answer(self) -> Occurrence:
        return await self.happens("intercom.answered")

    async def unlock(self) -> Occurrence:
        return await self.happens("intercom.unlocked")

    async def open_door(self) -> Occurrence:
        return await self.happens("door.opened")

    async def close_door(self) -> Occurrence:
        return await self.happens("door.closed")

    async def force_door(self) -> Occurrence:
        return await self.happens("door.forced")
