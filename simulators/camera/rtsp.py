"""The camera's RTSP server (RFC 2326): one live stream, over the RTSP connection itself."""

from __future__ import annotations

import asyncio
import secrets
import struct
from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec import Struct

from simulators.camera import clip, rtp
from simulators.camera.account import Verdict
from simulators.camera.faults import Fault
from simulators.camera.state import CameraState
from simulators.port import Port

STREAM_PATH = "/Streaming/Channels/101"
SESSION_TIMEOUT_S = 60
REPORT_EVERY_S = 5.0

_HEAD_LIMIT = 16_384
_BODY_LIMIT = 65_536
_METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, SET_PARAMETER, TEARDOWN"
_PHRASES = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    454: "Session Not Found",
    461: "Unsupported Transport",
    501: "Not Implemented",
}


class Request(Struct, frozen=True, kw_only=True):
    """One request; header names in lower case."""

    method: str
    url: str
    headers: Mapping[str, str]


class Answer(Struct, frozen=True, kw_only=True):
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class RtspServer:
    """Serves the clip to any number of clients. Without clients it costs one listening socket."""

    def __init__(self, state: CameraState, port: Port) -> None:
        self._state = state
        self._port = port
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def clients(self) -> int:
        return len(self._connections)

    async def open(self) -> None:
        await self._port.open(self._protocol)

    async def close(self) -> None:
        """Refuses connections, and cuts those that are open."""
        self._port.close()
        await self.cut()

    async def cut(self) -> None:
        """Cuts every open connection."""
        connections = list(self._connections)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        reader = asyncio.StreamReader(limit=_HEAD_LIMIT)
        return asyncio.StreamReaderProtocol(reader, self._connected)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self._state, reader, writer)
        task = asyncio.create_task(connection.run(), name=f"rtsp {self._port.host}")
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)


