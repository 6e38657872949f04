"""Cameras by hand, byte for byte: servers on port 0 that say what a test tells them to say."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

DRIP_S = 0.5
DRIPS = 20
"""A byte every half second, for ten seconds at most."""


class Server:
    """A TCP server on the loopback; counts its connections, and how many were open at once."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.open = 0
        self.most_open = 0


@asynccontextmanager
async def serving(
    behaviour: Behaviour, *, tls: tuple[Path, Path] | None = None
) -> AsyncIterator[Server]:
    """Serves every connection by `behaviour`; at the end cuts those that are left."""
    told = Server()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.connections += 1
        told.open += 1
        told.most_open = max(told.most_open, told.open)
        try:
            await behaviour(reader, writer)
        except (ConnectionError, EOFError):
            return
        finally:
            told.open -= 1
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    context = None
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    told.port = server.sockets[0].getsockname()[1]
    try:
        yield told
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accepts and never says anything, until the client goes."""
    while await reader.read(4096):
        pass


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A byte of a sound answer every half second."""
    await reader.readuntil(b"\r\n\r\n")
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"[:DRIPS]:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(DRIP_S)


def saying(answer: bytes) -> Behaviour:
    """Answers whatever comes with the same bytes, and hangs up."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(answer)
        await writer.drain()

    return say


# --- HTTP and SOAP -------------------------------------------------------------------------------


class Request:
    """One request as it came."""

    def __init__(self, head: str, body: bytes) -> None:
        line, _, rest = head.partition("\r\n")
        self.method, self.path, _ = line.split(" ", 2)
        self.headers: Mapping[str, str] = {
            name.strip().lower(): value.strip()
            for name, _, value in (one.partition(":") for one in rest.split("\r\n"))
        }
        self.body = body.decode()

    @property
    def operation(self) -> str:
        """The name of the first element of the SOAP Body."""
        found = re.search(r"<s:Body><(\w+)", self.body)
        assert found is not None, self.body
        return found[1]

    @property
    def has_token(self) -> bool:
        return "UsernameToken" in self.body


async def read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip("\r\n")
    length = re.search(r"(?i)^content-length: (\d+)", head, re.MULTILINE)
    return Request(head, await reader.readexactly(int(length[1]) if length else 0))


Reply = tuple[int, Mapping[str, str], bytes]


class FakeOnvif:
    """An ONVIF device: `answers` by the name of the operation, or a `judge` that decides first.

    Addresses that it reports name `reported`, a host that must never be asked.
    """

    def __init__(self, *, reported: str = "203.0.113.7", keep_alive: bool = True) -> None:
        self.answers: dict[str, Reply] = {}
        self.judges: list[Callable[[Request], Reply | None]] = []
        self.requests: list[Request] = []
        self.keep_alive = keep_alive
        self.reported = reported
        self.media_port = 0
        self.rtsp_port = 554
        self.clock = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")

    @property
    def asked(self) -> list[str]:
        return [request.operation for request in self.requests]

    async def behave(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.media_port:
            self.media_port = writer.get_extra_info("sockname")[1]
        while True:
            request = await read_request(reader)
            self.requests.append(request)
            status, headers, body = self._reply(request)
            lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await writer.drain()
            if not self.keep_alive:
                return

    def _reply(self, request: Request) -> Reply:
        for judge in self.judges:
            reply = judge(request)
            if reply is not None:
                return reply
        if request.operation in self.answers:
            return self.answers[request.operation]
        return 200, {}, soap(self.usual(request.operation))

    def usual(self, operation: str) -> str:
        """What a sound camera with one profile answers."""
        if operation == "GetSystemDateAndTime":
            return date_and_time(self.clock)
        if operation == "GetDeviceInformation":
            return (
                '<tds:GetDeviceInformationResponse xmlns:tds="http://www.onvif.org/ver10/device/wsdl">'
                "<tds:Manufacturer>Maker</tds:Manufacturer><tds:Model>Model\n</tds:Model>"
                "<tds:FirmwareVersion>1.2</tds:FirmwareVersion>"
                "<tds:SerialNumber>S</tds:SerialNumber></tds:GetDeviceInformationResponse>"
            )
        if operation == "GetServices":
            return services(**{MEDIA: f"http://{self.reported}:{self.media_port}/onvif/Media"})
        if operation == "GetProfiles":
            return profiles(("main", "source-1", "H264"))
        if operation == "GetStreamUri":
            return stream_uri(f"rtsp://{self.reported}:{self.rtsp_port}/live?channel=1")
        raise AssertionError(f"nobody should ask for {operation}")


MEDIA = "http://www.onvif.org/ver10/media/wsdl"
MEDIA2 = "http://www.onvif.org/ver20/media/wsdl"


def soap(content: str) -> bytes:
    return (
        '<?xml version="1.0"?><e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope" '
        f'xmlns:tt="http://www.onvif.org/ver10/schema"><e:Body>{content}</e:Body></e:Envelope>'
    ).encode()


def fault(subcode: str, text: str) -> bytes:
    return soap(
        "<e:Fault><e:Code><e:Value>e:Sender</e:Value><e:Subcode><e:Value>"
        f"ter:{subcode}</e:Value></e:Subcode></e:Code>"
        f"<e:Reason><e:Text>{text}</e:Text></e:Reason></e:Fault>"
    )


def date_and_time(text: str) -> str:
    """`2026-11-22 08:00:00` as a UTCDateTime."""
    year, month, day, hour, minute, second = re.split(r"[- :]", text)
    return (
        '<GetSystemDateAndTimeResponse xmlns="http://www.onvif.org/ver10/device/wsdl">'
        "<SystemDateAndTime><tt:UTCDateTime>"
        f"<tt:Time><tt:Hour>{hour}</tt:Hour><tt:Minute>{minute}</tt:Minute>"
        f"<tt:Second>{second}</tt:Second></tt:Time>"
        f"<tt:Date><tt:Year>{year}</tt:Year><tt:Month>{month}</tt:Month>"
        f"<tt:Day>{day}</tt:Day></tt:Date></tt:UTCDateTime></SystemDateAndTime>"
        "</GetSystemDateAndTimeResponse>"
    )


def services(**xaddrs: str) -> str:
    """An answer to GetServices with address by namespace, in the order given."""
    listed = "".join(
        f"<Service><Namespace>{namespace}</Namespace><XAddr>{xaddr}</XAddr></Service>"
        for namespace, xaddr in xaddrs.items()
    )
    wsdl = "http://www.onvif.org/ver10/device/wsdl"
    return f'<GetServicesResponse xmlns="{wsdl}">{listed}</GetServicesResponse>'


def profiles(*listed: tuple[str, str, str]) -> str:
    """An answer to GetProfiles of (token, source, encoding); an empty encoding: no encoder."""
    text = ""
    for token, source, encoding in listed:
        encoder = f"<tt:Encoding>{encoding}</tt:Encoding>"
        text += (
            f'<Profiles token="{token}"><tt:Name>{token}</tt:Name><tt:VideoSourceConfiguration>'
            f"<tt:SourceToken>{source}</tt:SourceToken></tt:VideoSourceConfiguration>"
        )
        if encoding:
            text += f"<tt:VideoEncoderConfiguration>{encoder}</tt:VideoEncoderConfiguration>"
        text += "</Profiles>"
    return f'<GetProfilesResponse xmlns="{MEDIA}">{text}</GetProfilesResponse>'


def stream_uri(uri: str) -> str:
    uri = uri.replace("&", "&amp;")
    return (
        f'<GetStreamUriResponse xmlns="{MEDIA}"><MediaUri><tt:Uri>{uri}</tt:Uri></MediaUri>'
        "</GetStreamUriResponse>"
    )


class DigestDoor:
    """Lets in who answers its challenge, the plain way of RFC 2069; with `once` each nonce serves
    for one request, as Dahua's do."""

    def __init__(
        self,
        username: str,
        password: str,
        *,
        extra: str = "",
        once: bool = False,
        open_to: tuple[str, ...] = ("GetSystemDateAndTime",),
    ) -> None:
        self._secret = username, password
        self._extra = extra
        self._open_to = open_to
        self._once = once
        self._used = False
        self._nonces = 0
        self.tries = 0

    def challenge(self) -> str:
        self._nonces += 1
        self._used = False
        return f'Digest realm="camera", nonce="n{self._nonces}"{self._extra}'

    def admits(self, method: str, authorization: str) -> bool:
        """Whether an Authorization is right for the nonce that was given last."""
        self.tries += 1
        if self._once and self._used:
            return False
        self._used = True
        given: dict[str, str] = dict(re.findall(r'(\w+)="?([^",]+)"?', authorization))
        username, password = self._secret
        ha1 = _md5(f"{username}:camera:{password}")
        ha2 = _md5(f"{method}:{given['uri']}")
        return (
            given["nonce"] == f"n{self._nonces}"
            and given["response"] == _md5(f"{ha1}:{given['nonce']}:{ha2}")
            and given["username"] == username
        )

    def judge(self, request: Request) -> Reply | None:
        if request.operation in self._open_to:
            return None
        authorization = request.headers.get("authorization", "")
        if authorization and self.admits("POST", authorization):
            return None
        return 401, {"WWW-Authenticate": self.challenge()}, b"<html>401</html>"


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


