"""One durable session on a broker: connected for ever, its identity known, its filters held."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

import msgspec
from paho.mqtt.enums import MQTTProtocolVersion

from adapters.mqtt.connection import Broker, BrokerError, Connection, Login, Refused, VersionRefused
from adapters.mqtt.message import Inbox
from adapters.mqtt.session_state import SessionState, StateFile
from adapters.mqtt.subscriptions import covers
from gateway.ports import Clock, Metrics

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
"""Between tries: soon enough for a press, rare enough for a broker with a thousand gateways."""
GOOD_CONNECTION_S = 10.0
"""A connection that lasted this long ends a row of failures. Two gateways with one client id throw
each other out at once: they must not do so every second."""
SILENT_LOGINS = 3
"""Logins in a row without CONNACK after which the broker is asked anew what it speaks."""
FILTERS_A_PACKET = 100
"""Of one SUBSCRIBE: a few kilobytes, below every broker's limit."""
REBUILD_S = 10.0
"""How long after the last SUBACK retained messages may still come that belong to it."""
DISK_TIMEOUT_S = 1.0
"""A disk that hangs must not keep presses out, nor the adapter from leaving within 3 s."""
TICK_S = 1.0
INBOX = 5_000
"""Messages read and not yet looked at, before reading stops; they are looked at at once."""
GRANTED = 1
"""The code in SUBACK that we asked for. 0 would be QoS 0, which nobody acknowledges; 128 and above
are refusals (MQTT 5.0, 3.9.3)."""

FIVE = MQTTProtocolVersion.MQTTv5
THREE = MQTTProtocolVersion.MQTTv311


