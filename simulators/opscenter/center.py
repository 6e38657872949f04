"""A simulated operations center: takes signed CloudEvents, remembers them, fails on demand."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import islice
from types import TracebackType
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from simulators.opscenter import page, signature
from simulators.opscenter.admission import STATUS, Batch, Refusal, Refused, admit
from simulators.opscenter.answer import ACCEPT, Answer, Manner
from simulators.opscenter.inbox import Inbox, Received
from simulators.port import Port

PATH = "/events"
BODY_LIMIT = 16 * 1024 * 1024
ANSWERS_LIMIT = 1000
REMEMBERED_ATTEMPTS = 10_000
PAGE_LIMIT = 1000

_LAST_WORDS_S = 0.1


class Attempt(Struct, frozen=True, kw_only=True):
    """One well-formed request. `status` is what it was answered, None where it got no answer."""

    at: datetime
    webhook_id: str
    lane: str
    event_ids: tuple[str, ...]
    status: int | None


class OperationsCenter:
    """The receiver of the gateway's events. Use it as an asynchronous context manager.

    `secret`: `whsec_…`, the signature is not asked for where it is empty. `token`: a bearer token.
    `attempts` holds the last well-formed requests, `refused` counts the others by Refusal.
    """

    def __init__(
        self,
        *,
        secret: str = "",
        token: str = "",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """Takes its port. Raises OSError when it is taken, ValueError for a malformed secret."""
        self._key = signature.key_of(secret) if secret else b""
        self._token = token
        self._port = Port(host, port)
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_post(PATH, self._post)
        app.router.add_get("/_received", self._list)
        app.router.add_get("/", self._page)
        # The handler of a sender that gave up ends with it: a hanging center would collect them.
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=_LAST_WORDS_S
        )
        self._inbox = Inbox()
        self._answers: list[Answer] = []
        self.attempts: deque[Attempt] = deque(maxlen=REMEMBERED_ATTEMPTS)
        self.refused: Counter[Refusal] = Counter()

    @property
    def url(self) -> str:
        return f"http://{self._port.host}:{self._port.number}{PATH}"

    @property
    def page_url(self) -> str:
        return f"http://{self._port.host}:{self._port.number}/"

    @property
    def received(self) -> deque[Received]:
        """Each event once, in the order of arrival; the oldest go first."""
        return self._inbox.received

    @property
    def duplicates(self) -> int:
        """Repeats of an id."""
        return self._inbox.duplicates

    @property
    def conflicts(self) -> int:
        """Repeats of an id whose content had changed."""
        return self._inbox.conflicts

    async def start(self) -> None:
        await self._runner.setup()
        await self.come_back()

    async def stop(self) -> None:
        """Cuts every connection and gives the port up."""
        self._port.release()
        await self._runner.cleanup()

    async def go_down(self) -> None:
        """Refuses connections and cuts those that are open; the port stays its own."""
        self._port.close()
        if self._runner.server is not None:
            await self._runner.server.shutdown(timeout=_LAST_WORDS_S)

    async def come_back(self) -> None:
        assert self._runner.server is not None  # noqa: S101 -- set up by start
        await self._port.open(self._runner.server)

    def answer(
        self,
        status: int = 202,
        *,
        lane: str | None = None,
        times: int | None = None,
        retry_after: float | None = None,
        delay_s: float = 0.0,
        manner: Manner = Manner.PLAIN,
    ) -> None:
        """From now on answers so, the next `times` well-formed requests of `lane` (`alarm`,
        `telemetry`, None: both). Told several times, it obeys the first that fits."""
        self.answer_with(
            Answer(
                status=status,
                lane=lane,
                times=times,
                retry_after=retry_after,
                delay_s=delay_s,
                manner=manner,
            )
        )

    def answer_with(self, answer: Answer) -> None:
        """As `answer`. At most ANSWERS_LIMIT wait their turn; ValueError beyond."""
        if len(self._answers) >= ANSWERS_LIMIT:
            raise ValueError(f"{ANSWERS_LIMIT} answers wait already")
        self._answers.append(answer)

    def recover(self) -> None:
        """Forgets what it was told to answer: accepts again."""
        self._answers.clear()

    def events(self, type_: str = "") -> list[Mapping[str, Any]]:
        """Events received, of this type or of types below it (`kz.kuzet.alarm`)."""
        return [one.event for one in self._inbox.of_type(type_)]

    async def wait_for(
        self, wanted: Callable[[Mapping[str, Any]], bool], timeout_s: float = 10.0
    ) -> Received:
        """The first event received that `wanted` accepts. Raises TimeoutError."""
        return await self._inbox.wait_for(wanted, timeout_s)

    def listing(self, *, type_: str = "", after: int = 0) -> dict[str, Any]:
        """`{"items": [...], "next": cursor}`: events behind the number `after`, a page of them."""
        items = list(islice(self._inbox.of_type(type_, after=after), PAGE_LIMIT))
        return {
            "items": items,
            "next": items[-1].number if items else after,
            "duplicates": self.duplicates,
            "conflicts": self.conflicts,
            "refused": self.refused,
        }

    # --- the wire --------------------------------------------------------------------------------

    async def _post(self, http: web.Request) -> web.StreamResponse:
        body = await http.read()
        try:
            batch = admit(http, body, key=self._key, token=self._token)
        except Refused as refused:
            self.refused[refused.refusal] += 1
            return web.Response(status=STATUS[refused.refusal], text=str(refused))
        answer = self._next_answer(batch.lane)
        await asyncio.sleep(answer.delay_s)
        accepted = answer.manner is Manner.PLAIN and 200 <= answer.status < 300
        if accepted or answer.manner is Manner.TORN:
            self._inbox.keep(batch)
        return await self._say(http, answer, batch)

    def _next_answer(self, lane: str) -> Answer:
        for index, answer in enumerate(self._answers):
            if answer.lane not in (None, lane):
                continue
            if answer.times is not None:
                left = answer.times - 1
                self._answers[index : index + 1] = (
                    [msgspec.structs.replace(answer, times=left)] if left > 0 else []
                )
            return answer
        return ACCEPT

    async def _say(self, http: web.Request, answer: Answer, batch: Batch) -> web.StreamResponse:
        match answer.manner:
            case Manner.HANG:
                self._attempted(batch, None)
                await asyncio.Event().wait()
            case Manner.CLOSE:
                self._attempted(batch, None)
                _cut(http)
                return web.Response(status=answer.status)
            case Manner.TORN:
                self._attempted(batch, None)
                torn = web.StreamResponse(status=answer.status, headers={"Content-Length": "100"})
                await torn.prepare(http)
                await torn.write(b'{"accep')
                _cut(http)
                return torn
            case Manner.HTML:
                self._attempted(batch, 200)
                return web.Response(text=page.SIGN_IN, content_type="text/html")
        self._attempted(batch, answer.status)
        headers = {}
        if answer.retry_after is not None:
            headers["Retry-After"] = f"{answer.retry_after:g}"
        return web.Response(status=answer.status, headers=headers)

    def _attempted(self, batch: Batch, status: int | None) -> None:
        self.attempts.append(
            Attempt(
                at=datetime.now(UTC),
                webhook_id=batch.webhook_id,
                lane=batch.lane,
                event_ids=tuple(event["id"] for event in batch.events),
                status=status,
            )
        )

    async def _list(self, http: web.Request) -> web.Response:
        after = http.query.get("after", "0")
        if not after.isdigit():
            return web.Response(status=400, text="after is the number of an event")
        listing = self.listing(type_=http.query.get("type", ""), after=int(after))
        return web.Response(body=msgspec.json.encode(listing), content_type="application/json")

    async def _page(self, _: web.Request) -> web.Response:
        events = (one.event for one in reversed(self.received))
        return web.Response(text=page.render(events), content_type="text/html")

    async def __aenter__(self) -> OperationsCenter:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()


def _cut(http: web.Request) -> None:
    if http.transport is not None:
        http.transport.abort()
