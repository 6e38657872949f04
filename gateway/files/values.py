"""What one value of a file may be: each reader takes the text and returns the value.

All raise ValueError with what is wrong and what to write instead. None repeats an address or a
secret in its message: what was typed there may hold a password.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable
from datetime import date
from enum import Enum
from typing import NamedTuple, TypeVar
from urllib.parse import SplitResult, urlsplit

MAX_ID_LENGTH = 64
"""Ids stand in MQTT topics, paths of addresses and metric labels."""

E = TypeVar("E", bound=Enum)


class HostPort(NamedTuple):
    """Where to listen or to connect. An IPv6 host stands here without its brackets."""

    host: str
    port: int


# --- words ---------------------------------------------------------------------------------------


def quoted(text: str) -> str:
    """The text as a message shows it: on one line, and not all of it where it is long."""
    return repr(text if len(text) <= MAX_ID_LENGTH else f"{text[:MAX_ID_LENGTH]}…")


def suggestion(word: str, choices: Iterable[str]) -> str:
    """`: did you mean 'x'?` where a choice is near, else nothing."""
    by_lower_case = {one.lower(): one for one in choices}
    near = difflib.get_close_matches(word.lower(), by_lower_case, n=1)
    return f": did you mean '{by_lower_case[near[0]]}'?" if near else ""


def identifier(text: str) -> str:
    """An id that may stand in an MQTT topic and in the path of an address."""
    if len(text) > MAX_ID_LENGTH:
        raise ValueError(f"is {len(text)} characters long, at most {MAX_ID_LENGTH} are allowed")
    if strange := _NOT_IN_ID.search(text):
        name = unicodedata.name(strange.group(), f"U+{ord(strange.group()):04X}").lower()
        raise ValueError(
            f"holds {strange.group()!r} ({name}): "
            "only Latin letters, digits, '.', '-' and '_' are allowed"
        )
    if not text.strip("."):
        raise ValueError("needs a letter or a digit" if text else "is empty")
    return text


_NOT_IN_ID = re.compile(r"[^A-Za-z0-9._-]")


def choice(allowed: Collection[str], text: str) -> str:
    """One of the allowed words."""
    if text not in allowed:
        near = suggestion(text, allowed)
        raise ValueError(f"{quoted(text)} is not one of {', '.join(allowed)}{near}")
    return text


def member(kind: type[E]) -> Callable[[str], E]:
    """A reader of one enum's values."""
    members = {str(one.value): one for one in kind}
    return lambda text: members[choice(members, text)]


def flag(text: str) -> bool:
    """yes, true, 1 or no, false, 0, in any case (spreadsheets write TRUE)."""
    try:
        return _FLAGS[text.lower()]
    except KeyError:
        raise ValueError(f"{quoted(text)} is neither yes nor no") from None


_FLAGS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


# --- numbers and dates ---------------------------------------------------------------------------


def whole(low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers from `low` to `high`."""

    def read(text: str) -> int:
        if not _WHOLE.fullmatch(text):
            raise ValueError(f"{quoted(text)} is not a whole number")
        number = int(text)
        if not low <= number <= high:
            raise ValueError(f"{text} is not between {low} and {high}")
        return number

    return read


def decimal(low: float, high: float) -> Callable[[str], float]:
    """A reader of numbers from `low` to `high`; a decimal comma is read as a point.

    A spreadsheet with Russian or Kazakh settings writes 42,9 (and semicolons between the fields).
    """

    def read(text: str) -> float:
        if not _DECIMAL.fullmatch(text):
            raise ValueError(f"{quoted(text)} is not a number")
        number = float(text.replace(",", "."))
        if not low <= number <= high:
            raise ValueError(f"{text} is not between {low:g} and {high:g}")
        return number

    return read


_WHOLE = re.compile(r"-?[0-9]{1,18}")
_DECIMAL = re.compile(r"-?[0-9]{1,18}([.,][0-9]{1,18})?")


def iso_date(text: str) -> date:
    """A day as 2026-09-01."""
    if local := _LOCAL_DATE.fullmatch(text):
        day, month, year = local.groups()
        raise ValueError(
            f"{quoted(text)} is not a date as year-month-day: write {year}-{month}-{day}"
        )
    try:
        if not _ISO_DATE.fullmatch(text):  # `fromisoformat` takes weeks and more
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{quoted(text)} is not a date such as 2026-09-01") from None


_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LOCAL_DATE = re.compile(r"([0-9]{2})\.([0-9]{2})\.([0-9]{4})")


# --- addresses -----------------------------------------------------------------------------------


def url(text: str, schemes: Collection[str], *, secrets_go: str) -> SplitResult:
    """An address with a host and one of the schemes, without a secret in it.

    `secrets_go` says in the message where a user name and password belong.
    """
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("an address holds only Latin letters and no spaces")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f"is not an address such as {_example(schemes)}") from None
    if "@" in parts.netloc or _PASSWORD_IN_PATH.search(text):
        raise ValueError(f"a user name or password must not stand in an address: {secrets_go}")
    if parts.scheme not in schemes:
        raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if not parts.hostname or port == 0 or parts.fragment:
        raise ValueError(f"is not an address such as {_example(schemes)}")
    _host(parts.hostname)
    return parts


def host_port(text: str, *, any_port: bool = False) -> HostPort:
    """`host:port`, `[IPv6]:port`; port 0 (a free one) only where `any_port` says so."""
    found = _HOST_PORT.fullmatch(text)
    if found is None:
        raise ValueError("is not host:port, such as 127.0.0.1:8080 or [::1]:8080")
    host, port = found["v6"] or found["host"], int(found["port"])
    if not (0 if any_port else 1) <= port <= 65535:
        raise ValueError(f"the port {port} is not between {0 if any_port else 1} and 65535")
    _host(host)
    return HostPort(host, port)


def _host(host: str) -> None:
    try:
        if ":" in host:
            ipaddress.IPv6Address(host)
            return
        if _DOTTED_DIGITS.fullmatch(host):
            ipaddress.IPv4Address(host)
            return
    except ValueError:
        raise ValueError("the host is not a valid IP address") from None
    if not _HOST_NAME.fullmatch(host):
        raise ValueError("the host is not a valid name")


def _example(schemes: Collection[str]) -> str:
    return f"{next(iter(schemes))}://10.0.0.5"


_HOST_PORT = re.compile(r"(?:\[(?P<v6>[^\]]*:[^\]]*)\]|(?P<host>[^:\[\]]+)):(?P<port>[0-9]{1,5})")
_DOTTED_DIGITS = re.compile(r"[0-9.]+")
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")
_PASSWORD_IN_PATH = re.compile(r"(?i)[?&/_;](password|passwd|pwd|pass)=[^&/_;]")
"""Xiongmai's RTSP path and some snapshot addresses carry a password so."""
