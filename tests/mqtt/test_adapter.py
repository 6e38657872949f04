"""The adapter between a real broker and a gate in place of intake."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import uvloop

from adapters.mqtt import MqttAdapter
from adapters.mqtt.frames import MAX_PAYLOAD
from gateway.model import Device, DeviceKind
from gateway.ports import InventoryChange
from tests.mqtt.neighbours import (
    Gate,
    NotedMetrics,
    adapter,
    button,
    device,
    inventory,
    running,
    send,
    turnstile,
)
from tests.peers import require, until
from tests.rig import Mosquitto, passed, press

BUTTON = "kuzet/school-1/button-1"
GATE = "kuzet/school-1/turnstile-1"


# --- presses --------------------------------------------------------------------------------------


async def test_a_press_by_mosquitto_pub_is_emitted_with_its_wire(
    tmp_path: Path, broker: Mosquitto
) -> None:
    gate = Gate()
    async with running(adapter(tmp_path, broker.port, button()), gate):
        publisher = await asyncio.create_subprocess_exec(
            require("mosquitto_pub"),
            *("-p", str(broker.port), "-t", f"{BUTTON}/event", "-q", "1"),
            *("-m", '{"type":"panic.pressed","id":"b-1","time":"2026-11-22T13:00:00+05:00"}'),
        )
        await until(lambda: gate.presses)
        assert await publisher.wait() == 0
    [event] = gate.presses
    assert (event.device_id, event.native_id) == ("button-1", "b-1")
    assert event.wire is not None
    assert not event.wire.dup
    assert event.wire.packet_id > 0
    assert gate.health("button-1") == [("online", None)]


async def test_a_press_is_acknowledged_only_after_its_commit(
    tmp_path: Path, broker: Mosquitto
) -> None:
    gate, again = Gate(), Gate()
    gate.open.clear()
    async with running(adapter(tmp_path, broker.port, button()), gate):
        await send(broker, f"{BUTTON}/event", press("first"), press("second"))
        await until(lambda: len(gate.taken) >= 2)
    async with running(adapter(tmp_path, broker.port, button()), again):
        await until(lambda: len(again.presses) == 2)
    taken = [one for one in gate.taken if getattr(one, "type", "") == "panic.pressed"]
    for before, after in zip(taken, again.presses, strict=True):
        assert before.wire is not None  # type: ignore[union-attr]
        assert after.wire is not None
        assert after.wire.dup
        assert after.wire.digest == before.wire.digest  # type: ignore[union-attr]
        assert after.wire.session == before.wire.session  # type: ignore[union-attr]
        assert after.wire.packet_id == before.wire.packet_id  # type: ignore[union-attr]
    third = Gate()
    async with running(adapter(tmp_path, broker.port, button()), third):
        await send(broker, f"{BUTTON}/event", press("third"))
        await until(lambda: third.presses)
    assert [one.native_id for one in third.presses] == ["third"]


async def test_a_commit_that_hangs_over_a_reconnect_is_not_taken_twice(
    tmp_path: Path, broker: Mosquitto
) -> None:
    gate = Gate()
    gate.open.clear()
    mqtt = adapter(tmp_path, broker.port, button())
    async with running(mqtt, gate):
        await send(broker, f"{BUTTON}/event", press("slow"))
        await until(lambda: gate.taken)
        broker.stop()
        await until(lambda: not any(mqtt.brokers().values()))
        await broker.start()
        await send(broker, f"{BUTTON}/event", press("next"))
        await until(lambda: len([one for one in gate.taken if hasattr(one, "native_id")]) == 2)
        gate.open.set()
        await until(lambda: len(gate.presses) == 2)
    again = Gate()
    async with running(adapter(tmp_path, broker.port, button()), again):
        await send(broker, f"{BUTTON}/event", press("last"))
        await until(lambda: again.presses)
    assert [one.native_id for one in gate.presses] == ["slow", "next"]
    assert [one.native_id for one in again.presses] == ["last"], "both were acknowledged"


async def test_a_retained_press_says_that_it_is_one(tmp_path: Path, broker: Mosquitto) -> None:
    await send(broker, f"{BUTTON}/event", b'{"type":"panic.pressed"}', retain=True)
    gate = Gate()
    async with running(adapter(tmp_path, broker.port, button()), gate):
        await until(lambda: gate.presses)
    wire = gate.presses[0].wire
    assert wire is not None
    assert (wire.retained, wire.session_lost) == (True, False)


async def test_a_zigbee_button_is_heard(tmp_path: Path, broker: Mosquitto) -> None:
    topic = "school-1/zigbee2mqtt/sos"
    gate = Gate()
    async with running(
        adapter(tmp_path, broker.port, button(dialect="zigbee2mqtt", topic=topic)), gate
    ):
        await send(broker, topic, b'{"action":"emergency","battery":100,"linkquality":18}')
        await send(broker, topic, b'{"action":"","battery":100,"linkquality":18}')
        await send(broker, f"{topic}/availability", b'{"state":"offline"}')
        await until(lambda: ("offline", "heartbeat_lost") in gate.health("button-1"))
    assert len(gate.presses) == 1


async def test_a_button_that_says_sos_for_ever_alarms_once_also_over_a_restart(
    tmp_path: Path, broker: Mosquitto
) -> None:
    topic = "zigbee2mqtt/old"
    seen = []
    for battery in (90, 89, 88):
        gate = Gate()
        async with running(
            adapter(tmp_path, broker.port, button(dialect="zigbee2mqtt", topic=topic)), gate
        ):
            payload = json.dumps({"sos": True, "battery": battery}).encode()
            await send(broker, topic, payload, payload)
            await until(lambda gate=gate: len(gate.health("button-1")) == 2)  # type: ignore[misc]
        seen.append(len(gate.presses))
    # Both of the first two may come before the commit of the first is known: in doubt it counts.
    assert seen[0] in (1, 2)
    assert seen[1:] == [0, 0]


# --- what devices send ----------------------------------------------------------------------------

HOSTILE = (
    b"[" * 5000,
    b"\xff\xfe\x00press",
    b'{"type": "panic.pressed", "id": "x", "id": "y"}',
    b'{"type": 17}',
    b'{"type": "panic.pressed"',
    b'{"type": "panic.pressed", "x": ' + b'{"x": ' * 3000,
    b"",
)


async def test_what_cannot_be_read_stops_nothing(tmp_path: Path, broker: Mosquitto) -> None:
    gate, metrics = Gate(), NotedMetrics()
    async with running(
        adapter(tmp_path, broker.port, button(), turnstile(), metrics=metrics), gate
    ):
        for topic in (BUTTON, GATE):
            await send(broker, f"{topic}/event", *HOSTILE)
        await send(broker, "kuzet/school-1/nobody/event", press("ghost"))
        await send(broker, f"{BUTTON}/surprise", b"?")
        await send(broker, f"{BUTTON}/event", press("after"))
        await send(broker, f"{GATE}/event", passed("after"))
        await until(lambda: len(gate.events) == 2)
    assert [one.device_id for one in gate.findings] == ["button-1"] * len(HOSTILE)
    assert sum(count for (stage, _), count in metrics.errors.items() if stage == "decode") == (
        2 * len(HOSTILE)
    )
    assert metrics.errors["mqtt", "unknown_device"] >= 1
    again = Gate()
    async with running(adapter(tmp_path, broker.port, button(), turnstile()), again):
        await send(broker, f"{BUTTON}/event", press("last"))
        await until(lambda: again.presses)
    assert again.findings == [], "what cannot be read is acknowledged"


async def test_a_megabyte_of_a_button_is_a_finding_and_stops_nothing(
    tmp_path: Path, broker: Mosquitto
) -> None:
    gate = Gate()
    giant = tmp_path / "giant"
    giant.write_bytes(b"x" * (4 * MAX_PAYLOAD))
    async with running(adapter(tmp_path, broker.port, button()), gate):
        publisher = await asyncio.create_subprocess_exec(
            require("mosquitto_pub"),
            *("-p", str(broker.port), "-t", f"{BUTTON}/event", "-q", "1", "-f", str(giant)),
        )
        assert await publisher.wait() == 0
        await send(broker, f"{BUTTON}/event", press("after"))
        await until(lambda: gate.presses)
    [finding] = gate.findings
    assert finding.detail == f"too_large: {4 * MAX_PAYLOAD} bytes"
    assert len(finding.excerpt) == 512


# --- health ---------------------------------------------------------------------------------------


async def test_a_last_will_takes_a_device_offline(tmp_path: Path, broker: Mosquitto) -> None:
    gate = Gate()
    async with running(adapter(tmp_path, broker.port, turnstile()), gate):
        status = f"{GATE}/status"
        dying = await asyncio.create_subprocess_exec(
            require("mosquitto_sub"),
            *("-p", str(broker.port), "-t", "nothing", "--will-topic", status, "--will-retain"),
            *("--will-qos", "1", "--will-payload", '{"online": false}'),
        )
        await until(lambda: "Client auto" in _log(tmp_path))
        await send(broker, status, b'{"online": true, "battery": 0.83}', retain=True)
        await until(lambda: gate.health("turnstile-1") == [("online", None)])
        dying.kill()
        await dying.wait()
        await until(lambda: gate.health("turnstile-1")[-1] == ("offline", "heartbeat_lost"))


def _log(folder: Path) -> str:
    log = (folder / "broker/mosquitto.log").read_text()
    return log.replace("as auto-", "Client auto-")


async def test_a_silent_device_is_reported(tmp_path: Path, broker: Mosquitto) -> None:
    gate = Gate()
    devices = (turnstile(heartbeat_s=0.2), turnstile("quiet"))
    async with running(adapter(tmp_path, broker.port, *devices), gate):
        await send(broker, f"{GATE}/heartbeat", b"1")
        await until(lambda: ("offline", "heartbeat_lost") in gate.health("turnstile-1"))
        assert gate.health("turnstile-1")[0] == ("online", None)
        assert gate.health("quiet") == []


# --- inventory ------------------------------------------------------------------------------------


async def test_a_changed_inventory_is_taken_over_while_running(
    tmp_path: Path, broker: Mosquitto
) -> None:
    gate, metrics = Gate(), NotedMetrics()
    mqtt = adapter(tmp_path, broker.port, button("button-1"), metrics=metrics)

    async def change(*devices: Device, **what: Any) -> None:
        await mqtt.apply(inventory(*devices), InventoryChange(**what))

    async with running(mqtt, gate):
        await change(
            button("button-1"), button("button-2"), turnstile(), added=frozenset({"button-2"})
        )
        await until(lambda: "button-2" in _alarm_state(tmp_path))
        await until(lambda: "kuzet/+/+/+" in (tmp_path / "mqtt-kuzet.json").read_text())
        await send(broker, "kuzet/school-1/button-2/event", press("two"))
        await send(broker, f"{GATE}/event", passed("pass"))
        await until(lambda: len(gate.events) == 2)
        await change(button("button-2"), turnstile(), removed=frozenset({"button-1"}))
        await until(lambda: "button-1" not in _alarm_state(tmp_path))
        await send(broker, f"{BUTTON}/event", press("removed"))
        await until(lambda: metrics.errors["mqtt", "unknown_device"] == 1)
        await change(device("button-2", DeviceKind.INTERCOM), changed=frozenset({"button-2"}))
        await until(lambda: "button-2" not in _alarm_state(tmp_path))
        await send(broker, "kuzet/school-1/button-2/event", b'{"type":"intercom.called"}')
        await until(lambda: len(gate.events) == 3)
    assert {str(one.type) for one in gate.events} == {
        "panic.pressed",
        "access.passed",
        "intercom.called",
    }


def _alarm_state(folder: Path) -> str:
    """What the broker is known to hold for the alarm session; the file is away for moments."""
    with contextlib.suppress(FileNotFoundError):
        return (folder / "mqtt-kuzet-alarm.json").read_text()
    return ""


async def test_a_change_between_two_lives_counts_in_the_next(
    tmp_path: Path, broker: Mosquitto
) -> None:
    mqtt = adapter(tmp_path, broker.port)
    first, second = Gate(), Gate()
    async with running(mqtt, first):
        pass
    await mqtt.apply(inventory(button()), InventoryChange(added=frozenset({"button-1"})))
    async with running(mqtt, second):
        await send(broker, f"{BUTTON}/event", press("press"))
        await until(lambda: second.presses)


# --- its life -------------------------------------------------------------------------------------


async def test_an_absent_broker_makes_it_not_unready(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path / "broker")
    gate, metrics = Gate(), NotedMetrics()
    mqtt = adapter(tmp_path, broker.port, button(), metrics=metrics)
    assert not mqtt.ready()
    async with running(mqtt, gate, listening=False):
        await until(mqtt.ready)
        await until(lambda: metrics.connected == {"alarm": False, "telemetry": False})
        async with broker:
            await until(lambda: all(mqtt.brokers().values()))
            assert metrics.connected == {"alarm": True, "telemetry": True}
            await send(broker, f"{BUTTON}/event", press("press"))
            await until(lambda: gate.presses)
        await until(lambda: metrics.connected == {"alarm": False, "telemetry": False})
    assert not mqtt.ready()


async def test_it_leaves_within_three_seconds_whatever_hangs(
    tmp_path: Path, broker: Mosquitto
) -> None:
    gate = Gate()
    gate.open.clear()
    gate.telemetry_open.clear()
    mqtt = adapter(tmp_path, broker.port, button(), turnstile())
    task = asyncio.create_task(mqtt.run(gate), name="adapter")
    await until(lambda: all(mqtt.brokers().values()))
    await send(broker, f"{BUTTON}/event", press("press"))
    await send(broker, f"{GATE}/event", passed("pass"))
    await until(lambda: len(gate.taken) >= 2)
    async with asyncio.timeout(3):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await until(lambda: "Client kuzet disconnected" in _log(tmp_path))


async def test_no_secret_is_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        mqtt = adapter(tmp_path, 1, button(), username="kuzet", password="secret-17")
        async with running(mqtt, Gate(), listening=False):
            await until(lambda: "not connected" in caplog.text)
    assert "secret-17" not in caplog.text
    assert "secret-17" not in repr(mqtt._settings)
    assert "key of the tests" not in repr(mqtt._settings)


def test_it_works_on_uvloop(tmp_path: Path) -> None:
    async def scenario() -> int:
        gate = Gate()
        async with Mosquitto(tmp_path / "broker") as broker:
            mqtt = adapter(tmp_path, broker.port, button(), turnstile())
            async with running(mqtt, gate):
                await send(broker, f"{GATE}/event", *(passed(f"{n}") for n in range(1000)))
                await until(lambda: len(gate.events) == 1000)
                broker.stop()
                await until(lambda: not any(mqtt.brokers().values()))
                await broker.start()
                await send(broker, f"{BUTTON}/event", press("press"))
                await until(lambda: gate.presses)
        # A broker that stops may not have read the last acknowledgements: it delivers again.
        return len({one.native_id for one in gate.events})

    assert uvloop.run(scenario()) == 1001


def test_two_lives_in_a_row_leave_nothing_behind(tmp_path: Path) -> None:
    async def life(mqtt: MqttAdapter, broker: Mosquitto) -> None:
        async with running(mqtt, Gate()):
            assert all(mqtt.brokers().values())
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def scenario() -> None:
        async with Mosquitto(tmp_path / "broker") as broker:
            mqtt = adapter(tmp_path, broker.port, button())
            await life(mqtt, broker)
            await life(mqtt, broker)

    asyncio.run(scenario())