# --- RTSP ----------------------------------------------------------------------------------------

SDP = (
    "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=live\r\nt=0 0\r\na=control:*\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n"
)


def rtsp(status: str, body: str = "", **headers: str) -> bytes:
    """An answer whose CSeq is filled in by `FakeRtsp`."""
    lines = [f"RTSP/1.0 {status}", "CSeq: {cseq}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body.encode())}")
    return "\r\n".join([*lines, "", ""]).encode() + body.encode()


class FakeRtsp:
    """A stream: `script` gives the answer to each request; without one, OPTIONS and DESCRIBE are
    answered as a sound camera does."""

    def __init__(self, script: Callable[[Request], bytes | None] | None = None) -> None:
        self._script = script or (lambda _: None)
        self.requests: list[Request] = []
        self.hang_up_after: int | None = None

    @property
    def asked(self) -> list[str]:
        return [request.method for request in self.requests]

    async def behave(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served = 0
        while served != self.hang_up_after:
            request = await read_request(reader)
            self.requests.append(request)
            answer = self._script(request) or self._usual(request)
            writer.write(answer.replace(b"{cseq}", request.headers["cseq"].encode()))
            await writer.drain()
            served += 1

    @staticmethod
    def _usual(request: Request) -> bytes:
        if request.method == "OPTIONS":
            return rtsp("200 OK", Public="OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
        return rtsp("200 OK", SDP, Content_Type="application/sdp")


def guarded(door: DigestDoor) -> Callable[[Request], bytes | None]:
    """A script that asks for a digest at DESCRIBE."""

    def script(request: Request) -> bytes | None:
        if request.method == "OPTIONS":
            return None
        authorization = request.headers.get("authorization", "")
        if authorization and door.admits(request.method, authorization):
            return None
        return rtsp("401 Unauthorized", WWW_Authenticate=door.challenge())

    return script
