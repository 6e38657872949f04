"""The demo's MQTT broker: amqtt in a process of its own, so that it can be killed like a real one.

For the demo only: amqtt keeps nothing on disk and can lose QoS 1 messages in flight.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from types import TracebackType

from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig

START_S = 20.0
STOP_S = 2.0


async def serve(host: str, port: int) -> None:
    """Runs a broker in this process until cancelled; says where on standard output."""
    listener = ListenerConfig(bind=f"{host}:{port}")
    plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    broker = Broker(BrokerConfig(listeners={"default": listener}, plugins=plugins))
    await broker.start()
    # Port 0 is not reported by amqtt: the listening socket knows.
    number = broker._servers["default"].instance.sockets[0].getsockname()[1]  # noqa: SLF001
    print(json.dumps({"ready": True, "broker": f"mqtt://{host}:{number}"}), flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await broker.shutdown()


class DemoBroker:
    """A broker as a child process. Use it as an asynchronous context manager."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._listen = f"{host}:{port}"
        self._child: asyncio.subprocess.Process | None = None
        self.url = ""

    async def start(self) -> None:
        """Returns when it takes connections. Raises RuntimeError when it does not come up."""
        self._child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "simulators", "broker", "--listen", self._listen),
            "--until-stdin-closes",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._child.stdout is not None  # noqa: S101 -- a pipe was asked for
        try:
            async with asyncio.timeout(START_S):
                line = await self._child.stdout.readline()
            self.url = json.loads(line)["broker"]
        except (TimeoutError, ValueError) as error:
            await self.stop()
            raise RuntimeError("the demo broker did not start") from error

    async def kill(self) -> None:
        """As a power cut would end it."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        await self._end(signal.SIGTERM)

    async def _end(self, how: signal.Signals) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        if child.returncode is None:
            child.send_signal(how)
        try:
            async with asyncio.timeout(STOP_S):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()

    async def __aenter__(self) -> DemoBroker:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()
