"""Two roads between a real broker and a gate in place of intake: neither holds up the other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from adapters.mqtt import Broker, backlog, twins
from gateway.model import Observation
from tests.mqtt.neighbours import (
    Gate,
    NotedMetrics,
    adapter,
    button,
    running,
    send,
    turnstile,
)
from tests.peers import until
from tests.rig import Mosquitto, passed, press

BUTTON = "kuzet/school-1/button-1"
GATE = "kuzet/school-1/turnstile-1"


async def test_a_telemetry_that_cannot_be_committed_does_not_delay_a_press(
    tmp_path: Path, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "MOST_WAITING", 1000)
    gate, metrics = Gate(), NotedMetrics()
    gate.telemetry_open.clear()
    mqtt = adapter(tmp_path, broker.port, button(), turnstile(), metrics=metrics)
    async with running(mqtt, gate):
        flood = asyncio.create_task(
            send(broker, f"{GATE}/event", *(passed(f"{n}") for n in range(6000)), client="flood"),
            name="flood",
        )
        await until(lambda: metrics.drops["overflow"] > 0, 30)
        await send(broker, f"{BUTTON}/event", press("now"))
        await until(lambda: gate.presses)
        await flood
        # All that came is dropped but what waits and the batch under way.
        await until(lambda: metrics.drops["overflow"] >= 6000 - 1000 - backlog.BATCH - 2, 30)
        gate.telemetry_open.set()
        await until(lambda: any(one.native_id == "5999" for one in gate.events))
    again = Gate()
    async with running(adapter(tmp_path, broker.port, button(), turnstile()), again):
        await send(broker, f"{GATE}/event", passed("after"))
        await until(lambda: again.events)
    assert [one.native_id for one in again.events] == ["after"], "the broker's queue is empty"


async def test_what_the_broker_kept_for_hours_is_taken_as_the_journal_can(
    tmp_path: Path, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "MOST_WAITING", 1000)
    async with running(adapter(tmp_path, broker.port, turnstile()), Gate()):
        pass
    await send(broker, f"{GATE}/event", *(passed(f"{n}") for n in range(6000)))
    gate, metrics = Slow(), NotedMetrics()
    async with running(adapter(tmp_path, broker.port, turnstile(), metrics=metrics), gate):
        await until(lambda: len(gate.events) == 6000, 30)
    assert not metrics.drops


class Slow(Gate):
    """Commits as slowly as a poor disk, far below what the broker hands out."""

    async def __call__(self, observations: Sequence[Observation], /) -> None:
        await asyncio.sleep(0.05)
        await super().__call__(observations)


async def test_a_press_that_cannot_be_committed_does_not_delay_the_next(
    tmp_path: Path, broker: Mosquitto
) -> None:
    gate = Gate()
    gate.open.clear()
    mqtt = adapter(tmp_path, broker.port, button(), turnstile())
    async with running(mqtt, gate):
        await send(broker, f"{BUTTON}/event", *(press(f"{n}") for n in range(60)))
        await send(broker, f"{GATE}/event", passed("pass"))
        await until(lambda: any(one.type == "access.passed" for one in gate.events))
        await until(
            lambda: [getattr(one, "type", "") for one in gate.taken].count("panic.pressed") == 60
        )
        assert not gate.presses


async def test_a_panic_event_of_a_turnstile_is_never_dropped(
    tmp_path: Path, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "MOST_WAITING", 200)
    gate, metrics = Gate(), NotedMetrics()
    gate.telemetry_open.clear()
    async with running(adapter(tmp_path, broker.port, turnstile(), metrics=metrics), gate):
        payloads = [press(f"{n}") if n % 100 == 0 else passed(f"{n}") for n in range(2000)]
        await send(broker, f"{GATE}/event", *payloads)
        await until(lambda: len(gate.presses) == 20)
        assert metrics.drops["overflow"] > 0


async def test_a_full_disk_drops_telemetry_counted_and_takes_presses(
    tmp_path: Path, broker: Mosquitto
) -> None:
    gate, metrics = Gate(), NotedMetrics()
    gate.full = True
    async with running(
        adapter(tmp_path, broker.port, button(), turnstile(), metrics=metrics), gate
    ):
        await send(broker, f"{GATE}/event", *(passed(f"{n}") for n in range(100)))
        await send(broker, f"{BUTTON}/event", press("still"))
        await until(lambda: gate.presses)
        await until(lambda: metrics.drops["journal"] >= 100)
    again = Gate()
    async with running(adapter(tmp_path, broker.port, button(), turnstile()), again):
        await send(broker, f"{GATE}/event", passed("after"))
        await until(lambda: again.events)
    assert [one.native_id for one in again.events] == ["after"], "dropped ones are acknowledged"


async def test_panic_devices_may_have_a_broker_of_their_own(
    tmp_path: Path, broker: Mosquitto
) -> None:
    async with Mosquitto(tmp_path / "alarm-broker") as alarm:
        gate = Gate()
        own = Broker(host="127.0.0.1", port=alarm.port)
        mqtt = adapter(tmp_path, broker.port, button(), turnstile(), alarm_broker=own)
        async with running(mqtt, gate):
            await send(alarm, f"{BUTTON}/event", press("right"))
            await send(broker, f"{BUTTON}/event", press("wrong broker, and heard"))
            await send(broker, f"{GATE}/event", passed("pass"))
            await until(lambda: len(gate.events) == 3)
            broker.kill()
            await until(lambda: not mqtt.brokers()["telemetry"])
            await send(alarm, f"{BUTTON}/event", press("alone"))
            await until(lambda: len(gate.presses) == 3)


async def test_one_broker_brings_each_press_once(tmp_path: Path, broker: Mosquitto) -> None:
    gate = Gate()
    async with running(adapter(tmp_path, broker.port, button(), turnstile()), gate):
        await send(broker, f"{BUTTON}/event", *(press(f"{n}") for n in range(20)))
        await send(broker, f"{GATE}/event", passed("last"))
        await until(lambda: len(gate.events) == 21)
    assert len(gate.presses) == 20


async def test_no_copy_of_a_press_is_acknowledged_before_its_commit(
    tmp_path: Path, broker: Mosquitto
) -> None:
    gate = Gate()
    gate.open.clear()
    async with running(adapter(tmp_path, broker.port, button(), turnstile()), gate):
        await send(broker, f"{BUTTON}/event", press("press"))
        await until(lambda: gate.taken)
        await send(broker, f"{GATE}/event", passed("pass"))
        await until(lambda: gate.events)
    # A gateway that does not know the button sees what the broker has still: both copies.
    metrics = NotedMetrics()
    async with running(adapter(tmp_path, broker.port, turnstile(), metrics=metrics), Gate()):
        await until(lambda: metrics.errors["mqtt", "unknown_device"] == 2)


async def test_a_press_is_heard_though_its_own_session_cannot_hear_it(
    tmp_path: Path, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twins, "TWIN_WAIT_S", 0.1)
    gate = Gate()
    mqtt = adapter(tmp_path, broker.port, button(), turnstile())
    mqtt._roads["alarm"].session.want([])
    async with running(mqtt, gate):
        await send(broker, f"{BUTTON}/event", press("press"))
        await until(lambda: gate.presses)
    again = Gate()
    async with running(adapter(tmp_path, broker.port, turnstile()), again):
        await send(broker, f"{GATE}/event", passed("pass"))
        await until(lambda: again.events)
    assert len(gate.presses) == 1
