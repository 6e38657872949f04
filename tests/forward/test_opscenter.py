"""The operations center sink, against real sockets: what it sends and how it takes answers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiohttp import web
from msgspec.structs import replace

from gateway.clock import SystemClock
from gateway.errors import EndpointFault, Permanent, Retryable, TooLarge
from gateway.forward.opscenter import OpsCenterSettings, OpsCenterSink
from gateway.model import Event, Lane, Record, Stored
from gateway.ports import Backlog
from simulators.opscenter import Manner, OperationsCenter, Refusal, new_secret
from simulators.opscenter.signature import key_of
from tests.forward.records import passed, press
from tests.peers import free_port

SECRET = new_secret()
TOKEN = "a-token-of-the-tests"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def settings(url: str, **changes: object) -> OpsCenterSettings:
    given = OpsCenterSettings(
        name="opscenter", url=url, signing_keys=(key_of(SECRET),), token=TOKEN
    )
    return replace(given, **changes)


@asynccontextmanager
async def sink(url: str, **changes: object) -> AsyncIterator[OpsCenterSink]:
    opened = OpsCenterSink(
        gateway="zhambyl", settings=settings(url, **changes), clock=SystemClock()
    )
    try:
        yield opened
    finally:
        await opened.close()


@asynccontextmanager
async def answering(handler: Handler, **options: ssl.SSLContext) -> AsyncIterator[str]:
    """A receiver that answers as `handler` says; its address."""
    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=options.get("tls")).start()
        port = runner.addresses[0][1]
        yield f"http{'s' if options else ''}://127.0.0.1:{port}/events"
    finally:
        await runner.cleanup()


def stored(*records: Record) -> list[Stored]:
    return [Stored(sequence=n, record=record) for n, record in enumerate(records, start=1)]


# --- what it sends -------------------------------------------------------------------------------


async def test_a_batch_arrives_signed_and_whole() -> None:
    records = [passed(number) for number in range(500)]
    async with OperationsCenter(secret=SECRET, token=TOKEN) as center, sink(center.url) as out:
        await out.deliver(Lane.TELEMETRY, stored(*records))
        assert [event["id"] for event in center.events()] == [r.record_id for r in records]
        assert len(center.attempts) == 1
        assert not center.refused


async def test_the_heartbeat_arrives_on_the_alarm_lane() -> None:
    async with OperationsCenter(secret=SECRET, token=TOKEN) as center, sink(center.url) as out:
        await out.heartbeat({Lane.ALARM: Backlog(records=3, oldest=datetime.now(UTC))})
        (event,) = center.events("kz.kuzet.gateway.heartbeat")
        assert event["lane"] == "alarm"
        assert event["data"]["backlog"]["alarm"]["records"] == 3


async def test_the_webhook_id_is_stable_over_tries_and_new_after_a_split() -> None:
    batch = stored(*[passed(number) for number in range(4)])
    async with OperationsCenter(secret=SECRET, token=TOKEN) as center, sink(center.url) as out:
        center.answer(500, times=2)
        for _ in range(2):
            with pytest.raises(Retryable):
                await out.deliver(Lane.TELEMETRY, batch)
        await out.deliver(Lane.TELEMETRY, batch)
        await out.deliver(Lane.TELEMETRY, batch[:2])
        ids = [attempt.webhook_id for attempt in center.attempts]
        assert ids[0] == ids[1] == ids[2] != ids[3]


async def test_each_try_carries_the_time_of_that_try() -> None:
    stamps: list[tuple[str | None, ...]] = []

    async def note(request: web.Request) -> web.Response:
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        stamps.append(tuple(request.headers.get(name) for name in names))
        return web.Response(status=500)

    class Later(SystemClock):
        days = 0

        def now(self) -> datetime:
            self.days += 1
            return datetime(2026, 11, self.days, tzinfo=UTC)

    async with answering(note) as url:
        out = OpsCenterSink(gateway="zhambyl", settings=settings(url), clock=Later())
        for _ in range(2):
            with pytest.raises(Retryable):
                await out.deliver(Lane.ALARM, stored(press()))
        await out.close()
    (first, second) = stamps
    assert first[0] == second[0]
    assert first[1] != second[1]
    assert first[2] != second[2]


@pytest.mark.parametrize("known", [0, 1])
async def test_a_center_that_knows_one_of_two_keys_accepts(known: int) -> None:
    secrets = [SECRET, new_secret()]
    keys = tuple(key_of(secret) for secret in secrets)
    async with (
        OperationsCenter(secret=secrets[known], token=TOKEN) as center,
        sink(center.url, signing_keys=keys) as out,
    ):
        await out.deliver(Lane.ALARM, stored(press()))
        assert len(center.received) == 1


async def test_the_lanes_have_connections_of_their_own() -> None:
    peers: dict[str, set[object]] = {"alarm": set(), "telemetry": set()}

    async def note(request: web.Request) -> web.Response:
        assert request.transport is not None
        (event, *_) = await request.json()
        peers[event["lane"]].add(request.transport.get_extra_info("peername"))
        return web.Response(status=202)

    async with answering(note) as url, sink(url) as out:
        for _ in range(3):
            await out.deliver(Lane.ALARM, stored(press()))
            await out.deliver(Lane.TELEMETRY, stored(passed(0)))
    assert len(peers["alarm"]) == len(peers["telemetry"]) == 1, "connections are kept"
    assert peers["alarm"].isdisjoint(peers["telemetry"])


async def test_a_batch_larger_than_most_receivers_take_is_parted_unsent() -> None:
    big = [passed(number, attributes={"note": "x" * 5000}) for number in range(300)]
    async with OperationsCenter(secret=SECRET, token=TOKEN) as center, sink(center.url) as out:
        with pytest.raises(TooLarge):
            await out.deliver(Lane.TELEMETRY, stored(*big))
        assert not center.attempts
        await out.deliver(Lane.TELEMETRY, stored(*big[:150]))
        assert len(center.received) == 150


async def test_a_single_record_is_sent_however_large() -> None:
    big = passed(0, attributes={"note": "x" * 3_000_000})
    async with OperationsCenter(secret=SECRET, token=TOKEN) as center, sink(center.url) as out:
        await out.deliver(Lane.TELEMETRY, stored(big))
        assert len(center.received) == 1


ENDLESS: list[object] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize("value", ["\ud800", ENDLESS, object()], ids=["half", "endless", "object"])
async def test_what_json_cannot_say_is_refused_unsent(value: object) -> None:
    record = passed(0)
    assert isinstance(record.body, Event)
    odd = replace(record, body=replace(record.body, attributes={"odd": value}))
    async with OperationsCenter(secret=SECRET, token=TOKEN) as center, sink(center.url) as out:
        with pytest.raises(Permanent, match="cannot be written as JSON"):
            await out.deliver(Lane.TELEMETRY, stored(odd))
        assert not center.attempts


# --- how it takes answers ------------------------------------------------------------------------


@pytest.mark.parametrize("lane", Lane)
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (200, None),
        (202, None),
        (204, None),
        (301, EndpointFault),
        (307, EndpointFault),
        (400, Permanent),
        (401, EndpointFault),
        (404, EndpointFault),
        (413, TooLarge),
        (422, Permanent),
        (429, Retryable),
        (500, Retryable),
        (503, Retryable),
    ],
)
async def test_each_answer_becomes_its_error(
    lane: Lane, status: int, error: type[Exception] | None
) -> None:
    record = press() if lane is Lane.ALARM else passed(0)
    async with OperationsCenter(secret=SECRET, token=TOKEN) as center, sink(center.url) as out:
        center.answer(status)
        if error is None:
            await out.deliver(lane, stored(record))
        else:
            with pytest.raises(error, match=f"it answered {status}"):
                await out.deliver(lane, stored(record))


async def test_a_redirect_is_not_followed() -> None:
    asked: list[str] = []

    async def redirect(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=308, headers={"Location": "/elsewhere"})

    async with answering(redirect) as url, sink(url) as out:
        with pytest.raises(EndpointFault):
            await out.deliver(Lane.ALARM, stored(press()))
    assert asked == ["/events"]


async def test_retry_after_reaches_the_loop() -> None:
    async with OperationsCenter(secret=SECRET, token=TOKEN) as center, sink(center.url) as out:
        center.answer(503, retry_after=42)
        with pytest.raises(Retryable) as caught:
            await out.deliver(Lane.TELEMETRY, stored(passed(0)))
        assert caught.value.retry_after == 42.0


async def test_a_wrong_secret_and_a_wrong_token_are_the_endpoints_fault() -> None:
    async with (
        OperationsCenter(secret=new_secret(), token=TOKEN) as center,
        sink(center.url) as out,
    ):
        with pytest.raises(EndpointFault, match="401"):
            await out.deliver(Lane.ALARM, stored(press()))
        assert center.refused[Refusal.SIGNATURE] == 1
    async with (
        OperationsCenter(secret=SECRET, token=TOKEN) as center,
        sink(center.url, token="another") as out,
    ):
        with pytest.raises(EndpointFault, match="401"):
            await out.deliver(Lane.ALARM, stored(press()))
        assert center.refused[Refusal.TOKEN] == 1


async def test_no_connection_is_retryable() -> None:
    async with sink(f"http://127.0.0.1:{free_port()}/events") as out:
        with pytest.raises(Retryable, match="no connection"):
            await out.deliver(Lane.ALARM, stored(press()))


async def test_a_name_that_nobody_knows_is_retryable() -> None:
    async with sink("http://nowhere.invalid/events") as out:
        with pytest.raises(Retryable):
            await out.deliver(Lane.ALARM, stored(press()))


@pytest.mark.parametrize("lane", Lane)
async def test_an_answer_that_never_comes_ends_with_the_lanes_own_limit(lane: Lane) -> None:
    async with (
        OperationsCenter(secret=SECRET, token=TOKEN) as center,
        sink(center.url, alarm_try_s=0.2, telemetry_try_s=0.3) as out,
    ):
        center.answer(manner=Manner.HANG)
        limit = "0.2" if lane is Lane.ALARM else "0.3"
        with pytest.raises(Retryable, match=f"no answer within {limit} s"):
            await out.deliver(lane, stored(press() if lane is Lane.ALARM else passed(0)))


async def test_a_handshake_that_never_ends_is_no_connection() -> None:
    hung_up = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        hung_up.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, sink(f"https://127.0.0.1:{port}/events", connect_s=0.2) as out:
        with pytest.raises(Retryable, match=r"no connection within 0\.2 s"):
            await out.deliver(Lane.ALARM, stored(press()))
        async with asyncio.timeout(5):
            await hung_up.wait()


@pytest.mark.parametrize("manner", [Manner.CLOSE, Manner.TORN])
async def test_a_connection_that_breaks_is_retryable(manner: Manner) -> None:
    async with OperationsCenter(secret=SECRET, token=TOKEN) as center, sink(center.url) as out:
        center.answer(manner=manner)
        with pytest.raises(Retryable, match="the connection broke"):
            await out.deliver(Lane.ALARM, stored(press()))


async def test_a_sign_in_page_in_the_centers_place_is_no_acceptance() -> None:
    async with OperationsCenter(secret=SECRET, token=TOKEN) as center, sink(center.url) as out:
        center.answer(manner=Manner.HTML)
        with pytest.raises(EndpointFault, match="web page"):
            await out.deliver(Lane.ALARM, stored(press()))


async def test_an_acceptance_in_plain_text_or_json_is_one() -> None:
    async def accept(request: web.Request) -> web.Response:
        kind = "text/html" if request.path == "/events" else "application/json"
        return web.Response(text='{"accepted": 1}', content_type=kind)

    async with answering(accept) as url, sink(url) as out:
        await out.deliver(Lane.ALARM, stored(press()))


@pytest.mark.parametrize(("status", "error"), [(202, None), (500, Retryable)])
async def test_a_body_that_trickles_without_end_holds_nothing_up(
    status: int, error: type[Exception] | None
) -> None:
    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.05)

    async with answering(trickle) as url, sink(url) as out:
        async with asyncio.timeout(4.5):  # less than a try may take
            if error is None:
                await out.deliver(Lane.ALARM, stored(press()))
            else:
                with pytest.raises(error):
                    await out.deliver(Lane.ALARM, stored(press()))


async def test_a_huge_body_is_not_read() -> None:
    sent = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(status=400)
        await response.prepare(request)
        while True:
            await response.write(b"long " * 2000)
            sent += 10_000

    async with answering(flood) as url, sink(url) as out:
        with pytest.raises(Permanent) as caught:
            await out.deliver(Lane.ALARM, stored(press()))
    assert len(str(caught.value)) < 300
    assert sent < 20_000_000


async def test_what_is_not_http_is_retryable() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, sink(f"http://127.0.0.1:{port}/events") as out:
        with pytest.raises(Retryable):
            await out.deliver(Lane.ALARM, stored(press()))


async def test_what_the_center_said_is_one_line_and_shows_no_secret() -> None:
    async def echo(request: web.Request) -> web.Response:
        headers = "\n".join(f"{name}: {value}" for name, value in request.headers.items())
        return web.Response(status=400, text=f"severity\r\n\x1b[31mmissing\n{headers}")

    async with answering(echo) as url, sink(url) as out:
        with pytest.raises(Permanent, match="severity") as caught:
            await out.deliver(Lane.ALARM, stored(press()))
    said = str(caught.value)
    assert TOKEN not in said
    assert "\n" not in said
    assert "\x1b" not in said


def test_settings_show_no_secret() -> None:
    shown = repr(settings("https://user:password@ops.example/events?key=hidden"))
    assert "whsec" not in shown
    assert TOKEN not in shown
    assert "password" not in shown
    assert "hidden" not in shown
