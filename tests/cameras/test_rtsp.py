"""The RTSP client against servers that behave, misbehave, and do worse."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.address import Address
from adapters.breaker import Breaker
from adapters.rtsp.client import RtspClient, session_of
from adapters.rtsp.sdp import SessionDescription
from adapters.rtsp.wire import MAX_BODY_BYTES, read_response
from gateway.clock import SystemClock
from gateway.errors import DeviceFault
from gateway.model import Credentials, Reason
from tests.cameras.fakes import (
    SDP,
    DigestDoor,
    FakeRtsp,
    Request,
    drip,
    guarded,
    rtsp,
    saying,
    serving,
    silence,
)
from tests.cameras.neighbours import CREDENTIALS
from tests.peers import free_port, real_data, require

WRONG = Credentials(username="operator", password="Wrong-1")


@pytest.fixture
def breaker(tmp_path: Path) -> Breaker:
    return Breaker(clock=SystemClock(), path=tmp_path / "refused.jsonl")


async def describe(
    port: int,
    breaker: Breaker,
    *,
    scheme: str = "rtsp",
    credentials: Credentials | None = CREDENTIALS,
    options: bool = False,
) -> SessionDescription:
    address = Address(scheme=scheme, host="127.0.0.1", port=port, path="/live?channel=1")
    async with asyncio.timeout(10):
        async with RtspClient(
            address=address, credentials=credentials, breaker=breaker, connect_s=2.0
        ) as camera:
            if options:
                assert "DESCRIBE" in await camera.options()
            return session_of(await camera.describe(), address)


async def fault_of(port: int, breaker: Breaker, **how: object) -> DeviceFault:
    with pytest.raises(DeviceFault) as raised:
        await describe(port, breaker, **how)  # type: ignore[arg-type]
    return raised.value


async def test_an_open_stream_is_described_without_credentials(breaker: Breaker) -> None:
    camera = FakeRtsp()
    async with serving(camera.behave) as server:
        session = await describe(server.port, breaker, options=True)
    assert session.video is not None
    assert session.video.encoding == "H264"
    assert session.video.control.endswith("/live?channel=1/trackID=0")
    assert camera.asked == ["OPTIONS", "DESCRIBE"]
    assert not any("authorization" in request.headers for request in camera.requests)
    assert [request.headers["cseq"] for request in camera.requests] == ["1", "2"]


@pytest.mark.parametrize("extra", ["", ", algorithm=MD5", ', opaque="", stale="FALSE"'])
async def test_credentials_are_sent_once_and_only_when_asked_for(
    breaker: Breaker, extra: str
) -> None:
    door = DigestDoor("operator", "Right-1", extra=extra)
    camera = FakeRtsp(guarded(door))
    async with serving(camera.behave) as server:
        await describe(server.port, breaker)
    assert (door.tries, camera.asked) == (1, ["DESCRIBE", "DESCRIBE"])


async def test_wrong_credentials_are_tried_twice_in_all(breaker: Breaker) -> None:
    door = DigestDoor("operator", "Right-1")
    async with serving(FakeRtsp(guarded(door)).behave) as server:
        for _ in range(5):
            fault = await fault_of(server.port, breaker, credentials=WRONG)
            assert fault.reason is Reason.AUTH_FAILED
    assert door.tries == 2
    assert "not tried before" in fault.detail


async def test_a_camera_that_says_locked_is_believed(breaker: Breaker) -> None:
    def script(request: Request) -> bytes | None:
        challenge = 'Digest realm="r", nonce="n"'
        said = "401 Account Locked" if "authorization" in request.headers else "401 Unauthorized"
        return rtsp(said, WWW_Authenticate=challenge)

    async with serving(FakeRtsp(script).behave) as server:
        assert (await fault_of(server.port, breaker)).reason is Reason.LOCKED_OUT


async def test_without_credentials_in_the_inventory_none_are_made_up(breaker: Breaker) -> None:
    door = DigestDoor("operator", "Right-1")
    async with serving(FakeRtsp(guarded(door)).behave) as server:
        fault = await fault_of(server.port, breaker, credentials=None)
    assert (fault.reason, door.tries) == (Reason.AUTH_FAILED, 0)


async def test_a_stale_nonce_is_no_refusal(breaker: Breaker) -> None:
    door = DigestDoor("operator", "Right-1")
    answers = 0

    def script(request: Request) -> bytes | None:
        nonlocal answers
        if "authorization" not in request.headers:
            return rtsp("401 Unauthorized", WWW_Authenticate=door.challenge())
        answers += 1
        if answers == 1:
            return rtsp("401 Unauthorized", WWW_Authenticate=door.challenge() + ", stale=true")
        assert door.admits(request.method, request.headers["authorization"])
        return None

    async with serving(FakeRtsp(script).behave) as server:
        await describe(server.port, breaker)
    assert answers == 2


async def test_a_camera_that_hangs_up_after_each_answer_is_asked_anew(breaker: Breaker) -> None:
    """onvif-quirks: connection closed after each answer. The nonce of the old connection is not
    used on the new one."""
    door = DigestDoor("operator", "Right-1")
    camera = FakeRtsp(guarded(door))
    camera.hang_up_after = 2
    async with serving(camera.behave) as server:
        session = await describe(server.port, breaker, options=True)
    assert session.video is not None
    assert (server.connections, door.tries) == (2, 1)


async def test_hanging_up_on_credentials_counts_as_a_refusal(breaker: Breaker) -> None:
    tries = 0

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'RTSP/1.0 401 No\r\nWWW-Authenticate: Digest realm="r", nonce="n"\r\n\r\n')
        if b"Authorization" in await reader.readuntil(b"\r\n\r\n"):
            tries += 1

    async with serving(behave) as server:
        for _ in range(4):
            fault = await fault_of(server.port, breaker)
            assert fault.reason is Reason.AUTH_FAILED
    assert tries == 4  # two checks with a second connection each, then the breaker


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("403 Forbidden", Reason.STREAM_REFUSED),
        ("404 Stream Not Found", Reason.STREAM_NOT_FOUND),
        ("453 Not Enough Bandwidth", Reason.STREAM_REFUSED),
        ("500 Internal Server Error", Reason.STREAM_REFUSED),
        ("503 Service Unavailable", Reason.STREAM_REFUSED),
        ("551 Option not supported", Reason.PROTOCOL_ERROR),
        ("302 Moved", Reason.PROTOCOL_ERROR),
        ("400 Bad Request", Reason.PROTOCOL_ERROR),
    ],
)
async def test_refusals_are_told_apart(breaker: Breaker, status: str, reason: Reason) -> None:
    location = "rtsp://203.0.113.7/elsewhere"
    script: Callable[[Request], bytes | None] = lambda _: rtsp(status, Location=location)  # noqa: E731
    async with serving(FakeRtsp(script).behave) as server:
        fault = await fault_of(server.port, breaker)
    assert fault.reason is reason
    assert status[:3] in fault.detail


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (rtsp("200 OK", "v=0\r\nm=audio 0 RTP/AVP 0\r\n"), Reason.NO_PROFILE),
        (rtsp("200 OK", "<html>Sign in</html>"), Reason.PROTOCOL_ERROR),
        (rtsp("200 OK"), Reason.PROTOCOL_ERROR),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Reason.PROTOCOL_ERROR),
        (b"SSH-2.0-dropbear\r\n", Reason.PROTOCOL_ERROR),
        (b"\xff\xfe\x00" * 100 + b"\n", Reason.PROTOCOL_ERROR),
        (b"RTSP/1.0 OK\r\n\r\n", Reason.PROTOCOL_ERROR),
        (b"RTSP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n", Reason.PROTOCOL_ERROR),
        (b"RTSP/1.0 200 OK\r\nContent-Length: -5\r\n\r\n", Reason.PROTOCOL_ERROR),
        (b"RTSP/1.0 200 OK\r\n" + b"x" * 70_000, Reason.PROTOCOL_ERROR),
        (b"RTSP/1.0 200 OK\r\n" + b"x: y\r\n" * 9_000, Reason.PROTOCOL_ERROR),
        (b"RTSP/1.0 200 OK\r\nContent-Length: 50\r\n\r\nv=0", Reason.PROTOCOL_ERROR),
        (b"RTSP/1.0 200 O", Reason.PROTOCOL_ERROR),
        (b"", Reason.PROTOCOL_ERROR),
    ],
)
async def test_nonsense_is_called_by_its_name(
    breaker: Breaker, answer: bytes, reason: Reason
) -> None:
    async with serving(saying(answer)) as server:
        assert (await fault_of(server.port, breaker)).reason is reason


async def test_the_largest_body_is_read_and_no_byte_more(breaker: Breaker) -> None:
    for spare, holds in ((0, True), (1, False)):
        body = SDP + "\r\n" * ((MAX_BODY_BYTES - len(SDP)) // 2) + "x" * spare
        body += " " * (MAX_BODY_BYTES + spare - len(body))
        script: Callable[[Request], bytes | None] = lambda _, body=body: rtsp("200 OK", body)  # type: ignore[misc]  # noqa: E731
        async with serving(FakeRtsp(script).behave) as server:
            if holds:
                await describe(server.port, breaker)
            else:
                assert (await fault_of(server.port, breaker)).reason is Reason.PROTOCOL_ERROR


async def test_a_refused_connection_is_refused(breaker: Breaker) -> None:
    assert (await fault_of(free_port(), breaker)).reason is Reason.REFUSED


@pytest.mark.parametrize("behaviour", [silence, drip])
async def test_a_hanging_camera_ends_with_the_caller_s_deadline(
    breaker: Breaker, behaviour: Callable[..., object]
) -> None:
    """onvif-quirks: one byte every half second."""
    async with serving(behaviour) as server:  # type: ignore[arg-type]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.7):
                await describe(server.port, breaker)


async def test_folded_headers_are_one_header(breaker: Breaker) -> None:
    """As an AXIS folds them."""
    reader = asyncio.StreamReader()
    reader.feed_data(
        b"RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n"
        b'WWW-Authenticate: Digest realm="r",\r\n nonce="n"\r\nServer: x\r\n y\r\n\r\n'
    )
    response = await read_response(reader)
    assert response.headers["www-authenticate"] == ['Digest realm="r", nonce="n"']
    assert response.header("server") == "x y"


async def test_recorded_answers_are_read() -> None:
    """Real OPTIONS, DESCRIBE, SETUP and PLAY answers, and AXIS's folded 401."""
    folder = real_data() / "rtsp"
    files = [
        file
        for file in sorted((folder / "retina").glob("*.txt"))
        if file.read_bytes().startswith(b"RTSP/")
    ]
    answers = [file.read_bytes() for file in files]
    dialogue = json.loads((folder / "axis" / "dialogue_strings.json").read_text())
    strings = dialogue["test_successful_connect"]
    answers += [one.encode() for one in strings if one.startswith("RTSP/1.0")]
    assert len(answers) > 20
    for answer in answers:
        reader = asyncio.StreamReader()
        # Some were shortened by whoever took private names out of them.
        reader.feed_data(answer + b"\n" * 20)
        reader.feed_eof()
        response = await read_response(reader)
        assert response.status in (200, 401)
        assert response.headers


