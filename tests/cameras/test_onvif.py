"""The ONVIF client against devices that sign in, report, fail and lie each in their own way."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.address import Address
from adapters.breaker import Breaker
from adapters.onvif.auth import Scheme
from adapters.onvif.client import MAX_ANSWER, OnvifClient
from adapters.onvif.operations import DeviceInformation
from gateway.clock import SystemClock
from gateway.errors import DeviceFault
from gateway.model import Credentials, Reason
from tests.cameras import fakes
from tests.cameras.fakes import (
    MEDIA,
    MEDIA2,
    Behaviour,
    DigestDoor,
    FakeOnvif,
    Reply,
    Request,
    drip,
    saying,
    serving,
    silence,
)
from tests.cameras.neighbours import CREDENTIALS
from tests.peers import free_port

WRONG = Credentials(username="operator", password="Wrong-1")
MAKER = DeviceInformation(maker="Maker", model="Model", firmware="1.2", serial="S")


@pytest.fixture
def breaker(tmp_path: Path) -> Breaker:
    return Breaker(clock=SystemClock(), path=tmp_path / "refused.jsonl")


def client(
    port: int,
    breaker: Breaker,
    credentials: Credentials | None = CREDENTIALS,
    *,
    path: str = "/",
    **rest: Any,
) -> OnvifClient:
    return OnvifClient(
        address=Address(scheme="http", host="127.0.0.1", port=port, path=path),
        credentials=credentials,
        breaker=breaker,
        clock=SystemClock(),
        connect_s=2.0,
        **rest,
    )


async def ask(
    behave: Behaviour, breaker: Breaker, credentials: Credentials | None = CREDENTIALS, **rest: Any
) -> tuple[DeviceInformation, OnvifClient]:
    """Clock and device information: what a routine check asks."""
    async with (
        asyncio.timeout(10),
        serving(behave) as server,
        client(server.port, breaker, credentials, **rest) as device,
    ):
        await device.read_clock()
        return await device.device_information(), device


async def fault(behave: Behaviour, breaker: Breaker, **rest: Any) -> DeviceFault:
    with pytest.raises(DeviceFault) as raised:
        await ask(behave, breaker, **rest)
    return raised.value


class TokenDoor:
    """Lets in a WS-Security token made with the device's own clock; each nonce serves once."""

    def __init__(self, *, skew: timedelta = timedelta(), status: int = 400, always: bool = False):
        self.skew = skew
        self.tries = 0
        self._status = status
        self._always = always
        self._nonces: set[str] = set()

    def judge(self, request: Request) -> Reply | None:
        if request.operation == "GetSystemDateAndTime" and not self._always:
            return None
        if request.has_token:
            self.tries += 1
            if self._right(request.body):
                return None
        return self._status, {}, fakes.fault("NotAuthorized", "Sender not Authorized")

    def _right(self, body: str) -> bool:
        digest, nonce, created = (
            re.findall(rf"<{name}[^>]*>([^<]*)<", body)[0]
            for name in ("Password", "Nonce", "Created")
        )
        if nonce in self._nonces:
            return False
        self._nonces.add(nonce)
        secret = base64.b64decode(nonce) + created.encode() + CREDENTIALS.password.encode()
        expected = base64.b64encode(hashlib.sha1(secret, usedforsecurity=False).digest()).decode()
        ours = datetime.now(UTC) + self.skew
        age = abs(datetime.strptime(created, "%Y-%m-%dT%H:%M:%S%z") - ours)
        return digest == expected and age < timedelta(seconds=5)


# --- signing in ----------------------------------------------------------------------------------


async def test_a_device_that_asks_nobody_is_sent_no_credentials(breaker: Breaker) -> None:
    camera = FakeOnvif()
    information, device = await ask(camera.behave, breaker)
    assert information == MAKER
    assert device.scheme is Scheme.NONE
    assert not any(one.has_token or "authorization" in one.headers for one in camera.requests)


@pytest.mark.parametrize("extra", ["", ', algorithm="MD5"', ', opaque="o"'])
async def test_http_digest_where_it_is_asked_for(breaker: Breaker, extra: str) -> None:
    camera, door = FakeOnvif(), DigestDoor("operator", "Right-1", extra=extra)
    camera.judges.append(door.judge)
    information, device = await ask(camera.behave, breaker)
    assert (information, device.scheme, door.tries) == (MAKER, Scheme.HTTP_DIGEST, 1)
    assert not any(request.has_token for request in camera.requests)


