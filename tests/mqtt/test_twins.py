"""No copy of a press is acknowledged before the press is committed, and none is lost."""

from __future__ import annotations

import pytest

from adapters.mqtt import twins as twins_module
from adapters.mqtt.twins import TWIN_WAIT_S, Twins
from tests.mqtt.neighbours import Acks, message
from tests.simulated_clock import SimulatedClock


class Rig:
    def __init__(self) -> None:
        self.clock = SimulatedClock()
        self.heard = True
        self.twins = Twins(lambda _topic: self.heard, self.clock)
        self.alarm, self.telemetry = Acks(), Acks()

    def done(self, packet_id: int, payload: bytes = b"press") -> None:
        self.twins.done([message(payload=payload, packet_id=packet_id, connection=self.alarm)])

    def copy(self, packet_id: int, payload: bytes = b"press") -> None:
        copied = message(payload=payload, packet_id=packet_id, connection=self.telemetry)
        self.twins.wait(copied)


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_a_copy_waits_for_its_message(rig: Rig) -> None:
    rig.copy(1)
    rig.copy(2, b"another")
    assert rig.telemetry.packet_ids == []
    rig.done(7)
    assert (rig.alarm.packet_ids, rig.telemetry.packet_ids) == ([7], [1])


async def test_a_copy_that_comes_later_is_acknowledged_at_once(rig: Rig) -> None:
    rig.done(7)
    rig.copy(1)
    assert rig.telemetry.packet_ids == [1]
    rig.copy(2)
    assert rig.telemetry.packet_ids == [1], "one message, one copy"


async def test_each_of_many_presses_with_the_same_bytes_has_its_copy(rig: Rig) -> None:
    for number in (1, 2, 3):
        rig.copy(number)
    for number in (7, 8):
        rig.done(number)
    assert rig.telemetry.packet_ids == [1, 2]


async def test_a_copy_is_taken_where_its_own_session_does_not_hear_the_device(rig: Rig) -> None:
    rig.heard = False
    rig.copy(1)
    await rig.clock.advance(TWIN_WAIT_S - 1)
    assert rig.twins.orphans() == []
    await rig.clock.advance(1)
    [orphan] = rig.twins.orphans()
    assert orphan.packet_id == 1
    assert rig.telemetry.packet_ids == [], "whoever takes it acknowledges it"
    assert rig.twins.orphans() == []


async def test_a_copy_whose_message_is_on_its_way_is_not_taken(rig: Rig) -> None:
    rig.copy(1)
    await rig.clock.advance(TWIN_WAIT_S)
    assert rig.twins.orphans() == []
    assert rig.telemetry.packet_ids == [1]


async def test_a_copy_that_has_found_its_message_is_no_orphan(rig: Rig) -> None:
    rig.heard = False
    rig.copy(1)
    rig.done(7)
    await rig.clock.advance(TWIN_WAIT_S)
    assert rig.twins.orphans() == []


async def test_what_waits_is_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twins_module, "MOST_COPIES", 10)
    for number in range(1, 31):
        rig.done(number, b"done %d" % number)
        rig.copy(number, b"copy %d" % number)
    rig.twins.orphans()
    assert rig.telemetry.packet_ids == list(range(1, 21))
    assert len(rig.twins._done) == 10
    assert len(rig.twins._copies) == 10
