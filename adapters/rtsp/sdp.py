"""Reads a session description (SDP, RFC 8866) as cameras write it: what can be read is taken.

Seen and accepted: no `t=` line (GeoVision), session lines repeated inside media (`s=`, `i=`), bare
line feeds, unknown media such as `application/MERCURY`, controls at session level only.
"""

from __future__ import annotations

from msgspec import Struct

MAX_LINES = 1_000
MAX_MEDIA = 32
"""The richest stream seen offers two videos, audio both ways and metadata."""

_STATIC_ENCODINGS = {0: "PCMU", 8: "PCMA", 14: "MPA", 26: "JPEG", 32: "MPV", 33: "MP2T"}
"""Payload types that need no `rtpmap` (RFC 3551 section 6)."""


class Media(Struct, frozen=True, kw_only=True):
    """One `m=` section. `encoding` is in upper case, empty where nothing names it; `control` is the
    absolute address for SETUP, as the device writes its host."""

    kind: str
    payload_type: int | None
    encoding: str
    clock_rate: int | None
    parameters: str
    control: str


class SessionDescription(Struct, frozen=True, kw_only=True):
    """A stream's session: `control` is the absolute aggregate address for PLAY and TEARDOWN."""

    control: str
    media: tuple[Media, ...]

    @property
    def video(self) -> Media | None:
        """The first video, or None."""
        return next((media for media in self.media if media.kind == "video"), None)


def parse(text: str, base: str) -> SessionDescription | None:
    """Reads `text`; `base` is what relative controls are relative to (RFC 2326 section C.1.1): the
    answer's Content-Base, else its Content-Location, else the address asked for.

    None where it is no session description at all. Never raises.
    """
    session: dict[str, list[str]] = {}
    sections: list[tuple[str, dict[str, list[str]]]] = []
    lines = text.splitlines()[:MAX_LINES]
    for line in lines:
        kind, separator, value = line.strip().partition("=")
        if not separator or len(kind) != 1:
            continue
        if kind == "m":
            if len(sections) == MAX_MEDIA:
                break
            sections.append((value, {}))
        elif kind == "a":
            name, _, content = value.partition(":")
            attributes = sections[-1][1] if sections else session
            attributes.setdefault(name.strip().lower(), []).append(content.strip())
    if not sections and not any(line.lstrip().startswith("v=") for line in lines):
        return None
    control = _join(base, _first(session, "control"))
    return SessionDescription(
        control=control,
        media=tuple(_media(line, attributes, control) for line, attributes in sections),
    )


def _media(line: str, attributes: dict[str, list[str]], control: str) -> Media:
    words = line.split()
    payload_type = _number(words[3]) if len(words) > 3 else None
    encoding = "" if payload_type is None else _STATIC_ENCODINGS.get(payload_type, "")
    clock_rate = None
    for mapping in attributes.get("rtpmap", ()):
        number, _, name = mapping.partition(" ")
        if _number(number) == payload_type:
            encoding, _, rest = name.strip().partition("/")
            clock_rate = _number(rest.partition("/")[0])
    parameters = ""
    for content in attributes.get("fmtp", ()):
        number, _, parameters_here = content.partition(" ")
        if _number(number) == payload_type:
            parameters = parameters_here.strip()
    return Media(
        kind=words[0].lower() if words else "",
        payload_type=payload_type,
        encoding=encoding.upper(),
        clock_rate=clock_rate,
        parameters=parameters,
        control=_join(control, _first(attributes, "control")),
    )


def _first(attributes: dict[str, list[str]], name: str) -> str:
    return next(iter(attributes.get(name, ())), "")


def _join(base: str, control: str) -> str:
    """Appends as cameras mean it, not as RFC 3986 would resolve it: that would lose the last part
    of a base without a slash and every query (Dahua: `…&proto=Onvif/` + `trackID=0`)."""
    if control in ("", "*"):
        return base
    if "://" in control:
        return control
    return base + control.lstrip("/") if base.endswith("/") else f"{base}/{control.lstrip('/')}"


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