class Session:
    """The session of one client id. `inbox` receives its messages; see `run`."""

    def __init__(
        self,
        *,
        label: str,
        broker: Broker,
        tls: Callable[[], ssl.SSLContext] | None,
        login: Login,
        folder: Path,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """`label` names the session in logs and metrics; `tls` makes the context for each
        connection, so that a renewed certificate is taken without a restart. `folder` keeps the
        session's identity."""
        self.inbox = Inbox(INBOX)
        self.listening_since: float | None = None
        """Since when (monotonic seconds) the broker forwards to us; None while it does not."""
        self._label = label
        self._broker = broker
        self._tls = tls
        self._login = login
        self._clock = clock
        self._metrics = metrics
        self._file = StateFile(folder, login.client_id)
        self._state: SessionState | None = None
        self._settled = False
        self._wanted: dict[str, str] = {}
        self._wanted_changed = asyncio.Event()
        self._protocol: MQTTProtocolVersion | None = None
        self._silent_logins = 0
        self._trouble: str | None = None
        self._connected_at: float | None = None
        self._rebuilt_at: float | None = None

    def hears(self, topic: str) -> bool:
        """Whether the broker forwards the topic to us now."""
        state = self._state
        return (
            self.listening_since is not None
            and state is not None
            and any(covers(one, topic) for one in state.filters)
        )

    def want(self, filters: Iterable[tuple[str, str]]) -> None:
        """The filters to hold from now on, each with the device that it is for (for the log). Only
        the difference to what the broker holds is sent."""
        self._wanted = dict(filters)
        self._wanted_changed.set()

    async def run(self) -> None:
        """Keeps the session connected until cancelled, which says DISCONNECT; the broker goes on
        collecting for us. Never raises for a broker's sake."""
        self._metrics.broker_connected(self._label, False)
        self._state, self._settled = await asyncio.to_thread(self._file.load)
        pause = FIRST_PAUSE_S
        while True:
            self._connected_at = None
            try:
                await self._connect_and_stay()
            except* BrokerError as group:
                self._disconnected(str(group.exceptions[0]))
            finally:
                self._metrics.broker_connected(self._label, False)
            if self._was_good():
                pause = FIRST_PAUSE_S
            await self._clock.sleep(random.uniform(0, pause))  # noqa: S311 -- spreads load only
            pause = min(2 * pause, LONGEST_PAUSE_S)

    # --- connecting -------------------------------------------------------------------------------

    async def _connect_and_stay(self) -> None:
        """Raises BrokerError, alone or in a group, once the connection is no more."""
        if self._protocol is None:
            self._protocol = await self._ask_protocol()
        connection = await self._open(self._login, self._protocol)
        try:
            lost = await self._log_in(connection)
            self._connected()
            assert self._state is not None  # noqa: S101 -- _log_in has named it
            connection.start(self._state.session, rebuilding=lost)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._tick(connection), name=f"{self._label} keep-alive")
                tasks.create_task(self._subscribe(connection), name=f"{self._label} subscribe")
                raise BrokerError(await connection.closed())
        finally:
            was_listening = self.listening_since is not None
            self.listening_since = None
            await connection.close()
            if was_listening:
                await self._remember_connected()

    async def _ask_protocol(self) -> MQTTProtocolVersion:
        """Which MQTT the broker speaks: 5, or 3.1.1 where it refuses 5 or hangs up on it.

        Asked by a client of its own that leaves no session and sends no properties: a broker of
        3.1.1 takes their length for the client id's and waits for ever (amqtt), and after a CONNECT
        without an answer we would not know what has become of our session.
        """
        probe = Login(
            client_id=f"{self._login.client_id}-probe",
            username=self._login.username,
            password=self._login.password,
            receive_maximum=1,
            clean=True,
        )
        connection = await self._open(probe, FIVE)
        try:
            await connection.login()
        except VersionRefused:
            return THREE
        except Refused:
            return FIVE
        except BrokerError:
            self._silent_logins += 1
            if self._silent_logins < 2:
                raise
            return THREE
        finally:
            await connection.close()
        return FIVE

    async def _open(self, login: Login, protocol: MQTTProtocolVersion) -> Connection:
        try:
            tls = None if self._tls is None else self._tls()
        except OSError as error:  # ssl.SSLError is one
            raise BrokerError(f"the certificates cannot be used: {error}") from error
        return await Connection.open(self._broker, tls, login, protocol, self.inbox, self._clock)

    async def _log_in(self, connection: Connection) -> bool:
        """Logs in and settles which session this is; returns whether an earlier one was lost, or
        may have been. The new name is on disk before a message of the new session is handed on."""
        known, settled = self._state, self._settled
        self._settled = False
        await self._on_disk(self._file.unsettle)
        try:
            present = await connection.login()
        except Refused as refused:
            self._settled = settled
            if known is not None and settled:
                await self._on_disk(self._file.settle, known)
            if isinstance(refused, VersionRefused):
                self._protocol = None
            raise
        except BrokerError:
            self._silent_logins += 1
            if self._silent_logins >= SILENT_LOGINS:
                self._protocol, self._silent_logins = None, 0
            raise
        self._silent_logins = 0
        now = self._clock.now()
        if known is not None and settled and present and known.broker == str(self._broker):
            state = msgspec.structs.replace(known, connected_at=now)
        else:
            state = SessionState(
                session=uuid.uuid4().hex, broker=str(self._broker), connected_at=now
            )
            if known is not None:
                log.warning(
                    "mqtt session=%s %s: messages from %s to %s may be missing",
                    self._login.client_id,
                    "may have been lost" if present else "was lost by the broker",
                    known.connected_at.isoformat(timespec="seconds"),
                    now.isoformat(timespec="seconds"),
                )
        self._state = state
        self._settled = await self._on_disk(self._file.settle, state)
        return known is not None and state.session != known.session

    async def _on_disk(self, action: Callable[..., None], *arguments: SessionState) -> bool:
        """Whether the state file could be written, within DISK_TIMEOUT_S. If not, presses still
        come through; but after the next connect none can be proven to be a repeat."""
        try:
            async with asyncio.timeout(DISK_TIMEOUT_S):
                await asyncio.to_thread(action, *arguments)
        except (OSError, TimeoutError) as error:
            log.error("mqtt session=%s state not kept: %r", self._login.client_id, error)
            self._metrics.error("mqtt", "state_not_kept")
            return False
        return True

    def _connected(self) -> None:
        log.info(
            "mqtt session=%s connected broker=%s version=%s",
            self._login.client_id,
            self._broker,
            "5" if self._protocol is FIVE else "3.1.1",
        )
        self._trouble = None
        self._connected_at = self._clock.monotonic()
        self._metrics.broker_connected(self._label, True)

    def _disconnected(self, why: str) -> None:
        level = logging.DEBUG if why == self._trouble else logging.WARNING
        log.log(
            level,
            "mqtt session=%s not connected broker=%s: %s",
            self._login.client_id,
            self._broker,
            why,
        )
        self._trouble = why

    def _was_good(self) -> bool:
        since = self._connected_at
        return since is not None and self._clock.monotonic() - since >= GOOD_CONNECTION_S

    async def _remember_connected(self) -> None:
        """Narrows the gap that is told should the broker lose the session meanwhile."""
        if self._state is not None and self._settled:
            self._state = msgspec.structs.replace(self._state, connected_at=self._clock.now())
            await self._on_disk(self._file.settle, self._state)

    # --- while connected --------------------------------------------------------------------------

    async def _tick(self, connection: Connection) -> NoReturn:
        while True:
            await self._clock.sleep(TICK_S)
            connection.tick()
            if (
                connection.rebuilding
                and self._rebuilt_at is not None
                and self._clock.monotonic() - self._rebuilt_at >= REBUILD_S
            ):
                connection.rebuilding = False

    async def _subscribe(self, connection: Connection) -> NoReturn:
        """Holds exactly the wanted filters, now and whenever the wish changes. With a new
        connection all of them are sent, also those that the broker should hold: restored from an
        older save, it has the session without its last filters, and a button would not be heard.
        What it refused is tried again with the next connection."""
        refused: set[str] = set()
        sent: set[str] = set()
        self._rebuilt_at = None
        while True:
            self._wanted_changed.clear()
            assert self._state is not None  # noqa: S101 -- named at login
            held = set(self._state.filters)
            wanted = self._wanted
            for chunk in _chunks(held - wanted.keys()):
                await connection.unsubscribe(chunk)
            sent &= wanted.keys()
            for chunk in _chunks(wanted.keys() - sent):
                sent.update(chunk)
                codes = await connection.subscribe(chunk)
                for topic, code in zip(chunk, codes, strict=False):
                    if code != GRANTED:
                        refused.add(topic)
                        self._not_subscribed(topic, wanted[topic], code)
            now_held = tuple(sorted(wanted.keys() - refused))
            if now_held != tuple(sorted(held)):
                self._state = msgspec.structs.replace(self._state, filters=now_held)
                self._settled = await self._on_disk(self._file.settle, self._state)
            if self._rebuilt_at is None:
                self._rebuilt_at = self._clock.monotonic()
            if self.listening_since is None:
                self.listening_since = self._clock.monotonic()
            await self._wanted_changed.wait()

    def _not_subscribed(self, topic: str, device: str, code: int) -> None:
        log.error(
            "mqtt session=%s broker=%s does not grant QoS 1: filter=%s device=%s code=%d",
            self._login.client_id,
            self._broker,
            topic,
            device,
            code,
        )
        self._metrics.error("mqtt", "subscription_refused")


def _chunks(filters: Iterable[str]) -> Iterable[list[str]]:
    ordered = sorted(filters)
    for start in range(0, len(ordered), FILTERS_A_PACKET):
        yield ordered[start : start + FILTERS_A_PACKET]
