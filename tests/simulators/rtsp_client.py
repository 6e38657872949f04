"""One RTSP request on a connection of its own, by hand; with digest where a password is given."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from typing import NamedTuple

from simulators.camera import SimulatedCamera


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


async def rtsp(
    camera: SimulatedCamera,
    method: str,
    *,
    password: str = "",
    patience_s: float = 5.0,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    async with asyncio.timeout(patience_s):
        reader, writer = await asyncio.open_connection(camera.host, camera.rtsp_port)
        try:
            answer = await exchange(reader, writer, method, camera.rtsp_url, headers or {})
            if answer.status == 401 and password:
                proof = {"Authorization": _proof(answer, method, camera.rtsp_url, password)}
                answer = await exchange(reader, writer, method, camera.rtsp_url, proof)
        finally:
            writer.close()
    return answer


async def exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    method: str,
    url: str,
    headers: Mapping[str, str],
) -> Answer:
    lines = [f"{method} {url} RTSP/1.0", "CSeq: 1", *(f"{k}: {v}" for k, v in headers.items())]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    said = {}
    for line in head[1:]:
        name, _, value = line.partition(": ")
        said[name.lower()] = value  # of two challenges the last stays: MD5
    body = await reader.readexactly(int(said.get("content-length", "0")))
    return Answer(int(head[0].split()[1]), said, body)


def _proof(answer: Answer, method: str, url: str, password: str) -> str:
    challenge = answer.headers["www-authenticate"]
    realm, nonce = (re.search(f'{name}="([^"]*)"', challenge) for name in ("realm", "nonce"))
    assert realm is not None
    assert nonce is not None

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()  # noqa: S324 -- RFC 2069

    response = md5(f"{md5(f'admin:{realm[1]}:{password}')}:{nonce[1]}:{md5(f'{method}:{url}')}")
    return (
        f'Digest username="admin", realm="{realm[1]}", nonce="{nonce[1]}", uri="{url}", '
        f'response="{response}"'
    )