# --- TLS -----------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Self-signed, as cameras make them."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=camera"]
    files = ["-keyout", str(key), "-out", str(certificate), "-days", "2"]
    subprocess.run([require("openssl"), *request, *files], check=True, capture_output=True)
    return certificate, key


def asks_for_basic(request: Request) -> bytes | None:
    # operator:Right-1
    if request.headers.get("authorization") == "Basic b3BlcmF0b3I6UmlnaHQtMQ==":
        return None
    return rtsp("401 Unauthorized", WWW_Authenticate='Basic realm="camera"')


async def test_basic_is_answered_under_tls(
    breaker: Breaker, certificate: tuple[Path, Path]
) -> None:
    async with serving(FakeRtsp(asks_for_basic).behave, tls=certificate) as server:
        await describe(server.port, breaker, scheme="rtsps")


async def test_basic_is_never_answered_in_the_clear(breaker: Breaker) -> None:
    camera = FakeRtsp(asks_for_basic)
    async with serving(camera.behave) as server:
        fault = await fault_of(server.port, breaker)
    assert fault.reason is Reason.AUTH_FAILED
    assert not any("authorization" in request.headers for request in camera.requests)


async def test_a_server_without_tls_is_a_tls_error(breaker: Breaker) -> None:
    async with serving(saying(b"RTSP/1.0 400 Bad Request\r\n\r\n")) as server:
        fault = await fault_of(server.port, breaker, scheme="rtsps")
    assert fault.reason is Reason.TLS_ERROR
