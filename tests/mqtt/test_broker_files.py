"""The shipped broker configurations, on a real mosquitto as they are but for paths and ports."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.mqtt.neighbours import Gate, adapter, button, running, turnstile
from tests.peers import require, until
from tests.rig import Mosquitto

SHIPPED = Path(__file__).parent.parent.parent / "config" / "mosquitto"

PASSWORDS = {
    "gateway": "g",
    "button-1": "b",
    "turnstile-1": "t",
    "kindergarten-3-bridge": "z",
}

ACKNOWLEDGED_BEFORE_S = 0.1
"""A press that the broker took this long before it was killed is never lost."""


def installed(folder: Path, name: str) -> Mosquitto:
    """The broker with that file, its passwords and its rules; paths, port and user adapted."""
    folder.mkdir(parents=True, exist_ok=True)
    passwords = folder / "passwords"
    passwords.write_text("".join(f"{user}:{word}\n" for user, word in PASSWORDS.items()))
    subprocess.run([require("mosquitto_passwd"), "-U", str(passwords)], check=True)
    (folder / "acl").write_text((SHIPPED / "acl.example").read_text())
    conf = (SHIPPED / f"{name}.conf").read_text()
    conf = conf.replace("listener 1883", "listener {port} 127.0.0.1")
    conf = conf.replace("/mosquitto/config/", "{folder}/").replace("/mosquitto/data/", "{folder}/")
    return Mosquitto(folder, conf + "\nuser root\n")


async def publish(
    broker: Mosquitto,
    user: str,
    topic: str,
    payload: str,
    *,
    password: str | None = None,
    retain: bool = False,
) -> int:
    """Publishes with mosquitto_pub, QoS 1; its exit code."""
    process = await asyncio.create_subprocess_exec(
        require("mosquitto_pub"),
        *("-p", str(broker.port), "-u", user, "-P", password or PASSWORDS[user]),
        *("-V", "5", "-q", "1", "-t", topic, "-m", payload, *(["-r"] if retain else [])),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await process.wait()


@contextlib.asynccontextmanager
async def gateway(folder: Path, broker: Mosquitto) -> AsyncIterator[Gate]:
    gate = Gate()
    bridged = button("bridged", dialect="zigbee2mqtt", topic="kindergarten-3/zigbee2mqtt/sos")
    mqtt = adapter(
        folder, broker.port, button(), turnstile(), bridged, username="gateway", password="g"
    )
    async with running(mqtt, gate):
        yield gate


@pytest.mark.parametrize("name", ["alarm", "telemetry"])
async def test_a_device_writes_its_own_topics_and_no_others(tmp_path: Path, name: str) -> None:
    event = '{"type": "panic.pressed", "id": "%s"}'
    async with (
        installed(tmp_path / "broker", name) as broker,
        gateway(tmp_path, broker) as gate,
    ):
        forged = (
            ("turnstile-1", "kuzet/school-1/button-1/event"),
            ("turnstile-1", "kindergarten-3/zigbee2mqtt/sos"),
            ("turnstile-1", "kuzet/school-1/turnstile-1/command"),
            ("kindergarten-3-bridge", "kuzet/school-1/button-1/event"),
            ("gateway", "kuzet/school-1/button-1/event"),
        )
        for user, topic in forged:
            await publish(broker, user, topic, event % "forged")
        assert await publish(broker, "button-1", "kuzet/x/y/event", "{}", password="wrong")
        await publish(broker, "button-1", "kuzet/school-1/button-1/event", event % "own")
        bridge = "kindergarten-3/zigbee2mqtt/sos"
        await publish(broker, "kindergarten-3-bridge", bridge, '{"action": "sos"}')
        await until(lambda: len(gate.presses) == 2)
    assert {one.native_id for one in gate.presses} == {"own", None}
    assert not gate.findings


@pytest.mark.parametrize("name", ["alarm", "telemetry"])
async def test_only_the_gateway_reads(tmp_path: Path, name: str) -> None:
    async def heard(broker: Mosquitto, user: str) -> bytes:
        listener = await asyncio.create_subprocess_exec(
            require("mosquitto_sub"),
            *("-p", str(broker.port), "-u", user, "-P", PASSWORDS[user]),
            *("-t", "#", "-C", "1", "-W", "1"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        return (await listener.communicate())[0]

    async with installed(tmp_path / "broker", name) as broker:
        topic = "kuzet/school-1/button-1/status"
        await publish(broker, "button-1", topic, "retained", retain=True)
        assert await heard(broker, "gateway") == b"retained\n"
        assert await heard(broker, "turnstile-1") == b""


async def test_a_press_outlives_the_broker_that_took_it(tmp_path: Path) -> None:
    for attempt in range(5):
        folder = tmp_path / f"{attempt}"
        broker = installed(folder / "broker", "alarm")
        await broker.start()
        try:
            async with gateway(folder, broker):
                pass
            await publish(
                broker, "button-1", "kuzet/school-1/button-1/event", '{"type": "panic.pressed"}'
            )
            await asyncio.sleep(ACKNOWLEDGED_BEFORE_S)  # what is measured, not what is waited for
            broker.kill()
            await broker.start()
            async with gateway(folder, broker) as gate:
                await until(lambda gate=gate: gate.presses)  # type: ignore[misc]
        finally:
            broker.stop()


@pytest.mark.parametrize("name", ["alarm", "telemetry"])
async def test_a_thousand_messages_wait_for_a_gateway_that_is_away(
    tmp_path: Path, name: str
) -> None:
    count = 1500
    async with installed(tmp_path / "broker", name) as broker:
        async with gateway(tmp_path, broker):
            pass
        process = await asyncio.create_subprocess_exec(
            require("mosquitto_pub"),
            *("-p", str(broker.port), "-u", "button-1", "-P", "b", "-q", "1", "-l"),
            *("-t", "kuzet/school-1/button-1/event"),
            stdin=asyncio.subprocess.PIPE,
        )
        presses = (f'{{"type": "panic.pressed", "id": "{number}"}}' for number in range(count))
        await process.communicate("\n".join(presses).encode())
        async with gateway(tmp_path, broker) as gate:
            await until(lambda: len({one.native_id for one in gate.presses}) == count, 60)
