from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path

import aiohttp
import pytest
import uvloop

from gateway.console import CannotListen, Console, Listen, Role
from gateway.console.access import SESSION_COOKIE
from gateway.errors import ConfigError
from tests.console.conftest import OpenRoom, Room
from tests.console.neighbours import make_alarm
from tests.peers import require


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate and key for 127.0.0.1."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    ask = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    command = [require("openssl"), *ask.split(), "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return cert, key


async def test_over_tls_the_cookie_is_for_tls_only(
    open_room: OpenRoom, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    trust = ssl.create_default_context(cafile=str(cert))
    async with open_room(cert_file=cert, key_file=key) as room:
        room.users.add("aigerim", Role.OPERATOR, "correct horse")
        assert room.url.startswith("https://")
        form = {"name": "aigerim", "password": "correct horse", "next": "/"}
        async with room.http.post(
            f"{room.url}/sign-in",
            data=form,
            headers={"Origin": room.url},
            allow_redirects=False,
            ssl=trust,
        ) as answer:
            assert answer.status == 303
            assert answer.cookies[SESSION_COOKIE]["secure"]


async def test_what_is_no_http_is_refused_and_does_not_fill_the_log(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    address = room.console.address
    assert address is not None
    token = b"Authorization: Bearer admin-token-of-a-test\r\n"
    packed = b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"
    for request in (
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01 a handshake\r\n\r\n",
        b"POST /api/v1/alarms/a/acknowledge HTTP/1.1\r\nHost: x\r\n" + token + packed,
        b"POST /sign-in HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n" + packed,
    ):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(request)
        assert (await reader.readline()).split()[1] == b"400"
        writer.close()
        await writer.wait_closed()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_body_that_breaks_off_is_no_fault_of_ours(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    address = room.console.address
    assert address is not None
    _, writer = await asyncio.open_connection(address.host, address.port)
    head = b"POST /api/v1/alarms/a/acknowledge HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n"
    writer.write(head + b"Authorization: Bearer admin-token-of-a-test\r\n\r\n{")
    await writer.drain()
    assert (await room.ask("GET", "/healthz", None))[0] == 200
    writer.close()
    await writer.wait_closed()
    assert (await room.ask("GET", "/healthz", None))[0] == 200
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_fault_of_ours_is_logged_and_not_shown(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    room.fleet.known["x"] = None  # type: ignore[assignment] # a fault
    status, body = await room.ask("GET", "/api/v1/devices/x?", headers={"Accept": "text/html"})
    assert status == 500
    assert "Traceback" not in str(body)
    assert any(record.name == "gateway.console.http" for record in caplog.records)


async def test_a_taken_port_is_told_with_its_address(room: Room, open_room: OpenRoom) -> None:
    taken = room.console.address
    assert taken is not None
    with pytest.raises(CannotListen, match=rf"cannot listen on 127.0.0.1:{taken.port}: "):
        async with open_room(listen=taken):
            pass


async def test_a_taken_metrics_port_leaves_no_console_behind(
    room: Room, open_room: OpenRoom
) -> None:
    with pytest.raises(CannotListen):
        async with open_room(metrics=room.console.address):
            pass
    assert (await room.ask("GET", "/healthz", None))[0] == 200


async def test_a_certificate_that_is_none_is_told(open_room: OpenRoom, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("no certificate")
    with pytest.raises(CannotListen, match="certificate"):
        async with open_room(cert_file=tmp_path / "cert.pem", key_file=tmp_path / "cert.pem"):
            pass


async def test_accounts_that_cannot_be_read_stop_the_start(
    open_room: OpenRoom, tmp_path: Path
) -> None:
    (tmp_path / "users.json").write_text("{")
    (tmp_path / "users.json").chmod(0o600)
    with pytest.raises(ConfigError, match=r"users\.json"):
        async with open_room():
            pass


async def test_a_console_can_be_started_again(room: Room) -> None:
    console: Console = room.console
    (serving,) = (task for task in asyncio.all_tasks() if task.get_name() == "console")
    serving.cancel()
    await asyncio.wait((serving,))
    again = asyncio.create_task(console.run(), name="console again")
    try:
        async with asyncio.timeout(10):
            await console.serving()
        assert (await room.ask("GET", "/healthz", None))[0] == 200
        headers = {"Authorization": "Bearer admin-token-of-a-test"}
        async with room.http.get(f"{room.url}/api/v1/live", headers=headers) as answer:
            assert (await answer.content.readline()).startswith(b"event: beat")
    finally:
        again.cancel()
        await asyncio.wait((again,))


async def test_before_it_listens_it_has_no_address(open_room: OpenRoom, tmp_path: Path) -> None:
    room = Room(tmp_path, 1, 1)
    assert room.console.address is None
    with pytest.raises(CannotListen, match="does not listen yet"):
        _ = room.url


async def test_an_ipv6_address_is_written_as_browsers_read_it(open_room: OpenRoom) -> None:
    async with open_room(listen=Listen(host="::1", port=0)) as room:
        assert room.url.startswith("http://[::1]:")
        assert (await room.ask("GET", "/healthz", None))[0] == 200


def test_on_uvloop_it_serves_streams_and_stops(tmp_path: Path) -> None:
    async def whole_life() -> str:
        room = Room(tmp_path, 1, 1)
        serving = asyncio.create_task(room.console.run())
        await asyncio.wait_for(room.console.serving(), 10)
        headers = {"Authorization": "Bearer admin-token-of-a-test"}
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{room.url}/api/v1/live", headers=headers) as answer,
        ):
            await answer.content.readuntil(b"\r\n\r\n")
            room.desk.raise_(make_alarm(1))
            event = await answer.content.readline()
            serving.cancel()
            await asyncio.wait((serving,), timeout=5)
            assert serving.cancelled()
            return event.decode()

    assert uvloop.run(whole_life()) == "event: alarm\r\n"
