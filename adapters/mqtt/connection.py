"""One connection to a broker, from TCP to its end.

The event loop speaks TCP and TLS, paho speaks MQTT through a pipe (see `pipe`). PUBLISH and PUBACK,
the hot path, do not pass through paho (see `frames`).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import cast

from msgspec import Struct
from paho.mqtt.client import (
    MQTT_CLEAN_START_FIRST_ONLY,
    CleanStartOption,
    Client,
    ConnectFlags,
    DisconnectFlags,
)
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from adapters.mqtt.frames import Frames, Malformed, Publish
from adapters.mqtt.message import Inbox, Message
from adapters.mqtt.pipe import Pipe, PipedClient
from gateway.errors import AdapterError
from gateway.ports import Clock

CONNECT_TIMEOUT_S = 5.0
"""For TCP and TLS together: over a satellite link both take less than 3 s."""
ANSWER_TIMEOUT_S = 10.0
"""For CONNACK, SUBACK and UNSUBACK: mosquitto reads its whole store between two packets."""
CLOSE_TIMEOUT_S = 1.0
"""For the last bytes of a connection that we end: an adapter has 3 s to leave."""
KEEP_ALIVE_S = 15
"""A dead link is noticed within twice this time; EN 50136 wants a lost path told within 90 s (DP4).
"""
SESSION_EXPIRY_S = 7 * 24 * 3600
"""How long a broker of MQTT 5 keeps the session while the gateway is away: over long holidays."""
PACKETS_A_TURN = 200
"""Packets read before others of the loop have their turn: about 1 ms."""
FULL_PAUSE_S = 0.01
"""How soon a full inbox is looked at again."""


class BrokerError(AdapterError):
    """The broker cannot be used now: no connection, no answer, or it ended the connection."""


class Refused(BrokerError):
    """The broker answered CONNECT with a refusal; the session that it keeps is untouched."""


class VersionRefused(Refused):
    """The broker does not speak this version of MQTT."""


class Broker(Struct, frozen=True, kw_only=True):
    """Where a broker listens, and whether with TLS."""

    host: str
    port: int
    tls: bool = False

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Login(Struct, frozen=True, kw_only=True):
    """What CONNECT says. `repr` never shows the password."""

    client_id: str
    username: str = ""
    password: str = ""
    receive_maximum: int
    """How many unacknowledged messages we take at once; only a broker of MQTT 5 heeds it."""
    clean: bool = False
    """Whether the broker forgets the session: only to ask what it speaks."""

    def __repr__(self) -> str:
        return f"Login(client_id={self.client_id!r}, username={self.username!r}, password=***)"


class Connection(asyncio.Protocol):
    """A connection. After `login` it stands still until `start`, so that nothing is received
    before it is known which session it belongs to."""

    def __init__(
        self, login: Login, protocol: MQTTProtocolVersion, inbox: Inbox, clock: Clock
    ) -> None:
        five = protocol is MQTTProtocolVersion.MQTTv5
        self._login = login
        self._inbox = inbox
        self._clock = clock
        self._frames = Frames(properties=five)
        self._pipe = Pipe()
        self._client = PipedClient(
            self._pipe,
            login.client_id,
            protocol,
            clean_session=None if five else login.clean,
        )
        if login.username:
            self._client.username_pw_set(login.username, login.password or None)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_answer
        self._client.on_unsubscribe = self._on_answer
        self._client.on_disconnect = self._on_disconnect
        self._five = five
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._connack: asyncio.Future[bool] = loop.create_future()
        self._answers: dict[int, asyncio.Future[Sequence[int]]] = {}
        self._closed = asyncio.Event()
        self._farewell = ""
        self._session: str | None = None
        self._turn: asyncio.Handle | None = None
        self.rebuilding = False
        """Whether retained messages are those of a session that the broker had lost."""

    @classmethod
    async def open(
        cls,
        broker: Broker,
        tls: ssl.SSLContext | None,
        login: Login,
        protocol: MQTTProtocolVersion,
        inbox: Inbox,
        clock: Clock,
    ) -> Connection:
        """Connects by TCP, and TLS where `tls` is given; sends nothing of MQTT. Raises BrokerError
        within CONNECT_TIMEOUT_S."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await loop.create_connection(
                    lambda: cls(login, protocol, inbox, clock), broker.host, broker.port, ssl=tls
                )
        except TimeoutError:
            raise BrokerError(f"no connection within {CONNECT_TIMEOUT_S:.0f} s") from None
        except OSError as error:
            raise BrokerError(str(error)) from error
        return connection

    async def login(self) -> bool:
        """Sends CONNECT and waits for CONNACK; returns whether the broker kept the session.

        Raises VersionRefused, Refused, or BrokerError when there was no answer.
        """
        properties = None
        clean_start: CleanStartOption = MQTT_CLEAN_START_FIRST_ONLY  # as paho wants it for 3.1.1
        if self._five:
            clean_start = self._login.clean
        if self._five and not self._login.clean:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = SESSION_EXPIRY_S
            properties.ReceiveMaximum = self._login.receive_maximum
        self._client.connect(
            "broker",  # which one is the pipe's affair; paho wants a name
            keepalive=KEEP_ALIVE_S,
            clean_start=clean_start,
            properties=properties,
        )
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await self._connack
        except TimeoutError:
            raise BrokerError(f"no CONNACK within {ANSWER_TIMEOUT_S:.0f} s") from None

    def start(self, session: str, *, rebuilding: bool) -> None:
        """Begins to receive; every message carries `session`."""
        self._session = session
        self.rebuilding = rebuilding
        self._pump()

    async def subscribe(self, filters: Sequence[str]) -> Sequence[int]:
        """Subscribes with QoS 1; returns the broker's code for each: the QoS, or 128 and above for
        a refusal. Retained messages are sent for filters that the broker did not hold; one of MQTT
        3.1.1 sends them for all. Raises BrokerError."""
        if self._five:
            options = SubscribeOptions(
                qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
            )
            _, mid = self._client.subscribe([(topic, options) for topic in filters])
        else:
            _, mid = self._client.subscribe([(topic, 1) for topic in filters])
        return await self._answer(mid, "SUBACK")

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        """Raises BrokerError."""
        _, mid = self._client.unsubscribe(list(filters))
        await self._answer(mid, "UNSUBACK")

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Sends a PUBACK (MQTT 5.0, 3.4) for each, in one piece; nothing once closed.

        The order is that of the commits, not always that of arrival: a press does not wait for
        another one. Brokers find a message by its packet id.
        """
        self._pipe.write(b"".join([b"\x40\x02" + mid.to_bytes(2, "big") for mid in packet_ids]))

    def tick(self) -> None:
        """To be called about every second: keep-alive. Ends a connection that does not answer."""
        self._client.loop_misc()
        self._abort_if_paho_left()

    async def closed(self) -> str:
        """Waits for the end of the connection; returns why."""
        await self._closed.wait()
        return self._farewell

    async def close(self) -> None:
        """Says DISCONNECT and waits until the broker closes, CLOSE_TIMEOUT_S at most; it keeps the
        session. Were we to close while it still sends, TCP would reset the connection, and the
        broker might never read our last acknowledgements (RFC 1122, 4.2.2.13)."""
        self._pipe.leave_to_peer()
        self._client.disconnect()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._closed.wait()
        except TimeoutError:
            self._pipe.abort()
            await self._closed.wait()

    # --- asyncio.Protocol -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._pipe.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._pipe.left_to_peer:
            return
        self._frames.feed(data)
        if self._turn is None:
            self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        self._pipe.transport = None
        if self._turn is not None:
            self._turn.cancel()
        self._farewell = self._farewell or str(exc or "the broker closed the connection")
        lost = BrokerError(self._farewell)
        if not self._connack.done():
            self._connack.set_exception(lost)
            self._connack.exception()  # nobody may be waiting any more, and that is no fault
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(lost)
        self._closed.set()

    def _pump(self) -> None:
        """Reads what has arrived, at most PACKETS_A_TURN; stands still between login and start, and
        while the inbox is full."""
        self._turn = None
        transport = self._pipe.transport
        if transport is None or transport.is_closing() or self._pipe.left_to_peer:
            return
        if self._inbox.full():
            transport.pause_reading()
            self._turn = self._loop.call_later(FULL_PAUSE_S, self._pump)
            return
        if self._session is None and self._connack.done():
            transport.pause_reading()
            return
        limit = PACKETS_A_TURN if self._session is not None else 1
        try:
            handled = self._handle(limit)
        except Malformed as error:
            self._farewell = f"the broker sent {error}"
            self._pipe.abort()
            return
        if transport.is_closing():
            return
        if handled == limit:
            transport.pause_reading()
            self._turn = self._loop.call_soon(self._pump)
        else:
            transport.resume_reading()

    def _handle(self, limit: int) -> int:
        packets = self._frames.take(limit)
        now = self._clock.now()
        for packet in packets:
            if not isinstance(packet, Publish):
                self._pipe.feed(packet.packet)
                self._client.loop_read()
                self._abort_if_paho_left()
            elif self._session is None:
                raise Malformed("PUBLISH before CONNACK")
            else:
                self._inbox.put(
                    Message(
                        *packet,
                        received_at=now,
                        session=self._session,
                        rebuilding=self.rebuilding,
                        connection=self,
                    )
                )
        return len(packets)

    def _abort_if_paho_left(self) -> None:
        """paho closes its pipe when it gives up. Closing politely could wait for ever for a peer
        that is gone."""
        if self._client.socket() is None:
            self._pipe.abort()

    async def _answer(self, mid: int | None, name: str) -> Sequence[int]:
        if mid is None:
            raise BrokerError("the connection has ended")
        answer: asyncio.Future[Sequence[int]] = self._loop.create_future()
        self._answers[mid] = answer
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await answer
        except TimeoutError:
            raise BrokerError(f"no {name} within {ANSWER_TIMEOUT_S:.0f} s") from None
        finally:
            del self._answers[mid]

    # --- paho's callbacks -------------------------------------------------------------------------

    def _on_connect(
        self,
        _client: Client,
        _userdata: object,
        flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if self._connack.done():
            return
        if not reason.is_failure:
            self._connack.set_result(flags.session_present)
        elif reason == "Unsupported protocol version":
            self._connack.set_exception(VersionRefused(str(reason)))
        else:
            self._connack.set_exception(Refused(str(reason)))

    def _on_answer(
        self,
        _client: Client,
        _userdata: object,
        mid: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        answer = self._answers.get(mid)
        if answer is not None and not answer.done():
            answer.set_result([reason.value for reason in reasons])

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: object,
        flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if flags.is_disconnect_packet_from_server or reason.is_failure:
            self._farewell = self._farewell or str(reason)
