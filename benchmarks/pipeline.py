"""From a real broker to a real HTTP receiver: throughput, CPU per message, press to delivery.

Broker (mosquitto), publisher, gateway and receiver share the machine's cores. Every message is
QoS 1 and committed before it is acknowledged; the receiver counts distinct event ids.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tests.peers import free_port
from tests.rig import TELEMETRY_CONF, Kuzet, Mosquitto, Publisher, press

FLOOD = 60_000
BACKGROUND_RATE = 1000.0
PRESSES = 300
PRESS_INTERVAL_S = 0.05


@contextlib.asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m …`, ready when it has said so; killed at the end."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *arguments, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        async with asyncio.timeout(20):
            assert await child.stdout.readline() == b"ready\n"
        yield child
    finally:
        child.kill()
        await child.wait()


async def received(url: str) -> Any:
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return await answer.json()


async def flood(name: str, pid: int, port: int, url: str) -> None:
    """Publishes FLOOD passes at once; prints the rate and the CPU of process `pid`."""
    gateway = psutil.Process(pid)
    before = gateway.cpu_times()
    started = time.time()
    publisher = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.publisher", str(port), str(FLOOD), "0"
    )
    while (state := await received(url))["count"] < FLOOD:
        if time.time() - started > 120:
            break
        await asyncio.sleep(0.2)
    await publisher.wait()
    after = gateway.cpu_times()
    cpu = after.user + after.system - before.user - before.system
    count, last = state["count"], state["last"]
    print(
        f"{name:10} {count} of {FLOOD} messages, {count / (last - started):7.0f} a second, "
        f"{cpu / max(1, count) * 1e6:5.1f} µs CPU a message, "
        f"{gateway.memory_info().rss / 1e6:.0f} MB"
    )


async def presses(name: str, port: int, url: str) -> None:
    """A press every 50 ms under 1,000 passes a second; prints from publish to receiver."""
    total = int(BACKGROUND_RATE * (PRESSES * PRESS_INTERVAL_S + 2))
    background = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.publisher", str(port), str(total), str(BACKGROUND_RATE)
    )
    await asyncio.sleep(1)
    sent: dict[int, float] = {}
    async with Publisher(port, "presses") as publisher:
        for number in range(PRESSES):
            payload = press(f"p-{number}").replace(b"}", b', "seq": %d}' % number)
            sent[number] = time.time()
            topic = f"kuzet/school-1/button-{number % 4}/event"
            await publisher.send(topic, payload, str(number))
            await asyncio.sleep(PRESS_INTERVAL_S)
        await publisher.settled()
    await background.wait()
    await asyncio.sleep(1)
    arrived = {int(seq): at for seq, at in (await received(url))["presses"].items()}
    took = sorted((arrived[seq] - at) * 1e3 for seq, at in sent.items() if seq in arrived)
    lost = PRESSES - len(took)
    print(
        f"{name:10} {PRESSES} presses under {BACKGROUND_RATE:.0f} passes a second: "
        f"p50 {took[len(took) // 2]:.1f} ms, p99 {took[int(len(took) * 0.99)]:.1f} ms, "
        f"max {took[-1]:.1f} ms, lost {lost}"
    )


async def main() -> None:
    print(f"pipeline: {os.cpu_count()} cores; goals: 6000 a second, 80 µs, p99 20 ms")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with Mosquitto(folder / "broker", TELEMETRY_CONF) as broker:
            port = free_port()
            url = f"http://127.0.0.1:{port}/"
            async with (
                process("benchmarks.receiver", str(port)),
                process("benchmarks.pass_on", str(broker.port), url) as peer,
            ):
                await flood("pass-on", peer.pid, broker.port, url)
                await presses("pass-on", broker.port, url)
        async with Mosquitto(folder / "broker-2", TELEMETRY_CONF) as broker:
            port = free_port()
            url = f"http://127.0.0.1:{port}/"
            async with process("benchmarks.receiver", str(port)):
                kuzet = Kuzet(folder / "kuzet", broker=broker.url, center=url, turnstiles=8)
                async with kuzet:
                    await flood("kuzet", kuzet.pid, broker.port, url)
                    await presses("kuzet", broker.port, url)


if __name__ == "__main__":
    asyncio.run(main())
