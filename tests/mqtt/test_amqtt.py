"""The demo's broker: pure Python, MQTT 3.1.1 only."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.mqtt.neighbours import Gate, adapter, button, running, turnstile
from tests.peers import free_port, until
from tests.rig import Publisher, passed, press

pytest.importorskip("amqtt")

SERVE = """
import asyncio, sys
from amqtt.broker import Broker
PLUGIN = "amqtt.plugins.authentication.AnonymousAuthPlugin"
async def main():
    bind = {"default": {"type": "tcp", "bind": f"127.0.0.1:{sys.argv[1]}"}}
    await Broker({"listeners": bind, "plugins": {PLUGIN: {"allow_anonymous": True}}}).start()
    await asyncio.Event().wait()
asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def amqtt(folder: Path) -> AsyncIterator[int]:
    port = free_port()
    with (folder / "amqtt.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 -- returns at once
            [sys.executable, "-c", SERVE, str(port)], stdout=log, stderr=log
        )
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        writer.close()
        await writer.wait_closed()
        yield port
    finally:
        process.terminate()
        process.wait(10)


async def test_the_demo_broker_is_spoken_to_in_its_version(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with amqtt(tmp_path) as port:
        gate, again = Gate(), Gate()
        with caplog.at_level(logging.INFO, "adapters"):
            async with running(adapter(tmp_path, port, button(), turnstile()), gate):
                assert "version=3.1.1" in caplog.text
                async with Publisher(port, "test") as publisher:
                    await publisher.send("kuzet/school-1/button-1/event", press("one"), "one")
                    for number in range(100):
                        topic = "kuzet/school-1/turnstile-1/event"
                        await publisher.send(topic, passed(f"{number}"), f"{number}")
                    await until(lambda: len(gate.events) == 101)
            async with (
                running(adapter(tmp_path, port, button(), turnstile()), again),
                Publisher(port, "test-2") as publisher,
            ):
                await publisher.send("kuzet/school-1/button-1/event", press("two"), "two")
                await until(lambda: again.presses)
        sessions = {one.wire.session for one in gate.presses + again.presses if one.wire}
        assert len(sessions) == 1, "it kept the session"
