"""One device's own connection to the broker: kept up, with a last will, at least once."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import cast
from urllib.parse import unquote, urlsplit

from simulators.mqtt import packets
from simulators.mqtt.packets import Kind, Message

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 20
"""A broker notices a dead device after one and a half times this."""

PATIENCE_S = 5.0
RETRY_S = (0.5, 8.0)
UNACKNOWLEDGED_LIMIT = 200
"""Messages that wait for the broker; `publish` waits beyond that."""


class BrokerRefused(ConnectionError):
    """The broker answered CONNECT by a code other than 0."""


class Link:
    """Keeps one MQTT connection while `run` runs.

    `birth` gives the message of each new connection (a retained status), `will` the broker's last
    word for us. Messages that the broker did not acknowledge are sent again on the next one.
    """

    def __init__(
        self, url: str, client_id: str, *, will: Message | None, birth: Callable[[], Message]
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "mqtt" or parts.hostname is None:
            raise ValueError(f"a broker is written mqtt://host:port, not {parts.scheme}://…")
        self._host = parts.hostname
        self._port = parts.port or 1883
        self._username = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else None
        self._client_id = client_id
        self._will = will
        self._birth = birth
        self._wire: _Wire | None = None
        self._pending: dict[int, tuple[Message, asyncio.Future[None]]] = {}
        self._room = asyncio.Semaphore(UNACKNOWLEDGED_LIMIT)
        self._last_id = 0
        self._birth_id = 0
        self.connected = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled; then says goodbye, so that no last will is sent."""
        wait_s = RETRY_S[0]
        while True:
            try:
                await self._connect()
                wait_s = RETRY_S[0]
                await self._stay()
                log.info("broker lost device=%s", self._client_id)
            except (OSError, TimeoutError) as error:
                log.debug("no broker device=%s error=%s", self._client_id, error)
            finally:
                self._leave()
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(wait_s * 2, RETRY_S[1])

    async def publish(self, message: Message) -> None:
        """Returns once the broker acknowledged it, however long that takes."""
        async with self._room:
            packet_id = self._free_id()
            acknowledged = asyncio.get_running_loop().create_future()
            self._pending[packet_id] = (message, acknowledged)
            if self._wire is not None:
                self._wire.send(packets.publish(message, packet_id=packet_id))
            try:
                await acknowledged
            finally:
                self._pending.pop(packet_id, None)

    def cut(self) -> None:
        """Breaks the connection without a goodbye: the broker sends the last will."""
        if self._wire is not None:
            self._wire.abort()

    def _free_id(self) -> int:
        while True:
            self._last_id = self._last_id % 0xFFFF + 1
            if self._last_id not in self._pending:
                return self._last_id

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE_S):
            _, wire = await loop.create_connection(
                lambda: _Wire(self._acknowledged), self._host, self._port
            )
            try:
                wire.send(
                    packets.connect(
                        self._client_id,
                        keep_alive_s=KEEP_ALIVE_S,
                        will=self._will,
                        username=self._username,
                        password=self._password,
                    )
                )
                await wire.accepted
            except BaseException:
                wire.abort()
                raise
        self._wire = wire
        # The status comes last: an older one that is sent again must not stand as the retained one.
        self._pending.pop(self._birth_id, None)
        self._birth_id = self._free_id()
        self._pending[self._birth_id] = (self._birth(), loop.create_future())
        for packet_id, (message, _) in self._pending.items():
            wire.send(packets.publish(message, packet_id=packet_id))
        self.connected.set()

    async def _stay(self) -> None:
        wire = self._wire
        while wire is not None and not wire.lost.done():
            await asyncio.wait((wire.lost,), timeout=KEEP_ALIVE_S / 2)
            wire.send(packets.PINGREQ)

    def _leave(self) -> None:
        self.connected.clear()
        if self._wire is not None:
            self._wire.send(packets.DISCONNECT)
            self._wire.close()
            self._wire = None

    def _acknowledged(self, packet_id: int) -> None:
        entry = self._pending.pop(packet_id, None)
        if entry is not None and not entry[1].done():
            entry[1].set_result(None)


class _Wire(asyncio.Protocol):
    """The TCP connection, cut into packets. `accepted` fails if the broker says no or goes away."""

    def __init__(self, acknowledged: Callable[[int], None]) -> None:
        loop = asyncio.get_running_loop()
        self.accepted: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self._acknowledged = acknowledged
        self._transport: asyncio.Transport | None = None
        self._splitter = packets.Splitter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, received: bytes) -> None:
        try:
            for kind, body in self._splitter.feed(received):
                self._take(kind, body)
        except packets.ProtocolError as error:
            log.warning("broker speaks no MQTT error=%s", error)
            self.abort()

    def _take(self, kind: int, body: bytes) -> None:
        if kind == Kind.PUBACK:
            self._acknowledged(packets.puback_id(body))
        elif kind == Kind.CONNACK and not self.accepted.done():
            code = body[1] if len(body) > 1 else -1
            if code == 0:
                self.accepted.set_result(None)
            else:
                self.accepted.set_exception(BrokerRefused(f"CONNACK code {code}"))

    def connection_lost(self, _: Exception | None) -> None:
        if not self.accepted.done():
            self.accepted.set_exception(ConnectionResetError("closed before CONNACK"))
            self.accepted.exception()  # whoever waited may have given up
        if not self.lost.done():
            self.lost.set_result(None)

    def send(self, packet: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(packet)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
