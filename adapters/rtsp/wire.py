"""RTSP 1.0 on the wire (RFC 2326): requests out, answers in, one after the other.

Nothing of the camera is trusted: sizes are capped here, total time by the caller's deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Self

from msgspec import Struct

from adapters.address import Address
from adapters.hosts import HungUp, connect, fault_of, hang_up
from gateway.errors import DeviceFault
from gateway.model import Reason

MAX_HEADERS = 64
MAX_HEADER_BYTES = 16 * 1024
MAX_BODY_BYTES = 64 * 1024
"""Ten times the longest session description seen."""


class Response(Struct, frozen=True, kw_only=True):
    """An answer: header names in lower case, each with all its values; folded lines are joined."""

    status: int
    phrase: str
    headers: Mapping[str, Sequence[str]]
    body: bytes

    def header(self, name: str) -> str:
        """The first value of a header, empty where it is missing."""
        return next(iter(self.headers.get(name, ())), "")


class RtspConnection:
    """An open connection; whoever opened it closes it."""

    def __init__(
        self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._address = address
        self._reader = reader
        self._writer = writer
        self._sequence = 0

    @classmethod
    async def open(cls, address: Address, timeout_s: float) -> Self:
        """Raises DeviceFault."""
        return cls(address, *await connect(address, timeout_s))

    async def close(self) -> None:
        await hang_up(self._writer)

    async def request(self, method: str, headers: Mapping[str, str]) -> Response:
        """The answer to one request for the connection's address. Raises DeviceFault."""
        self._sequence += 1
        lines = [
            f"{method} {self._address.url} RTSP/1.0",
            f"CSeq: {self._sequence}",
            "User-Agent: Kuzet",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        try:
            self._writer.write("\r\n".join([*lines, "", ""]).encode())
            await self._writer.drain()
            return await read_response(self._reader)
        except (ConnectionError, EOFError) as error:
            raise HungUp("RTSP") from error
        except OSError as error:
            raise fault_of(error, self._address) from error


async def read_response(reader: asyncio.StreamReader) -> Response:
    """Reads one answer. Raises DeviceFault (protocol_error) where it is none or too large,
    EOFError where the connection ends within it."""
    line = await _line(reader)
    if not line.strip():  # some send an empty line too many after a body
        line = await _line(reader)
    version, _, rest = line.partition(" ")
    status, _, phrase = rest.strip().partition(" ")
    if not version.startswith("RTSP/") or len(status) != 3 or _length(status) is None:
        raise DeviceFault(Reason.PROTOCOL_ERROR, f"not RTSP: {line[:40]!r}")
    headers = await _headers(reader)
    length = _length(headers.get("content-length", ["0"])[0])
    if length is None or length > MAX_BODY_BYTES:
        detail = f"RTSP: the answer's length is absurd; at most {MAX_BODY_BYTES} bytes are read"
        raise DeviceFault(Reason.PROTOCOL_ERROR, detail)
    body = await reader.readexactly(length)
    return Response(status=int(status), phrase=phrase[:80], headers=headers, body=body)


async def _headers(reader: asyncio.StreamReader) -> dict[str, list[str]]:
    headers: dict[str, list[str]] = {}
    values: list[str] = []
    size = 0
    while line := await _line(reader):
        size += len(line)
        if size > MAX_HEADER_BYTES or len(headers) > MAX_HEADERS:
            raise DeviceFault(Reason.PROTOCOL_ERROR, "RTSP: endless headers")
        if line[0] in " \t" and values:  # folded, as an AXIS does
            values[-1] = f"{values[-1]} {line.strip()}"
            continue
        name, _, value = line.partition(":")
        values = headers.setdefault(name.strip().lower(), [])
        values.append(value.strip())
    return headers


async def _line(reader: asyncio.StreamReader) -> str:
    """One line without its end. EOFError at the end of the connection."""
    try:
        line = await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError as error:
        raise DeviceFault(Reason.PROTOCOL_ERROR, "RTSP: an endless line") from error
    return line.decode("utf-8", "replace").rstrip("\r\n")


def _length(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