@pytest.mark.parametrize("status", [200, 400, 401, 500])
async def test_ws_security_where_a_fault_asks_for_it(breaker: Breaker, status: int) -> None:
    """onvif-quirks: a fault for bad credentials comes with HTTP 200, 400, 401, 500."""
    camera, door = FakeOnvif(), TokenDoor(status=status)
    camera.judges.append(door.judge)
    information, device = await ask(camera.behave, breaker)
    assert (information, device.scheme, door.tries) == (MAKER, Scheme.WS_SECURITY, 1)


@pytest.mark.parametrize("skew", [timedelta(hours=-3), timedelta(days=365), timedelta(seconds=90)])
async def test_the_token_s_time_is_the_device_s_own(breaker: Breaker, skew: timedelta) -> None:
    """onvif-quirks: most 401s on cheap cameras are clock skew."""
    camera, door = FakeOnvif(), TokenDoor(skew=skew)
    camera.judges.append(door.judge)
    camera.clock = (datetime.now(UTC) + skew).strftime("%Y-%m-%d %H:%M:%S")
    information, device = await ask(camera.behave, breaker)
    assert information == MAKER
    assert device.clock_offset_s is not None
    assert abs(device.clock_offset_s - skew.total_seconds()) < 5


async def test_a_device_that_hides_even_its_clock(breaker: Breaker) -> None:
    """onvif-quirks: some demand credentials even at GetSystemDateAndTime."""
    camera, door = FakeOnvif(), TokenDoor(always=True)
    camera.judges.append(door.judge)
    async with serving(camera.behave) as server, client(server.port, breaker) as device:
        assert not await device.read_clock()
        assert await device.device_information() == MAKER
        await device.read_clock_signed_in()
        assert device.clock_offset_s is not None
        assert abs(device.clock_offset_s) < 5


async def test_a_remembered_scheme_spares_the_asking(breaker: Breaker) -> None:
    camera, door = FakeOnvif(), TokenDoor()
    camera.judges.append(door.judge)
    await ask(camera.behave, breaker, scheme=Scheme.WS_SECURITY)
    assert camera.asked == ["GetSystemDateAndTime", "GetDeviceInformation"]


async def test_a_nonce_is_used_again_within_a_conversation(breaker: Breaker) -> None:
    camera, door = FakeOnvif(), DigestDoor("operator", "Right-1")
    camera.judges.append(door.judge)
    async with serving(camera.behave) as server, client(server.port, breaker) as device:
        await device.device_information()
        await device.profiles(*await device.media_service())
    assert len(camera.asked) == 4  # three operations, one challenge


@pytest.mark.parametrize("known", [False, True])
async def test_a_device_whose_nonces_serve_once_is_asked_for_each(
    breaker: Breaker, known: bool
) -> None:
    """Dahua issues a nonce for each request, and notes a refused sign-in for a used one."""
    camera, door = FakeOnvif(), DigestDoor("operator", "Right-1", once=True)
    camera.judges.append(door.judge)
    async with (
        serving(camera.behave) as server,
        client(server.port, breaker, nonces_serve_once=known) as device,
    ):
        await device.device_information()
        await device.profiles(*await device.media_service())
        assert device.nonces_serve_once
    assert len(camera.asked) == 6
    assert door.tries == (3 if known else 4)


async def test_a_device_with_media2_alone(breaker: Breaker) -> None:
    camera = FakeOnvif()
    async with serving(camera.behave) as server, client(server.port, breaker) as device:
        xaddr = f"http://192.0.2.1:{server.port}/onvif/Media2"
        camera.answers["GetServices"] = 200, {}, fakes.soap(fakes.services(**{MEDIA2: xaddr}))
        service, address = await device.media_service()
        profiles, address = await device.profiles(service, address)
        assert profiles
        assert "<Type>VideoEncoder</Type>" in camera.requests[-1].body
        assert await device.stream_uri(service, address, "main")
        assert MEDIA2 in camera.requests[-1].body
        assert camera.requests[-1].path == "/onvif/Media2"


async def test_a_device_that_changed_its_mind_is_followed(breaker: Breaker) -> None:
    camera, door = FakeOnvif(), DigestDoor("operator", "Right-1")
    camera.judges.append(door.judge)
    _, device = await ask(camera.behave, breaker, scheme=Scheme.WS_SECURITY)
    assert device.scheme is Scheme.HTTP_DIGEST


