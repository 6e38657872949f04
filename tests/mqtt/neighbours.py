"""The neighbours of the MQTT adapter, in memory, and what its tests say again and again."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapters.mqtt import Broker, MqttAdapter, MqttSettings
from adapters.mqtt.message import Message
from gateway.clock import SystemClock
from gateway.errors import JournalError
from gateway.model import (
    AdapterName,
    Alarm,
    Device,
    DeviceKind,
    Event,
    Finding,
    HealthReport,
    Inventory,
    Lane,
    Observation,
    Site,
    SiteKind,
)
from gateway.ports import Clock
from tests.peers import until
from tests.rig import Mosquitto, Publisher

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
KEY = b"a key of the tests, 32 bytes....."


class NotedMetrics:
    """`ports.Metrics` that counts what the adapter counts."""

    def __init__(self) -> None:
        self.errors: Counter[tuple[str, str]] = Counter()
        self.drops: Counter[str] = Counter()
        self.connected: dict[str, bool] = {}

    def error(self, stage: str, reason: str) -> None:
        self.errors[stage, str(reason)] += 1

    def dropped(self, lane: Lane, reason: str, count: int = 1) -> None:
        assert lane is Lane.TELEMETRY, "the alarm lane never drops"
        self.drops[reason] += count

    def broker_connected(self, broker: str, connected: bool) -> None:
        self.connected[broker] = connected

    def appended(self, lane: Lane, count: int) -> None: ...

    def check_took(self, kind: DeviceKind, seconds: float) -> None: ...

    def delivered(self, sink: str, lane: Lane, outcome: str, count: int) -> None: ...

    def press_delivered(self, seconds: float) -> None: ...

    def alarm_raised(self, alarm: Alarm) -> None: ...


class Gate:
    """`ports.Emit` that notes what was committed. Closed, it takes calls and commits none of them;
    `full` makes it refuse telemetry as a full disk does."""

    def __init__(self) -> None:
        self.taken: list[Observation] = []
        self.committed: list[Observation] = []
        self.calls = 0
        self.full = False
        self.open = asyncio.Event()
        self.open.set()
        self.telemetry_open = asyncio.Event()
        self.telemetry_open.set()

    async def __call__(self, observations: Sequence[Observation], /) -> None:
        self.calls += 1
        self.taken += observations
        alarm = any(_of_alarm_lane(one) for one in observations)
        if self.full and not alarm:
            raise JournalError("no room")
        await (self.open if alarm else self.telemetry_open).wait()
        self.committed += observations

    @property
    def events(self) -> list[Event]:
        return [one for one in self.committed if isinstance(one, Event)]

    @property
    def presses(self) -> list[Event]:
        return [one for one in self.events if one.type == "panic.pressed"]

    @property
    def findings(self) -> list[Finding]:
        return [one for one in self.committed if isinstance(one, Finding)]

    def health(self, device_id: str) -> list[tuple[str, str | None]]:
        """State and reason of the device's reports, in their order."""
        return [
            (str(one.state), one.reason and str(one.reason))
            for one in self.committed
            if isinstance(one, HealthReport) and one.device_id == device_id
        ]


def _of_alarm_lane(observation: Observation) -> bool:
    return isinstance(observation, Finding) or (
        isinstance(observation, Event) and observation.type.startswith("panic.")
    )


class Acks:
    """A connection that notes what was acknowledged to it."""

    def __init__(self) -> None:
        self.packet_ids: list[int] = []

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        self.packet_ids += packet_ids


def message(
    topic: str | bytes = "kuzet/school-1/button-1/event",
    payload: bytes = b"{}",
    *,
    packet_id: int = 1,
    qos: int = 1,
    dup: bool = False,
    retained: bool = False,
    session: str = "first",
    rebuilding: bool = False,
    received_at: datetime = NOW,
    connection: Acks | None = None,
) -> Message:
    return Message(
        topic if isinstance(topic, bytes) else topic.encode(),
        payload,
        len(payload),
        packet_id,
        qos,
        dup,
        retained,
        received_at,
        session,
        rebuilding,
        connection or Acks(),
    )


def device(device_id: str, kind: DeviceKind, **more: Any) -> Device:
    return Device(
        device_id=device_id,
        site_id=more.pop("site_id", "school-1"),
        kind=kind,
        name=device_id,
        adapter=AdapterName.MQTT,
        **more,
    )


def button(device_id: str = "button-1", **more: Any) -> Device:
    return device(device_id, DeviceKind.PANIC_BUTTON, **more)


def turnstile(device_id: str = "turnstile-1", **more: Any) -> Device:
    return device(device_id, DeviceKind.TURNSTILE, **more)


def inventory(*devices: Device) -> Inventory:
    return Inventory(
        sites={
            one.site_id: Site(site_id=one.site_id, name=one.site_id, kind=SiteKind.SCHOOL)
            for one in devices
        },
        devices={one.device_id: one for one in devices},
    )


def settings(port: int, **more: Any) -> MqttSettings:
    return MqttSettings(
        broker=Broker(host="127.0.0.1", port=port),
        client_id="kuzet",
        pseudonym_key=KEY,
        **more,
    )


def adapter(
    folder: Path,
    port: int,
    *devices: Device,
    metrics: NotedMetrics | None = None,
    clock: Clock | None = None,
    **more: Any,
) -> MqttAdapter:
    return MqttAdapter(
        name="mqtt",
        settings=settings(port, **more),
        inventory=inventory(*devices),
        clock=clock or SystemClock(),
        metrics=metrics or NotedMetrics(),
        data_dir=folder,
    )


@contextlib.asynccontextmanager
async def running(mqtt: MqttAdapter, gate: Gate, *, listening: bool = True) -> AsyncIterator[None]:
    """The adapter at work, by default once both its sessions listen."""
    task = asyncio.create_task(mqtt.run(gate), name="adapter")
    try:
        if listening:
            await until(lambda: task.done() or all(mqtt.brokers().values()))
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def send(
    broker: Mosquitto, topic: str, *payloads: bytes, retain: bool = False, client: str = "test"
) -> None:
    """Publishes with QoS 1; the broker has all of it on return."""
    async with Publisher(broker.port, client) as publisher:
        for number, payload in enumerate(payloads):
            await publisher.send(topic, payload, f"{number}", retain=retain)
        await publisher.settled()
