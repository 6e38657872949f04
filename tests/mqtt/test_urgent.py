"""The road of presses: each by itself, acknowledged when it is committed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from adapters.mqtt.message import Message, acknowledge
from adapters.mqtt.privacy import Pseudonyms
from adapters.mqtt.standing import Standing
from adapters.mqtt.urgent import MOST_UNDER_WAY, Urgent, urgent
from gateway.model import Event, EventType, Finding, FindingCause, HealthReport, State
from tests.mqtt.neighbours import KEY, NOW, Acks, Gate, message
from tests.simulated_clock import settled


def press(device_id: str = "button-1") -> Event:
    return Event(device_id=device_id, type=EventType.PANIC_PRESSED, received_at=NOW)


async def nothing_to_keep() -> None:
    """No level of the button changed."""


async def with_urgent(gate: Gate, test: Callable[[Urgent], Awaitable[None]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        standing = Standing(["button-1"], Pseudonyms(KEY))
        await test(Urgent(gate, tasks, standing, nothing_to_keep, acknowledge))
        gate.open.set()


def took(road: Urgent, by: Message) -> None:
    road.take(by, [press()])


async def test_a_press_is_acknowledged_when_it_is_committed_and_not_before() -> None:
    gate, acks = Gate(), Acks()
    gate.open.clear()

    async def test(road: Urgent) -> None:
        took(road, message(packet_id=7, connection=acks))
        await settled()
        assert len(gate.taken) == 1
        assert acks.packet_ids == []
        gate.open.set()
        await settled()
        assert acks.packet_ids == [7]

    await with_urgent(gate, test)


async def test_a_commit_that_hangs_holds_up_no_other() -> None:
    gate, acks = Gate(), Acks()
    gate.open.clear()

    async def test(road: Urgent) -> None:
        for number in range(1, 6):
            took(road, message(packet_id=number, connection=acks))
        await settled()
        assert len(gate.taken) == 5

    await with_urgent(gate, test)
    assert acks.packet_ids == [1, 2, 3, 4, 5]


async def test_a_redelivery_under_way_only_takes_over_the_acknowledgement() -> None:
    gate, before, after = Gate(), Acks(), Acks()
    gate.open.clear()

    async def test(road: Urgent) -> None:
        took(road, message(packet_id=7, connection=before))
        await settled()
        took(road, message(packet_id=7, dup=True, connection=after))
        await settled()
        assert len(gate.taken) == 1

    await with_urgent(gate, test)
    assert (before.packet_ids, after.packet_ids) == ([], [7])


async def test_the_same_bytes_alone_are_no_redelivery() -> None:
    gate, acks = Gate(), Acks()
    gate.open.clear()
    ways = (
        message(packet_id=7, connection=acks),
        message(packet_id=8, connection=acks),
        message(packet_id=7, connection=acks),
        message(packet_id=7, dup=True, payload=b"other", connection=acks),
        message(packet_id=7, dup=True, session="second", connection=acks),
        message(packet_id=0, qos=0, connection=acks),
        message(packet_id=0, qos=0, dup=True, connection=acks),
    )

    async def test(road: Urgent) -> None:
        for way in ways:
            took(road, way)
        await settled()
        assert len(gate.taken) == len(ways)

    await with_urgent(gate, test)
    assert acks.packet_ids == [7, 8, 7, 7, 7]


async def test_what_is_under_way_is_bounded() -> None:
    gate = Gate()
    gate.open.clear()

    async def test(road: Urgent) -> None:
        for number in range(MOST_UNDER_WAY):
            await road.room()
            took(road, message(packet_id=number + 1))
        waiting = asyncio.create_task(road.room(), name="room")
        await settled()
        assert not waiting.done()
        gate.open.set()
        await settled()
        assert waiting.done()

    await with_urgent(gate, test)


def test_only_what_may_be_a_press_is_urgent() -> None:
    def event(type_: EventType) -> Event:
        return Event(device_id="button-1", type=type_, received_at=NOW)

    finding = Finding(
        device_id="button-1",
        cause=FindingCause.UNREADABLE,
        received_at=NOW,
        topic="",
        excerpt="",
        detail="",
    )
    health = HealthReport(device_id="button-1", state=State.ONLINE, observed_at=NOW)
    assert urgent(finding)
    assert not urgent(health)
    for type_ in EventType:
        assert urgent(event(type_)) == type_.startswith("panic.")
