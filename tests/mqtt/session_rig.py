"""A session between a broker and a test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from adapters.mqtt.connection import Broker, Login
from adapters.mqtt.message import Message, acknowledge
from adapters.mqtt.session import Session
from gateway.clock import SystemClock
from tests.mqtt.neighbours import NotedMetrics
from tests.peers import until
from tests.rig import Mosquitto, Publisher

TOPIC = "kuzet/school-1/button-1/event"


class Rig:
    """A session on `port`, and what came of it."""

    def __init__(self, folder: Path, port: int, *filters: str) -> None:
        self.metrics = NotedMetrics()
        self.session = Session(
            label="alarm",
            broker=Broker(host="127.0.0.1", port=port, tls=False),
            tls=None,
            login=Login(client_id="kuzet-alarm", receive_maximum=1000),
            folder=folder,
            clock=SystemClock(),
            metrics=self.metrics,
        )
        self.session.want([(one, "button-1") for one in filters or ("kuzet/#",)])
        self.messages: list[Message] = []
        self.hold = False

    @contextlib.asynccontextmanager
    async def running(self, *, listening: bool = True) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(self.session.run(), name="session"),
            asyncio.create_task(self._listen(), name="listener"),
        ]
        try:
            if listening:
                await until(lambda: self.session.listening_since is not None)
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            messages = await self.session.inbox.take(100)
            self.messages += messages
            if not self.hold:
                acknowledge(messages)

    def payloads(self) -> list[bytes]:
        return [one.payload for one in self.messages]


async def publish(broker: Mosquitto, *payloads: bytes, retain: bool = False) -> None:
    async with Publisher(broker.port, "button") as publisher:
        for number, payload in enumerate(payloads):
            await publisher.send(TOPIC, payload, f"{number}", retain=retain)
        await publisher.settled()


def state_of(folder: Path) -> bytes:
    """What is on disk of the session; FileNotFoundError while a connection is being made."""
    return (folder / "mqtt-kuzet-alarm.json").read_bytes()


def session_in(state: bytes) -> bytes:
    return state.partition(b'"session":"')[2][:32]
