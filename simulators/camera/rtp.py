"""H.264 over RTP (RFC 6184, packetization mode 1): pictures cut into packets, once for all."""

from __future__ import annotations

import base64
import secrets
import struct
import time
from collections.abc import Iterator, Sequence
from functools import cache

from simulators.camera.clip import FRAMES_PER_S, Clip

PAYLOAD_TYPE = 96
CLOCK_HZ = 90_000
FRAME_TICKS = CLOCK_HZ // FRAMES_PER_S

PAYLOAD_LIMIT = 1400
"""Bytes of payload a packet: below the MTU of 1500 with every header."""

_STAP_A = 24
_FU_A = 28
_PARAMETER_SETS = (7, 8)

_NTP_EPOCH_S = 2_208_988_800
"""From 1900, where NTP begins, to 1970."""


def sdp(clip: Clip, *, host: str, session: int) -> str:
    """The description of the stream (RFC 8866), parameter sets included."""
    sets = ",".join(base64.b64encode(unit).decode() for unit in (clip.sps, clip.pps))
    profile = clip.sps[1:4].hex().upper()
    parameters = f"packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={sets}"
    lines = (
        "v=0",
        f"o=- {session} 1 IN IP4 {host}",
        "s=Media Presentation",
        "c=IN IP4 0.0.0.0",
        "t=0 0",
        "a=control:*",
        "a=range:npt=0-",
        f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
        f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK_HZ}",
        f"a=fmtp:{PAYLOAD_TYPE} {parameters}",
        f"a=framerate:{FRAMES_PER_S}",
        "a=control:trackID=1",
    )
    return "\r\n".join(lines) + "\r\n"


@cache
def payloads(clip: Clip) -> tuple[tuple[bytes, ...], ...]:
    """The RTP payloads of each picture of the clip."""
    return tuple(tuple(_payloads(frame)) for frame in clip.frames)


def _payloads(frame: Sequence[bytes]) -> Iterator[bytes]:
    sets = [unit for unit in frame if unit[0] & 0x1F in _PARAMETER_SETS]
    if sets:
        yield _aggregated(sets)
    for unit in frame:
        if unit in sets:
            continue
        if len(unit) <= PAYLOAD_LIMIT:
            yield unit
        else:
            yield from _fragments(unit)


def _aggregated(units: Sequence[bytes]) -> bytes:
    """One STAP-A (5.7.1): several small units in one packet."""
    importance = max(unit[0] & 0x60 for unit in units)
    parts = b"".join(struct.pack("!H", len(unit)) + unit for unit in units)
    return bytes((importance | _STAP_A,)) + parts


def _fragments(unit: bytes) -> Iterator[bytes]:
    """FU-A (5.8): one large unit in several packets."""
    indicator = unit[0] & 0xE0 | _FU_A
    kind = unit[0] & 0x1F
    size = PAYLOAD_LIMIT - 2
    for start in range(1, len(unit), size):
        first, last = start == 1, start + size >= len(unit)
        header = first << 7 | last << 6 | kind
        yield bytes((indicator, header)) + unit[start : start + size]


class Sender:
    """The numbering of one RTP stream: sequence, time stamps that run on over the clip's loops."""

    def __init__(self) -> None:
        self.ssrc = secrets.randbits(32)
        self.sequence = secrets.randbits(16)
        self.timestamp = secrets.randbits(32)
        self._packets = 0
        self._octets = 0

    def picture(self, parts: Sequence[bytes]) -> Iterator[bytes]:
        """The RTP packets (RFC 3550, 5.1) of one picture; then the clock is a picture further."""
        for index, part in enumerate(parts):
            marker = 0x80 if index == len(parts) - 1 else 0
            yield (
                struct.pack(
                    "!BBHII",
                    0x80,
                    marker | PAYLOAD_TYPE,
                    self.sequence,
                    self.timestamp,
                    self.ssrc,
                )
                + part
            )
            self.sequence = (self.sequence + 1) & 0xFFFF
            self._packets += 1
            self._octets += len(part)
        self.timestamp = (self.timestamp + FRAME_TICKS) & 0xFFFF_FFFF

    def report(self) -> bytes:
        """An RTCP sender report (RFC 3550, 6.4.1): which wall clock the time stamps mean."""
        now = time.time() + _NTP_EPOCH_S
        seconds = int(now)
        return struct.pack(
            "!BBHIIIIII",
            0x80,
            200,
            6,
            self.ssrc,
            seconds & 0xFFFF_FFFF,
            int((now - seconds) * 2**32),
            self.timestamp,
            self._packets & 0xFFFF_FFFF,
            self._octets & 0xFFFF_FFFF,
        )
