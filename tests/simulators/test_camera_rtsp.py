"""The simulated camera's stream: as FFmpeg sees it, and packet by packet."""

from __future__ import annotations

import asyncio
import json
import struct
from itertools import pairwise
from typing import Any

import pytest

from simulators.camera import PASSWORD, Scheme, SimulatedCamera
from tests.peers import require, until
from tests.simulators.rtsp_client import exchange, rtsp

TCP = "RTP/AVP/TCP;unicast;interleaved=0-1"


async def test_ffprobe_sees_the_picture() -> None:
    probe = require("ffprobe")
    async with SimulatedCamera() as camera:
        seen = await _ffprobe(probe, camera, PASSWORD)
        (stream,) = seen["streams"]
        assert stream["codec_name"] == "h264"
        assert (stream["width"], stream["height"]) == (640, 360)
        assert stream["avg_frame_rate"] == "12/1"
        assert camera.account.wrong_tries == 0


async def test_ffmpeg_decodes_over_the_loop_without_an_error() -> None:
    ffmpeg = require("ffmpeg")
    async with SimulatedCamera() as camera:
        address = camera.rtsp_url.replace("//", f"//admin:{PASSWORD}@")
        process = await asyncio.create_subprocess_exec(
            *(ffmpeg, "-v", "warning", "-rtsp_transport", "tcp", "-i", address),
            *("-frames:v", "50", "-f", "null", "-"),
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            _, complaints = await process.communicate()
        assert process.returncode == 0
        assert complaints == b""


async def test_ffprobe_with_a_wrong_password_is_refused() -> None:
    probe = require("ffprobe")
    async with SimulatedCamera() as camera:
        with pytest.raises(ValueError, match="401"):
            await _ffprobe(probe, camera, "guessed")
        assert camera.account.wrong_tries == 1


async def test_a_camera_of_sha_256_alone_does_not_offer_md5() -> None:
    async with SimulatedCamera(schemes=(Scheme.DIGEST_SHA_256,)) as camera:
        answer = await rtsp(camera, "DESCRIBE")
        assert answer.status == 401
        assert "algorithm=SHA-256" in answer.headers["www-authenticate"]
        assert (await rtsp(camera, "DESCRIBE", password=PASSWORD)).status == 401


async def test_packets_are_numbered_and_fragments_make_whole_units() -> None:
    async with SimulatedCamera(username=None) as camera:
        reader, writer = await asyncio.open_connection(camera.host, camera.rtsp_port)
        async with asyncio.timeout(20):
            track = f"{camera.rtsp_url}/trackID=1"
            answer = await exchange(reader, writer, "SETUP", track, {"Transport": TCP})
            session = {"Session": answer.headers["session"].partition(";")[0]}
            answer = await exchange(reader, writer, "PLAY", camera.rtsp_url, session)
            first_sequence = int(answer.headers["rtp-info"].split("seq=")[1].split(";")[0])
            packets = [await _rtp(reader) for _ in range(200)]
        writer.close()
        await until(lambda: camera.viewers == 0)

    sequences = [struct.unpack("!H", packet[2:4])[0] for packet in packets]
    assert sequences == [(first_sequence + n) & 0xFFFF for n in range(200)]
    assert max(len(packet) for packet in packets) <= 1412
    ticks = [struct.unpack("!I", packet[4:8])[0] for packet in packets]
    assert {(b - a) & 0xFFFF_FFFF for a, b in pairwise(ticks)} == {0, 7500}
    assert packets[0][12] & 0x1F == 24, "a stream begins with its parameter sets"
    # The marker stands on the last packet of each picture, and only there (RFC 6184, 5.1).
    for packet, following in pairwise(packets):
        assert bool(packet[1] & 0x80) == (packet[4:8] != following[4:8])
    assert _unbalanced_fragments(packets) == 0


async def test_udp_is_not_offered() -> None:
    async with SimulatedCamera(username=None) as camera:
        udp = {"Transport": "RTP/AVP;unicast;client_port=5000-5001"}
        assert (await rtsp(camera, "SETUP", headers=udp)).status == 461


async def test_play_without_a_session_is_refused() -> None:
    async with SimulatedCamera(username=None) as camera:
        assert (await rtsp(camera, "PLAY")).status == 454
        assert (await rtsp(camera, "RECORD")).status == 501


async def _ffprobe(probe: str, camera: SimulatedCamera, password: str) -> dict[str, Any]:
    address = camera.rtsp_url.replace("//", f"//admin:{password}@")
    process = await asyncio.create_subprocess_exec(
        *(probe, "-v", "error", "-rtsp_transport", "tcp", "-of", "json", "-show_streams", address),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        told, complaints = await process.communicate()
    if process.returncode:
        raise ValueError(complaints.decode())
    seen: dict[str, Any] = json.loads(told)
    return seen


async def _rtp(reader: asyncio.StreamReader) -> bytes:
    """The next packet of channel 0; reports on channel 1 are passed over."""
    while True:
        sign, channel, size = struct.unpack("!cBH", await reader.readexactly(4))
        assert sign == b"$"
        packet = await reader.readexactly(size)
        if channel == 0:
            return packet


def _unbalanced_fragments(packets: list[bytes]) -> int:
    """Fragments out of place: each unit begins once, ends once, in this order."""
    is_open, wrong = False, 0
    for packet in packets:
        if packet[12] & 0x1F != 28:
            wrong += is_open
            continue
        begins, ends = bool(packet[13] & 0x80), bool(packet[13] & 0x40)
        wrong += begins == is_open
        is_open = not ends
    return wrong