class _Connection:
    """One client's connection: its requests, and its stream between the answers."""

    def __init__(
        self, state: CameraState, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._state = state
        self._reader = reader
        self._writer = writer
        self._session = ""
        self._channel: int | None = None
        self._stream: asyncio.Task[None] | None = None

    async def run(self) -> None:
        try:
            while True:
                async with asyncio.timeout(SESSION_TIMEOUT_S + 5):
                    request = await self._request()
                await self._state.hesitate()
                if request is None:
                    self._send(Answer(status=400), cseq=None)
                    break
                self._send(await self._answer(request), cseq=request.headers.get("cseq"))
                await self._writer.drain()
                if request.method == "TEARDOWN":
                    break
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # the client went away, or should have
        except asyncio.CancelledError:
            self._writer.transport.abort()
            raise
        finally:
            await self._stop()
            self._writer.close()

    async def _request(self) -> Request | None:
        """The next request; None when it cannot be read. RTCP from the client is passed over."""
        while (first := await self._reader.readexactly(1)) == b"$":
            _, size = struct.unpack("!BH", await self._reader.readexactly(3))
            await self._reader.readexactly(size)
        head = first + await self._reader.readuntil(b"\r\n\r\n")
        start, *lines = head.decode("latin-1").strip().split("\r\n")
        words = start.split()
        if len(words) != 3 or not words[2].startswith("RTSP/"):
            return None
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > _BODY_LIMIT:
            return None
        await self._reader.readexactly(int(length))
        return Request(method=words[0].upper(), url=words[1], headers=headers)

    def _send(self, answer: Answer, *, cseq: str | None) -> None:
        lines = [f"RTSP/1.0 {answer.status} {_PHRASES[answer.status]}"]
        if cseq is not None:
            lines.append(f"CSeq: {cseq}")
        lines += [f"{name}: {value}" for name, value in answer.headers]
        if answer.body:
            lines.append(f"Content-Length: {len(answer.body)}")
        self._writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + answer.body)

    async def _answer(self, request: Request) -> Answer:
        if request.method == "OPTIONS":
            return Answer(status=200, headers=(("Public", _METHODS),))
        verdict = self._state.account.judge_digest(
            request.headers.get("authorization"), request.method
        )
        if verdict is not Verdict.GRANTED:
            values = self._state.account.challenges(qop=False, stale=verdict is Verdict.STALE)
            return Answer(
                status=401, headers=tuple(("WWW-Authenticate", value) for value in values)
            )
        match request.method:
            case "DESCRIBE":
                return await self._describe(request)
            case "SETUP":
                return self._set_up(request)
            case "PLAY":
                return await self._play(request)
            case "PAUSE" | "TEARDOWN":
                await self._stop()
                return self._in_session(request)
            case "GET_PARAMETER" | "SET_PARAMETER":
                return self._in_session(request) if self._session else Answer(status=200)
        return Answer(status=501)

    async def _describe(self, request: Request) -> Answer:
        if not self._exists(request):
            return Answer(status=404)
        host = self._state.rtsp_address.partition(":")[0]
        body = rtp.sdp(await clip.load(), host=host, session=secrets.randbits(31)).encode()
        base = request.url.partition("?")[0].rstrip("/") + "/"
        return Answer(
            status=200,
            headers=(("Content-Type", "application/sdp"), ("Content-Base", base)),
            body=body,
        )

    def _exists(self, request: Request) -> bool:
        path = urlsplit(request.url).path
        return path.startswith(STREAM_PATH) and Fault.STREAM_404 not in self._state.faults

    def _set_up(self, request: Request) -> Answer:
        if not self._exists(request):
            return Answer(status=404)
        channel = _interleaved_channel(request.headers.get("transport", ""))
        if channel is None:
            return Answer(status=461)
        self._channel = channel
        self._session = self._session or f"{secrets.randbits(31):010d}"
        transport = f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}"
        return Answer(
            status=200,
            headers=(
                ("Transport", transport),
                ("Session", f"{self._session};timeout={SESSION_TIMEOUT_S}"),
            ),
        )

    async def _play(self, request: Request) -> Answer:
        answer = self._in_session(request)
        if answer.status != 200 or self._channel is None:
            return answer
        await self._stop()
        sender = rtp.Sender()
        info = f"url={request.url};seq={sender.sequence};rtptime={sender.timestamp}"
        self._stream = asyncio.create_task(
            self._send_pictures(sender, self._channel), name="rtsp stream"
        )
        return Answer(
            status=200, headers=(*answer.headers, ("Range", "npt=0.000-"), ("RTP-Info", info))
        )

    def _in_session(self, request: Request) -> Answer:
        session = request.headers.get("session", "").partition(";")[0].strip()
        if not self._session or session != self._session:
            return Answer(status=454)
        return Answer(status=200, headers=(("Session", self._session),))

    async def _send_pictures(self, sender: rtp.Sender, channel: int) -> None:
        loop = asyncio.get_running_loop()
        pictures = rtp.payloads(await clip.load())
        started = loop.time()
        report_at = started
        shown = 0
        try:
            while True:
                if loop.time() >= report_at:
                    self._frame(channel + 1, sender.report())
                    report_at += REPORT_EVERY_S
                for packet in sender.picture(pictures[shown % len(pictures)]):
                    self._frame(channel, packet)
                await self._writer.drain()
                shown += 1
                await asyncio.sleep(started + shown / clip.FRAMES_PER_S - loop.time())
        except OSError:
            pass  # the client went away; the reading side ends the connection

    def _frame(self, channel: int, packet: bytes) -> None:
        self._writer.write(struct.pack("!cBH", b"$", channel, len(packet)) + packet)

    async def _stop(self) -> None:
        if self._stream is None:
            return
        self._stream.cancel()
        await asyncio.gather(self._stream, return_exceptions=True)
        self._stream = None


def _interleaved_channel(transport: str) -> int | None:
    """The RTP channel of the first TCP transport asked for (RFC 2326, 12.39); None without one."""
    for offer in transport.split(","):
        parts = [part.strip() for part in offer.split(";")]
        if parts[0].upper() != "RTP/AVP/TCP":
            continue
        for part in parts[1:]:
            if part.startswith("interleaved="):
                channel = part.removeprefix("interleaved=").partition("-")[0]
                return int(channel) if channel.isdigit() and int(channel) < 255 else None
        return 0
    return None
