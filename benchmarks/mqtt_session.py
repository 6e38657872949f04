"""CPU of the MQTT adapter for each message: from the broker's bytes to the PUBACK, without journal.

`python -m benchmarks.mqtt_session [COUNT]`. A real mosquitto, a publisher in a process of its own,
turnstile passes with QoS 1 in the native dialect, and an `emit` that returns at once. Beside it the
peer: paho alone, which reads and acknowledges the same messages and does nothing else.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import uvloop
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from adapters.mqtt import Broker, MqttAdapter, MqttSettings
from benchmarks.publisher import TURNSTILES
from gateway.clock import SystemClock
from gateway.metrics import PrometheusMetrics
from gateway.model import (
    AdapterName,
    Device,
    DeviceKind,
    Event,
    Inventory,
    Observation,
    Site,
    SiteKind,
)
from tests.peers import until
from tests.rig import TELEMETRY_CONF, Mosquitto

COUNT = 40_000
GOAL_US = 35.0


class Sink:
    """Emits to nowhere; notes when the last event came."""

    def __init__(self) -> None:
        self.events = 0

    async def emit(self, observations: Sequence[Observation]) -> None:
        self.events += sum(isinstance(one, Event) for one in observations)


def inventory() -> Inventory:
    site = Site(site_id="school-1", name="School 1", kind=SiteKind.SCHOOL)
    return Inventory(
        sites={site.site_id: site},
        devices={
            f"turnstile-{number}": Device(
                device_id=f"turnstile-{number}",
                site_id=site.site_id,
                kind=DeviceKind.TURNSTILE,
                name="",
                adapter=AdapterName.MQTT,
            )
            for number in range(TURNSTILES)
        },
    )


async def publisher(port: int, count: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.publisher", str(port), str(count), "0"
    )


async def measured(port: int, count: int, received: Callable[[], int]) -> tuple[float, float]:
    """CPU microseconds a message of this process, and messages a second."""
    process = await publisher(port, count)
    await until(received, 20)
    before, first, began = time.process_time(), received(), time.monotonic()
    await until(lambda: received() >= count, 60)
    spent, took = time.process_time() - before, time.monotonic() - began
    await process.wait()
    return spent / (count - first) * 1e6, (count - first) / took


async def adapter(folder: Path, port: int, count: int) -> tuple[float, float]:
    sink = Sink()
    mqtt_adapter = MqttAdapter(
        name="mqtt",
        settings=MqttSettings(
            broker=Broker(host="127.0.0.1", port=port),
            client_id="bench",
            pseudonym_key=b"a key of the benchmark, 32 bytes",
        ),
        inventory=inventory(),
        clock=SystemClock(),
        metrics=PrometheusMetrics(),
        data_dir=folder,
    )
    running = asyncio.create_task(mqtt_adapter.run(sink.emit), name="adapter")
    await until(lambda: all(mqtt_adapter.brokers().values()))
    try:
        return await measured(port, count, lambda: sink.events)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def paho_alone(port: int, count: int) -> tuple[float, float]:
    received = 0
    ready = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_connect(client: mqtt.Client, *_: object) -> None:
        client.subscribe("kuzet/+/+/+", qos=1)

    def on_subscribe(*_: object) -> None:
        loop.call_soon_threadsafe(ready.set)

    def on_message(client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        nonlocal received
        received += 1
        client.ack(message.mid, message.qos)

    client = mqtt.Client(CallbackAPIVersion.VERSION2, "peer", protocol=mqtt.MQTTv5, manual_ack=True)
    client.on_connect = on_connect
    client.on_subscribe = on_subscribe
    client.on_message = on_message
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        await asyncio.wait_for(ready.wait(), 10)
        return await measured(port, count, lambda: received)
    finally:
        client.disconnect()
        client.loop_stop()


async def main(count: int) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with Mosquitto(folder / "broker", TELEMETRY_CONF) as broker:
            peer_us, peer_rate = await paho_alone(broker.port, count)
            ours_us, ours_rate = await adapter(folder / "state", broker.port, count)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"messages                {count:>10,}   QoS 1, MQTT 5, native dialect")
    print(
        f"paho alone, in a thread {peer_us:>10.1f} µs CPU a message   {peer_rate:>8,.0f} a second"
    )
    print(
        f"the adapter             {ours_us:>10.1f} µs CPU a message   {ours_rate:>8,.0f} a second"
    )
    print(f"goal                    {GOAL_US:>10.1f} µs CPU a message")
    print(f"largest resident set    {memory:>10,} MB")
    return 0 if ours_us <= GOAL_US else 1


if __name__ == "__main__":
    sys.exit(uvloop.run(main(int(sys.argv[1]) if sys.argv[1:] else COUNT)))
