"""The road of what may be a press: each message by itself, at once, past everything that waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from adapters.mqtt.message import Acknowledge, Message
from adapters.mqtt.standing import Standing
from gateway.model import Event, EventType, Finding, Observation
from gateway.ports import Emit

MOST_UNDER_WAY = 1_000
"""Messages that wait for their commit: as many as the alarm session lets the broker send
unacknowledged. Only when a disk hangs are they more than a few."""

_PANIC = frozenset({EventType.PANIC_PRESSED, EventType.PANIC_RELEASED, EventType.PANIC_TEST})


def urgent(observation: Observation) -> bool:
    """Whether it belongs to the alarm lane: it is never dropped and never waits."""
    if isinstance(observation, Event):
        return observation.type in _PANIC
    return isinstance(observation, Finding)


def _same_bytes(one: Message, other: Message) -> bool:
    return (one.topic, one.payload) == (other.topic, other.payload)


class _Delivery:
    """A message under way; replaced by its redelivery, so that the ack goes where it counts."""

    __slots__ = ("message",)

    def __init__(self, message: Message) -> None:
        self.message = message


class Urgent:
    """Emits each message in a task of its own and acknowledges it when it is committed. A commit
    that hangs holds up no other press."""

    def __init__(
        self,
        emit: Emit,
        tasks: asyncio.TaskGroup,
        standing: Standing,
        keep: Callable[[], Awaitable[None]],
        acknowledge: Acknowledge,
    ) -> None:
        """`keep` makes durable what `standing` learnt: were a button's `sos: false` acknowledged
        and then forgotten, its next `sos: true` would be no news."""
        self._emit = emit
        self._keep = keep
        self._acknowledge = acknowledge
        self._tasks = tasks
        self._standing = standing
        self._under_way: set[_Delivery] = set()
        self._by_packet: dict[tuple[str, int], _Delivery] = {}
        self._room = asyncio.Event()
        self._room.set()

    async def room(self) -> None:
        """Waits until another message may be taken."""
        await self._room.wait()

    def take(self, message: Message, observations: Sequence[Observation]) -> None:
        """Sends them on their way. The redelivery of a message that is still under way only takes
        over the acknowledgement: the connection that brought the first one is gone."""
        packet = (message.session, message.packet_id)
        first = self._by_packet.get(packet)
        if first is not None and message.dup and _same_bytes(first.message, message):
            first.message = message
            return
        delivery = _Delivery(message)
        self._under_way.add(delivery)
        if message.qos:
            self._by_packet[packet] = delivery
        if len(self._under_way) >= MOST_UNDER_WAY:
            self._room.clear()
        self._tasks.create_task(self._deliver(delivery, observations), name="mqtt press")

    async def _deliver(self, delivery: _Delivery, observations: Sequence[Observation]) -> None:
        await self._emit(observations)
        for observation in observations:
            if isinstance(observation, Event):
                self._standing.committed(observation)
        await self._keep()
        message = delivery.message
        self._under_way.discard(delivery)
        if self._by_packet.get((message.session, message.packet_id)) is delivery:
            del self._by_packet[message.session, message.packet_id]
        self._room.set()
        self._acknowledge((message,))