@pytest.mark.parametrize("door", ["digest", "token"])
async def test_wrong_credentials_make_two_tries_over_many_checks(
    breaker: Breaker, door: str
) -> None:
    digest, token = DigestDoor("operator", "Right-1"), TokenDoor()
    camera = FakeOnvif()
    camera.judges.append(digest.judge if door == "digest" else token.judge)
    for _ in range(5):
        found = await fault(camera.behave, breaker, credentials=WRONG)
        assert found.reason is Reason.AUTH_FAILED
    assert digest.tries + token.tries == 2
    assert "not tried before" in found.detail
    # It is still asked whether it lives, and what its time is.
    assert camera.asked.count("GetSystemDateAndTime") == 5


async def test_digest_and_a_fault_in_one_refusal_ask_for_digest_alone(breaker: Breaker) -> None:
    door, camera = DigestDoor("operator", "Right-1"), FakeOnvif()

    def judge(request: Request) -> Reply | None:
        reply = door.judge(request)
        return reply and (reply[0], reply[1], fakes.fault("NotAuthorized", "Sender not Authorized"))

    camera.judges.append(judge)
    assert (await fault(camera.behave, breaker, credentials=WRONG)).reason is Reason.AUTH_FAILED
    assert door.tries == 1
    assert not any(request.has_token for request in camera.requests)


async def test_basic_is_never_answered_in_the_clear(breaker: Breaker) -> None:
    camera = FakeOnvif()
    camera.judges.append(lambda _: (401, {"WWW-Authenticate": 'Basic realm="r"'}, b""))
    found = await fault(camera.behave, breaker)
    assert found.reason is Reason.AUTH_FAILED
    assert "basic" in found.detail
    assert not any(one.has_token or "authorization" in one.headers for one in camera.requests)


async def test_without_credentials_in_the_inventory_none_are_made_up(breaker: Breaker) -> None:
    camera, door = FakeOnvif(), TokenDoor()
    camera.judges.append(door.judge)
    assert (await fault(camera.behave, breaker, credentials=None)).reason is Reason.AUTH_FAILED
    assert door.tries == 0


@pytest.mark.parametrize(
    "reply",
    [
        (401, {}, fakes.fault("NotAuthorized", "The account is locked, try later")),
        (401, {}, b"<userCheck><lockStatus>lock</lockStatus></userCheck>"),
    ],
)
async def test_a_device_that_says_locked_is_believed(breaker: Breaker, reply: Reply) -> None:
    camera = FakeOnvif()

    def judge(request: Request) -> Reply | None:
        if request.operation == "GetSystemDateAndTime":
            return None
        return reply if request.has_token else (401, {}, fakes.fault("NotAuthorized", "sign in"))

    camera.judges.append(judge)
    assert (await fault(camera.behave, breaker)).reason is Reason.LOCKED_OUT
    tokens = sum(request.has_token for request in camera.requests)
    assert (await fault(camera.behave, breaker)).reason is Reason.LOCKED_OUT
    assert sum(request.has_token for request in camera.requests) == tokens == 1


async def test_a_refused_time_counts_as_no_refusal(breaker: Breaker) -> None:
    camera = FakeOnvif()

    def judge(request: Request) -> Reply | None:
        if request.operation == "GetSystemDateAndTime":
            return None
        said = "Wsse authorized time check failed." if request.has_token else "not authorized"
        return 400, {}, fakes.fault("NotAuthorized", said)

    camera.judges.append(judge)
    for _ in range(4):
        found = await fault(camera.behave, breaker)
    assert found.reason is Reason.AUTH_FAILED
    assert "time" in found.detail
    assert sum(request.has_token for request in camera.requests) == 4


async def test_a_right_that_is_missing_is_no_wrong_password(breaker: Breaker) -> None:
    """AXIS answers NotAuthorized to what it does not want to do; the account is not to blame."""
    camera, door = FakeOnvif(), DigestDoor("operator", "Right-1")
    camera.judges.append(door.judge)
    camera.answers["GetServices"] = 400, {}, fakes.fault("NotAuthorized", "Sender not authorized")
    async with serving(camera.behave) as server:
        for _ in range(4):
            async with client(server.port, breaker) as device:
                await device.read_clock()
                assert await device.device_information() == MAKER
                with pytest.raises(DeviceFault, match="no right to GetServices"):
                    await device.media_service()


# --- addresses -----------------------------------------------------------------------------------


async def test_the_media_service_is_asked_at_the_inventory_s_host(breaker: Breaker) -> None:
    camera = FakeOnvif(reported="192.0.2.1")
    async with serving(camera.behave) as server, client(server.port, breaker) as device:
        service, address = await device.media_service()
        assert address.url == f"http://127.0.0.1:{server.port}/onvif/Media"
        profiles, address = await device.profiles(service, address)
        assert [one.token for one in profiles] == ["main"]
        uri = await device.stream_uri(service, address, "main")
        assert uri == "rtsp://192.0.2.1:554/live?channel=1"


