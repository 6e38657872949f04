"""Session descriptions, as the specification and as twenty makers write them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.rtsp.sdp import MAX_MEDIA, SessionDescription, parse
from tests.peers import real_data

BASE = "rtsp://camera/live/"


def read(text: str, base: str = BASE) -> SessionDescription:
    session = parse(text, base)
    assert session is not None
    return session


def test_a_plain_description() -> None:
    session = read(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=live\r\nt=0 0\r\na=control:*\r\n"
        "m=audio 0 RTP/AVP 8\r\na=control:trackID=1\r\n"
        "m=video 0 RTP/AVP 98\r\na=rtpmap:98 H265/90000\r\n"
        "a=fmtp:98 sprop-vps=QAE=; sprop-sps=Qg==\r\na=control:trackID=0\r\n"
    )
    assert session.control == BASE
    audio, video = session.media
    assert (audio.kind, audio.encoding, audio.payload_type) == ("audio", "PCMA", 8)
    assert session.video == video
    assert (video.encoding, video.clock_rate) == ("H265", 90000)
    assert video.parameters == "sprop-vps=QAE=; sprop-sps=Qg=="
    assert video.control == BASE + "trackID=0"


@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize(
    ("session_control", "media_control", "expected"),
    [
        ("*", "trackID=0", "rtsp://camera/live/trackID=0"),
        ("", "trackID=0", "rtsp://camera/live/trackID=0"),
        ("*", "/trackID=0", "rtsp://camera/live/trackID=0"),
        ("*", "rtsp://other/track", "rtsp://other/track"),
        ("rtsp://other/all", "track", "rtsp://other/all/track"),
        ("rtsp://other/all/", "track", "rtsp://other/all/track"),
        ("all", "track", "rtsp://camera/live/all/track"),
        ("rtsp://other/all", "", "rtsp://other/all"),
        ("*", "", BASE),
    ],
)
def test_every_form_of_control_address(
    end: str, session_control: str, media_control: str, expected: str
) -> None:
    """onvif-quirks: `*`, relative, absolute, session level only."""
    lines = ["v=0"]
    lines += [f"a=control:{session_control}"] if session_control else []
    lines += ["m=video 0 RTP/AVP 26"]
    lines += [f"a=control:{media_control}"] if media_control else []
    assert read(end.join([*lines, ""])).media[0].control == expected


def test_a_base_with_a_query_is_appended_to() -> None:
    """onvif-quirks: a control with a query; Dahua's base has one."""
    text = "v=0\na=control:*\nm=video 0 RTP/AVP 26\na=control:trackID=0\n"
    session = read(text, "rtsp://camera/cam/realmonitor?channel=1&proto=Onvif/")
    assert session.media[0].control.endswith("?channel=1&proto=Onvif/trackID=0")


def test_what_is_no_description_is_none() -> None:
    assert parse("", BASE) is None
    assert parse("<html>Sign in</html>", BASE) is None


def test_a_description_without_video_has_none() -> None:
    assert read("v=0\nm=audio 0 RTP/AVP 0\n").video is None


def test_sizes_are_bounded() -> None:
    assert len(read("v=0\n" + "m=video 0 RTP/AVP 96\n" * 999).media) == MAX_MEDIA
    assert read("v=0\n" + "a=x:y\n" * 5_000 + "m=video 0 RTP/AVP 96\n").media == ()


@settings(deadline=None)
@given(st.text(max_size=300), st.text(alphabet="vma=:*/ 0123456789\r\nRTP", max_size=300))
def test_no_text_makes_the_reader_fail(text: str, likely: str) -> None:
    for one in (text, likely, f"v=0\nm={text}\na=rtpmap:{likely}\na=control:{text}"):
        session = parse(one, BASE)
        assert session is None or all(media.control for media in session.media)


# --- recorded ------------------------------------------------------------------------------------


def recorded(path: str, asked: str = "rtsp://camera/asked") -> tuple[str, str]:
    """The description in a file, and its base: its Content-Base, else the address asked for."""
    text = (real_data() / "rtsp" / path).read_bytes().decode("utf-8", "replace")
    base = re.search(r"(?im)^content-base: *(\S+)", text)
    if text.startswith("RTSP/"):
        text = re.split(r"\r?\n\r?\n", text, maxsplit=1)[1]
    return text, base[1] if base else asked


def retina() -> dict[str, Any]:
    file = real_data() / "rtsp" / "retina" / "expected.json"
    files: dict[str, Any] = json.loads(file.read_text())["files"]
    return {name: facts for name, facts in files.items() if "describe" in name or "sdp" in name}


def test_recorded_descriptions_of_retina_s_cameras() -> None:
    files = retina()
    for name, facts in files.items():
        session = read(*recorded(f"retina/{name}", facts.get("request_url", BASE)))
        if "streams" in facts:
            assert len(session.media) == facts["streams"], name
        if "stream0_control" in facts:
            assert session.media[0].control == facts["stream0_control"], name
        if "stream0_control_suffix" in facts:
            assert session.media[0].control.endswith(facts["stream0_control_suffix"]), name
        if "stream0" in facts:
            kind, encoding, *_ = facts["stream0"].split()
            first = session.media[0]
            assert (first.kind, first.encoding.lower()) == (kind, encoding), name
        if "session_control" in facts:
            assert session.control == facts["session_control"], name
        if facts.get("parses"):
            assert session.video is not None, name
    assert len(files) == 13


def test_the_order_of_session_attributes_does_not_matter() -> None:
    one = read(*recorded("retina/reolink_describe.txt"))
    other = read(*recorded("retina/reolink_describe_control_first.txt"))
    assert one.media == other.media


def test_recorded_controls_of_aiortsp() -> None:
    file = real_data() / "rtsp" / "aiortsp" / "digest_and_basic_cases.json"
    cases = json.loads(file.read_text())["control_resolution"]
    for case in cases:
        text = (
            f"v=0\na=control:{case['session_control']}\n"
            f"m=video 0 RTP/AVP 96\na=control:{case['media_control']}\n"
        )
        assert read(text, case["base"]).media[0].control == case["expect"]
    assert len(cases) == 6


def test_recorded_faulty_descriptions_of_go2rtc() -> None:
    file = real_data() / "rtsp" / "go2rtc" / "expected.json"
    for name, facts in json.loads(file.read_text()).items():
        session = read(*recorded(f"go2rtc/{name}"))
        assert session.video is not None, name
        for stated in facts["asserts"]:
            count = re.search(r"Len\(t, medias, (\d+)\)", stated)
            if count:
                assert len(session.media) == int(count[1]), name


def test_recorded_descriptions_of_gortsplib_read_like_their_normal_forms() -> None:
    folder = real_data() / "rtsp" / "gortsplib" / "sdp"
    cases = json.loads((folder / "cases.json").read_text())
    for case in cases:
        session = read(*recorded(f"gortsplib/sdp/{case['file']}"))
        normal = read(*recorded(f"gortsplib/sdp/{case['normalised']}"))
        kinds = [(media.kind, media.payload_type, media.encoding) for media in session.media]
        assert kinds == [
            (media.kind, media.payload_type, media.encoding) for media in normal.media
        ], case["name"]
    assert len(cases) == 10
