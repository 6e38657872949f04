"""What a broker passes on, seen by a client that nobody here wrote (paho-mqtt)."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from tests.peers import until


class Seen(NamedTuple):
    topic: str
    body: Any
    raw: bytes
    retained: bool
    qos: int


class Observer:
    """Subscribes to everything; `seen` holds what came, in its order."""

    def __init__(self, broker: str, client_id: str = "observer") -> None:
        self.seen: list[Seen] = []
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=client_id)
        self._client.on_message = self._take
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._subscribed = False
        self._client.on_subscribe = lambda *_: setattr(self, "_subscribed", True)
        self._address = urlsplit(broker)

    def of(self, topic: str) -> list[Seen]:
        return [one for one in self.seen if one.topic == topic]

    async def see(self, topic: str, count: int = 1) -> list[Seen]:
        """Waits until `count` messages of this topic came; all of them."""
        await until(lambda: len(self.of(topic)) >= count)
        return self.of(topic)

    def _take(self, client: Client, userdata: object, message: MQTTMessage) -> None:
        del client, userdata
        body = json.loads(message.payload)
        self.seen.append(
            Seen(message.topic, body, bytes(message.payload), message.retain, message.qos)
        )

    async def __aenter__(self) -> Self:
        self._client.connect(self._address.hostname or "", self._address.port or 1883)
        self._client.loop_start()
        await until(lambda: self._subscribed)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        # paho closes its own wake-up sockets only when nothing refers to the client any more.
        self._client.on_message = self._client.on_connect = self._client.on_subscribe = None
        del self._client