@pytest.mark.parametrize("xaddr", ["http://host:{port}:{port}/onvif/Media", "(null)", ""])
async def test_unusable_addresses_have_a_way_out(breaker: Breaker, xaddr: str) -> None:
    """onvif-quirks: doubled (`host:8106:8106`) hosts, `(null)` as an address."""
    camera = FakeOnvif()
    async with serving(camera.behave) as server, client(server.port, breaker) as device:
        told = fakes.services(**{MEDIA: xaddr.format(port=server.port)})
        camera.answers["GetServices"] = 200, {}, fakes.soap(told)
        profiles, _ = await device.profiles(*await device.media_service())
        assert profiles


async def test_a_shut_reported_port_leads_back_to_the_inventory_s(breaker: Breaker) -> None:
    """onvif-quirks: odd ports; if the port is refused, the inventory's own."""
    camera = FakeOnvif()
    camera.media_port = free_port()
    async with serving(camera.behave) as server, client(server.port, breaker) as device:
        service, address = await device.media_service()
        profiles, address = await device.profiles(service, address)
        assert profiles
        assert address.port == server.port
        assert await device.stream_uri(service, address, "main")


async def test_old_firmware_without_get_services(breaker: Breaker) -> None:
    """onvif-quirks: GetServices missing on old firmware: fall back to GetCapabilities."""
    camera = FakeOnvif()
    camera.answers["GetServices"] = 500, {}, fakes.fault("ActionNotSupported", "not implemented")
    camera.answers["GetCapabilities"] = (
        200,
        {},
        fakes.soap(
            '<GetCapabilitiesResponse><Capabilities xmlns:tt="x"><tt:Media><tt:XAddr>http://x/m</tt:XAddr>'
            "</tt:Media></Capabilities></GetCapabilitiesResponse>"
        ),
    )
    async with serving(camera.behave) as server, client(server.port, breaker) as device:
        service, address = await device.media_service()
    assert (service.xaddr, address.host, address.path) == ("http://x/m", "127.0.0.1", "/m")


async def test_the_other_usual_path_is_tried(breaker: Breaker) -> None:
    """onvif-quirks: the service may be at `/onvif/services` (400 at the usual one)."""
    camera = FakeOnvif()
    camera.judges.append(lambda one: None if one.path == "/onvif/services" else (400, {}, b""))
    information, device = await ask(camera.behave, breaker)
    assert information == MAKER
    assert device.device_service.path == "/onvif/services"


async def test_a_path_of_the_inventory_is_final(breaker: Breaker) -> None:
    camera = FakeOnvif()
    camera.judges.append(lambda _: (404, {}, b"<html>404</html>"))
    found = await fault(camera.behave, breaker, path="/my/path")
    assert found.reason is Reason.PROTOCOL_ERROR
    assert {request.path for request in camera.requests} == {"/my/path"}


async def test_redirects_are_not_followed(breaker: Breaker) -> None:
    async with serving(FakeOnvif().behave) as elsewhere:
        camera = FakeOnvif()
        location = f"http://127.0.0.1:{elsewhere.port}/onvif/device_service"
        camera.judges.append(lambda _: (302, {"Location": location}, b""))
        found = await fault(camera.behave, breaker)
        assert found.reason is Reason.PROTOCOL_ERROR
        assert "redirect" in found.detail
        assert elsewhere.connections == 0


# --- the wire ------------------------------------------------------------------------------------


async def test_one_conversation_is_one_connection(breaker: Breaker) -> None:
    camera, door = FakeOnvif(), DigestDoor("operator", "Right-1")
    camera.judges.append(door.judge)
    async with serving(camera.behave) as server:
        async with client(server.port, breaker) as device:
            await device.read_clock()
            await device.device_information()
            await device.profiles(*await device.media_service())
            assert server.connections == 1
        assert server.most_open == 1


async def test_a_connection_closed_after_each_answer(breaker: Breaker) -> None:
    """onvif-quirks: connection closed after each answer."""
    camera, door = FakeOnvif(keep_alive=False), DigestDoor("operator", "Right-1")
    camera.judges.append(door.judge)
    information, _ = await ask(camera.behave, breaker)
    assert (information, door.tries) == (MAKER, 1)


