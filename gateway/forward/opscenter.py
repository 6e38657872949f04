"""The operations center: batches of CloudEvents over HTTP, signed, in two lanes of their own."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping, Sequence

import aiohttp
from msgspec import Struct

from gateway.errors import EndpointFault, Permanent, Retryable, TooLarge
from gateway.forward import answers, cloudevents, webhooks
from gateway.model import Lane, Stored
from gateway.ports import Backlog, Clock

CONNECTIONS: Mapping[Lane, int] = {Lane.ALARM: 32, Lane.TELEMETRY: 2}
"""Connections of each lane's own pool. The alarm lane has at most 25 deliveries under way (8
batches, 8 single ones, 8 from memory, a heartbeat), so that none of them waits for a connection."""

KEEP_ALIVE_S = 75.0
"""How long an idle connection is kept: over two heartbeats, so that a press finds one open and
spends no time on TCP and TLS."""

LARGEST_BODY = 1_000_000
"""Bytes. A larger batch is parted unsent: nginx (`client_max_body_size`) and aiohttp refuse more
than 2**20 bytes unless they are told otherwise."""

ANSWER_READ = 4096
"""Bytes of an answer's body that are read: enough to say why, and to keep the connection."""

ANSWER_READ_S = 1.0
"""How long to wait for that body: a body that trickles must not hold up a lane."""

PAGE_BEGINS = ("<!doctype html", "<html")
"""How a sign-in page begins that a network in between (a captive portal, a proxy) puts in the
center's place, with status 200. It has taken nothing, so it must not count as an acceptance."""

EXCERPT = 200
"""Characters of an answer that are shown to people."""


class OpsCenterSettings(Struct, frozen=True, kw_only=True):
    """Where the center is and what proves who we are. `repr` shows no secret.

    `url` is http or https; `signing_keys` holds one key, or two while it is being replaced
    (`webhooks.read_secrets`). The limits are the contract's.
    """

    name: str
    url: str
    signing_keys: tuple[bytes, ...]
    token: str | None = None
    connect_s: float = 3.0
    alarm_try_s: float = 5.0
    telemetry_try_s: float = 30.0

    def __repr__(self) -> str:
        return f"OpsCenterSettings(name={self.name!r})"


class OpsCenterSink:
    """`ports.Sink` for a receiver of CloudEvents batches with Standard Webhooks signatures.

    Errors say what the center answered and never hold its address or a secret.
    """

    def __init__(self, *, gateway: str, settings: OpsCenterSettings, clock: Clock) -> None:
        self._gateway = gateway
        self._settings = settings
        self._clock = clock
        self._try_s = {
            Lane.ALARM: settings.alarm_try_s,
            Lane.TELEMETRY: settings.telemetry_try_s,
        }
        self._sessions: dict[Lane, aiohttp.ClientSession] = {}

    @property
    def name(self) -> str:
        return self._settings.name

    async def deliver(self, lane: Lane, records: Sequence[Stored]) -> None:
        try:
            body = cloudevents.encode(
                [cloudevents.envelope(self._gateway, stored) for stored in records]
            )
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            # A device's attribute that JSON has no form for; the journal may be more generous.
            msg = f"cannot be written as JSON: {type(error).__name__}"
            raise Permanent(msg) from error
        if len(body) > LARGEST_BODY and len(records) > 1:
            msg = f"{len(body)} bytes are more than one request should carry"
            raise TooLarge(msg)
        message = webhooks.message_id(stored.record.record_id for stored in records)
        await self._post(lane, message, body)

    async def heartbeat(self, backlog: Mapping[Lane, Backlog]) -> None:
        event = cloudevents.heartbeat(self._gateway, self._clock.now(), backlog)
        await self._post(Lane.ALARM, event.id, cloudevents.encode([event]))

    async def close(self) -> None:
        """Closes every connection; a later delivery opens them anew."""
        while self._sessions:
            _, session = self._sessions.popitem()
            await session.close()

    async def _post(self, lane: Lane, message: str, body: bytes) -> None:
        """One try: returns when the center accepted, raises what else it answered."""
        headers = webhooks.signed(
            message, body, keys=self._settings.signing_keys, at=self._clock.now()
        )
        try:
            async with self._session(lane).post(
                self._settings.url,
                data=io.BytesIO(body),  # written in chunks: a large batch must not hold the loop
                headers=headers,
                allow_redirects=False,
            ) as response:
                status = response.status
                retry_after = response.headers.get("Retry-After")
                excerpt = await self._excerpt(response)
        except aiohttp.ConnectionTimeoutError as error:
            msg = f"no connection within {self._settings.connect_s:g} s"
            raise Retryable(msg) from error
        except TimeoutError as error:
            msg = f"no answer within {self._try_s[lane]:g} s"
            raise Retryable(msg) from error
        except aiohttp.ClientConnectorCertificateError as error:
            # Time does not mend a certificate: a person does, as with an address or a token.
            raise EndpointFault("its certificate does not prove who it is") from error
        except aiohttp.ClientConnectorError as error:
            msg = f"no connection: {error.os_error.strerror or type(error.os_error).__name__}"
            raise Retryable(msg) from error
        except (aiohttp.ClientError, OSError) as error:
            msg = f"the connection broke: {type(error).__name__}"
            raise Retryable(msg) from error
        if 200 <= status < 300 and excerpt.lower().startswith(PAGE_BEGINS):
            raise EndpointFault("a web page answered in its place")
        detail = f"it answered {status}{excerpt and f': {excerpt}'}"
        refusal = answers.error_of(
            status, detail, answers.retry_after_s(retry_after, self._clock.now())
        )
        if refusal is not None:
            raise refusal

    async def _excerpt(self, response: aiohttp.ClientResponse) -> str:
        """What the center said, as one short line without our token; empty if it said nothing.

        Raises ClientError where an acceptance breaks off: a center that fails in the middle of its
        work, having sent the status already, has no other way to say so.
        """
        read = bytearray()
        try:
            async with asyncio.timeout(ANSWER_READ_S):
                while len(read) < ANSWER_READ:
                    part = await response.content.read(ANSWER_READ - len(read))
                    if not part:
                        break
                    read += part
        except TimeoutError:
            pass
        except aiohttp.ClientError:
            if 200 <= response.status < 300:
                raise
        text = read.decode(errors="replace")
        if self._settings.token:  # a center in its debug mode echoes the request
            text = text.replace(self._settings.token, "***")
        line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return line[:EXCERPT]

    def _session(self, lane: Lane) -> aiohttp.ClientSession:
        """The lane's own session and pool, opened when it is first needed."""
        if lane not in self._sessions:
            headers = {
                "Content-Type": cloudevents.BATCH_CONTENT_TYPE,
                "Accept-Encoding": "identity",  # a compressed answer could unfold to anything
                "User-Agent": "kuzet",
            }
            if self._settings.token:
                headers["Authorization"] = f"Bearer {self._settings.token}"
            self._sessions[lane] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=CONNECTIONS[lane], keepalive_timeout=KEEP_ALIVE_S
                ),
                timeout=aiohttp.ClientTimeout(
                    total=self._try_s[lane], connect=self._settings.connect_s
                ),
                headers=headers,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._sessions[lane]
