"""What can be wrong with a simulated camera: a closed list, switched while it runs."""

from __future__ import annotations

import re
from enum import StrEnum


class Fault(StrEnum):
    DOWN = "down"
    """No power: connections are refused, those that are open are cut."""
    SILENT = "silent"
    """Accepts connections and never answers."""
    WRONG_PASSWORD = "wrong_password"
    """Somebody changed the password: every known one is refused."""
    LOCKED = "locked"
    """The account is locked, as after too many wrong passwords: the right one is refused too."""
    SKEW = "skew"
    """The clock is wrong by `skew=<duration>`: WS-Security is checked against that clock."""
    NO_RTSP = "no_rtsp"
    """ONVIF answers; the RTSP port refuses connections."""
    STREAM_404 = "stream_404"
    """The stream that ONVIF names does not exist: DESCRIBE is answered by 404."""
    NO_PROFILE = "no_profile"
    """The media service has no profile: a recorder without cameras says this."""
    GARBAGE_XML = "garbage_xml"
    """SOAP answers are no XML: attributes without quotes (TL-IPC), elements left open."""
    SLOW = "slow"
    """Everything is answered, after `slow=<duration>`."""


DEFAULT_SECONDS = {
    # An hour is the usual mistake: a clock left in another time zone.
    Fault.SKEW: 3600.0,
    # Late enough to be seen, early enough for a client with a time-out of 5 s.
    Fault.SLOW: 2.0,
}
"""What a fault with a duration means when none is given."""

_DURATION = re.compile(r"(-?\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}


def parse_fault(text: str) -> tuple[Fault, float]:
    """`down` or `skew=-5m` → the fault and its seconds (0 where it has none). Raises ValueError."""
    name, equals, duration = text.partition("=")
    try:
        fault = Fault(name)
    except ValueError:
        known = ", ".join(Fault)
        raise ValueError(f"no such fault: {name!r}; there are: {known}") from None
    if not equals:
        return fault, DEFAULT_SECONDS.get(fault, 0.0)
    if fault not in DEFAULT_SECONDS:
        raise ValueError(f"{fault} takes no duration")
    return fault, parse_duration(duration)


def parse_duration(text: str) -> float:
    """`90`, `90s`, `5m`, `-1h`, `2d`, `250ms` → seconds. Raises ValueError."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"no duration: {text!r}; write 90s, 5m, 1h or 2d")
    return float(match[1]) * _UNIT_S[match[2]]