async def test_hanging_up_on_credentials_counts_as_a_refusal(breaker: Breaker) -> None:
    tries = 0

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        while True:
            request = await fakes.read_request(reader)
            if "authorization" in request.headers:
                tries += 1
                return
            challenge = 'WWW-Authenticate: Digest realm="r", nonce="n"\r\n'
            writer.write(f"HTTP/1.1 401 No\r\n{challenge}Content-Length: 0\r\n\r\n".encode())

    for _ in range(4):
        assert (await fault(behave, breaker)).reason is Reason.AUTH_FAILED
    assert tries == 4  # two checks with a second connection each, then the breaker


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n"
WHOLE = fakes.soap(
    "<GetSystemDateAndTimeResponse/><GetDeviceInformationResponse><Model>M</Model>"
    "</GetDeviceInformationResponse>"
)


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b"\r\n" + WHOLE,
        HEAD + b"Content-Length: %d\r\n\r\n" % (len(WHOLE) + 50) + WHOLE,
        HEAD + b"Content-Length: %d\r\n\r\n" % len(WHOLE) + WHOLE[:-20],
        b"HTTP/1.0 200 OK\r\n\r\n" + WHOLE,
        b"HTTP/1.1 500 Error\r\n\r\n" + WHOLE,
    ],
)
async def test_answers_of_sloppy_servers_are_read(breaker: Breaker, answer: bytes) -> None:
    """onvif-quirks: no Content-Length, truncated body."""
    information, _ = await ask(saying(answer), breaker)
    assert information.model == "M"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-dropbear\r\n",
        b"RTSP/1.0 400 Bad Request\r\n\r\n",
        b"\xff\xfe\x00" * 3000,
        HEAD + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\n",
        HEAD + b"Content-Length: 26\r\n\r\n<html>Please sign in</html>",
        HEAD + b"Content-Length: 0\r\n\r\n",
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00",
        HEAD + b"\r\n" + b"<E><Body>" + b"x" * (MAX_ANSWER + 1),
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_nonsense_is_a_protocol_error(breaker: Breaker, answer: bytes) -> None:
    assert (await fault(saying(answer), breaker)).reason is Reason.PROTOCOL_ERROR


@pytest.mark.parametrize("behaviour", [silence, drip])
async def test_a_hanging_device_ends_with_the_caller_s_deadline(
    breaker: Breaker, behaviour: Behaviour
) -> None:
    async with serving(behaviour) as server:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.7), client(server.port, breaker) as device:
                await device.read_clock()


async def test_a_refused_connection_is_refused(breaker: Breaker) -> None:
    async with client(free_port(), breaker) as device:
        with pytest.raises(DeviceFault) as raised:
            await device.read_clock()
    assert raised.value.reason is Reason.REFUSED


async def test_an_unknown_name_is_a_dns_failure(breaker: Breaker) -> None:
    address = Address(scheme="http", host="camera.invalid", port=80)
    async with OnvifClient(
        address=address, credentials=None, breaker=breaker, clock=SystemClock(), connect_s=2.0
    ) as device:
        with pytest.raises(DeviceFault) as raised:
            await device.read_clock()
    assert raised.value.reason is Reason.DNS_FAILURE


async def test_plain_http_under_https_is_a_tls_error(breaker: Breaker) -> None:
    async with serving(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        address = Address(scheme="https", host="127.0.0.1", port=server.port)
        async with OnvifClient(
            address=address, credentials=None, breaker=breaker, clock=SystemClock(), connect_s=2.0
        ) as device:
            with pytest.raises(DeviceFault) as raised:
                await device.read_clock()
    assert raised.value.reason is Reason.TLS_ERROR


@pytest.mark.parametrize("answered", [fakes.fault("Action", "busy"), fakes.soap("<x/>")])
async def test_a_fault_or_a_stranger_s_answer_is_a_protocol_error(
    breaker: Breaker, answered: bytes
) -> None:
    camera = FakeOnvif()
    camera.answers["GetDeviceInformation"] = 200, {}, answered
    assert (await fault(camera.behave, breaker)).reason is Reason.PROTOCOL_ERROR


async def test_a_device_without_a_usable_clock_is_asked_on(breaker: Breaker) -> None:
    camera = FakeOnvif()
    replies: list[Callable[[], Reply]] = [
        lambda: (200, {}, fakes.soap(fakes.date_and_time("0000-00-00 00:00:00"))),
        lambda: (500, {}, fakes.fault("ActionNotSupported", "no")),
    ]
    for reply in replies:
        camera.answers["GetSystemDateAndTime"] = reply()
        information, device = await ask(camera.behave, breaker)
        assert information == MAKER
        assert device.clock_offset_s is None
