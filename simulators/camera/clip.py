"""The moving picture that every simulated camera shows: real H.264, encoded once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from fractions import Fraction
from functools import cache

import av
import av.filter
from av.video.frame import PictureType, VideoFrame
from msgspec import Struct

WIDTH = 640
HEIGHT = 360
FRAMES_PER_S = 12
LOOP_S = 3
FRAMES_PER_GROUP = FRAMES_PER_S
"""A key frame each second: a client that joins sees a picture at once."""

_NAL_SPS = 7
_NAL_PPS = 8


class Clip(Struct, frozen=True, kw_only=True):
    """`frames`: one tuple of NAL units (RFC 6184 sense: without start codes) for each picture;
    the first is a key frame with its parameter sets. `jpeg`: the first picture as a still."""

    frames: tuple[tuple[bytes, ...], ...]
    sps: bytes
    pps: bytes
    jpeg: bytes


async def load() -> Clip:
    """The clip; encoded in a thread the first time that a camera is looked at (about 0.2 s)."""
    return await asyncio.to_thread(_clip_once)


_encoding = threading.Lock()


def _clip_once() -> Clip:
    # A hundred cameras may be looked at in the same moment: one encodes, the others wait.
    with _encoding:
        return _clip()


@cache
def _clip() -> Clip:
    pictures = _pictures()
    frames = _encoded(pictures)
    kinds = {nal[0] & 0x1F: nal for nal in frames[0]}
    return Clip(
        frames=tuple(frames), sps=kinds[_NAL_SPS], pps=kinds[_NAL_PPS], jpeg=_still(pictures[0])
    )


def _pictures() -> list[VideoFrame]:
    """FFmpeg's second test pattern: bars, moving lines, a running time stamp."""
    graph = av.filter.Graph()
    source = graph.add("testsrc2", f"size={WIDTH}x{HEIGHT}:rate={FRAMES_PER_S}:duration={LOOP_S}")
    pixels = graph.add("format", "yuv420p")
    sink = graph.add("buffersink")
    source.link_to(pixels)
    pixels.link_to(sink)
    graph.configure()
    pictures: list[VideoFrame] = []
    while True:
        try:
            picture = graph.vpull()
        except av.EOFError:
            return pictures
        # The source calls every picture a key frame, and the encoder would believe it.
        picture.pict_type = PictureType.NONE
        pictures.append(picture)


def _encoded(pictures: Sequence[VideoFrame]) -> list[tuple[bytes, ...]]:
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)  # noqa: S101 -- narrows the type
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.time_base = Fraction(1, FRAMES_PER_S)
    encoder.framerate = Fraction(FRAMES_PER_S)
    encoder.gop_size = FRAMES_PER_GROUP
    encoder.max_b_frames = 0
    encoder.thread_count = 1
    # One slice a picture and parameter sets before each key frame, as cameras send.
    encoder.options = {
        "preset": "veryfast",
        "profile": "baseline",
        "tune": "zerolatency",
        "crf": "28",
        "x264-params": f"scenecut=0:keyint={FRAMES_PER_GROUP}:repeat-headers=1",
    }
    packets = [packet for picture in pictures for packet in encoder.encode(picture)]
    packets += encoder.encode(None)
    return [tuple(_nal_units(bytes(packet))) for packet in packets]


def _nal_units(annex_b: bytes) -> list[bytes]:
    """Splits a byte stream at its start codes (H.264, Annex B)."""
    return [unit.rstrip(b"\0") for unit in annex_b.split(b"\0\0\1") if unit.rstrip(b"\0")]


def _still(picture: VideoFrame) -> bytes:
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, av.VideoCodecContext)  # noqa: S101 -- narrows the type
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
    encoder.time_base = Fraction(1, FRAMES_PER_S)
    return bytes(encoder.encode(picture.reformat(format="yuvj420p"))[0])
