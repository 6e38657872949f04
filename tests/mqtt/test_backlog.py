"""Telemetry is always drained: committed and acknowledged, or dropped, counted and acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import pytest

from adapters.mqtt import backlog
from adapters.mqtt.backlog import (
    BATCH,
    LONGEST_WAIT_S,
    MOST_WAITING,
    PATIENCE_S,
    PAUSE_S,
    STALLED_S,
    Backlog,
)
from adapters.mqtt.message import acknowledge
from gateway.model import Event, EventType, Observation
from tests.mqtt.neighbours import NOW, Acks, Gate, NotedMetrics, message
from tests.simulated_clock import SimulatedClock, settled


def passed(number: int, received_at: datetime = NOW) -> Event:
    return Event(
        device_id="gate-1",
        type=EventType.ACCESS_PASSED,
        received_at=received_at,
        native_id=str(number),
    )


class Rig:
    def __init__(self) -> None:
        self.clock = SimulatedClock()
        self.metrics = NotedMetrics()
        self.backlog = Backlog(self.clock, self.metrics, acknowledge)
        self.gate = Gate()
        self.acks = Acks()
        self._count = 0

    def put(self, count: int = 1, payload: bytes = b"{}") -> None:
        for _ in range(count):
            self._count += 1
            by = message(payload=payload, packet_id=self._count, connection=self.acks)
            self.backlog.put([passed(self._count)], by)

    @property
    def committed(self) -> list[int]:
        return [int(one.native_id or 0) for one in self.gate.events]


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    running = asyncio.create_task(made.backlog.run(made.gate), name="backlog")
    await settled()
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_batches_are_committed_in_order_and_then_acknowledged(rig: Rig) -> None:
    rig.gate.telemetry_open.clear()
    rig.put(2 * BATCH + 1)
    await settled()
    assert len(rig.gate.taken) == BATCH
    assert rig.acks.packet_ids == []
    rig.gate.telemetry_open.set()
    await settled()
    assert rig.committed == rig.acks.packet_ids == list(range(1, 2 * BATCH + 2))
    assert rig.gate.calls == 3


async def test_an_overflow_drops_the_oldest_counted_and_acknowledged(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.gate.telemetry_open.clear()
    rig.put(BATCH)
    await settled()
    with caplog.at_level(logging.INFO):
        rig.put(MOST_WAITING + 70)
    assert rig.metrics.drops == {"overflow": 70}
    assert rig.acks.packet_ids == list(range(BATCH + 1, BATCH + 71))
    assert len(caplog.records) == 1, "one line, not one for each message"
    rig.gate.telemetry_open.set()
    await settled()
    assert len(rig.committed) == BATCH + MOST_WAITING
    assert rig.committed[BATCH] == BATCH + 71


async def test_large_payloads_overflow_by_their_bytes(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "MOST_BYTES", 1000)
    rig.put(6, payload=b"x" * 300)
    assert rig.metrics.drops == {"overflow": 3}


async def test_while_a_commit_hangs_nothing_waits_long(rig: Rig) -> None:
    rig.gate.telemetry_open.clear()
    rig.put(20)  # all that a broker of MQTT 3.1.1 sends before it is acknowledged
    await settled()
    await rig.clock.advance(LONGEST_WAIT_S)
    rig.backlog.expire()
    assert rig.acks.packet_ids == []
    rig.put(5)
    await rig.clock.advance(1.0)
    rig.backlog.expire()
    assert rig.acks.packet_ids == list(range(1, 21)), "the broker may go on"
    assert rig.metrics.drops == {"overflow": 20}
    rig.gate.telemetry_open.set()
    await settled()
    assert rig.acks.packet_ids == list(range(1, 26))
    assert rig.metrics.drops == {"overflow": 20}


async def test_a_journal_that_is_catching_up_is_waited_for(rig: Rig) -> None:
    rig.gate.telemetry_open.clear()
    rig.put(BATCH)
    await settled()
    rig.put(MOST_WAITING)
    waiting = asyncio.create_task(rig.backlog.room(BATCH), name="room")
    await rig.clock.advance(STALLED_S / 2)
    assert not waiting.done()
    rig.gate.telemetry_open.set()
    await settled()
    assert waiting.done()
    assert not rig.metrics.drops


async def test_a_journal_that_is_stuck_is_not(rig: Rig) -> None:
    rig.gate.telemetry_open.clear()
    rig.put(BATCH)
    await settled()
    rig.put(MOST_WAITING)
    waiting = asyncio.create_task(rig.backlog.room(BATCH), name="room")
    await rig.clock.advance(STALLED_S)
    rig.backlog.expire()
    await settled()
    assert waiting.done()
    rig.put(1)
    assert rig.metrics.drops == {"overflow": 1}


async def test_patience_has_an_end() -> None:
    """A gateway that is sent more than it can commit, for good, drops and counts it itself."""
    rig = Rig()

    async def slow(observations: Sequence[Observation]) -> None:
        await rig.clock.sleep(1.0)

    async def fill() -> None:
        while True:
            await rig.backlog.room(100)
            rig.put(100)
            await rig.clock.sleep(0.01)

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(rig.backlog.run(slow)), tasks.create_task(fill())]
        await rig.clock.advance(PATIENCE_S)
        assert not rig.metrics.drops
        rig.backlog.expire()
        await rig.clock.advance(5.0)
        assert rig.metrics.drops["overflow"] > 0
        for task in running:
            task.cancel()


async def test_what_the_journal_refuses_is_dropped_without_haste(rig: Rig) -> None:
    rig.gate.full = True
    rig.put(BATCH)
    await settled()
    assert rig.metrics.drops == {"journal": BATCH}
    assert len(rig.acks.packet_ids) == BATCH
    rig.put(BATCH)
    await settled()
    assert rig.gate.calls == 1
    await rig.clock.advance(PAUSE_S)
    assert rig.gate.calls == 2
    rig.gate.full = False
    rig.put()
    await rig.clock.advance(PAUSE_S)
    assert rig.committed == [2 * BATCH + 1]


async def test_trouble_is_told_once_and_its_end(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        rig.gate.full = True
        for _ in range(5):
            rig.put()
            await rig.clock.advance(PAUSE_S)
        rig.gate.full = False
        for _ in range(5):
            rig.put()
            await rig.clock.advance(LONGEST_WAIT_S)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_reports_without_a_message_need_no_acknowledgement(rig: Rig) -> None:
    rig.backlog.put([passed(1)], None)
    await settled()
    assert rig.committed == [1]
    assert rig.acks.packet_ids == []
