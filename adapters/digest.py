"""Digest access authentication (RFC 7616, RFC 2617), the same in HTTP and in RTSP.

An answer carries only the parameters that the challenge had: TP-Link refuses an `algorithm` that it
did not ask for.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping

from msgspec import Struct

from gateway.model import Credentials

_MAX_HEADER = 4096  # characters; the longest real challenge seen has 240

# One item of a WWW-Authenticate list (RFC 9110 section 11.6.1): name=value, or a scheme's name.
# Possessive quantifiers: whatever a device sends, the search stays linear.
_ITEM = re.compile(
    r"""(?P<name>[A-Za-z][\w-]*+)\s*+=\s*+(?:"(?P<quoted>(?:[^"\\]|\\.)*+)"|(?P<bare>[^\s,"]*+))
     |(?P<scheme>[A-Za-z][\w-]*+)(?=[\s,]|$)
     |[^\s,]++""",
    re.VERBOSE,
)

_HASHES = {"MD5": "md5", "SHA-256": "sha256"}
_STRENGTH = ("SHA-256", "MD5")  # the stronger first, as RFC 7616 section 3.7 asks


class Challenge(Struct, frozen=True, kw_only=True):
    """One challenge of a server: its scheme in lower case and its parameters by lower-case name."""

    scheme: str
    parameters: Mapping[str, str] = {}

    @property
    def algorithm(self) -> str:
        """The digest algorithm in upper case; MD5 where the challenge names none."""
        return self.parameters.get("algorithm", "MD5").upper()

    @property
    def stale(self) -> bool:
        """Whether the server says that only the nonce was too old, not the secret wrong."""
        return self.parameters.get("stale", "").lower() == "true"


def challenges(headers: Iterable[str]) -> list[Challenge]:
    """The challenges in one or more WWW-Authenticate values, in their order. Never raises."""
    found: list[Challenge] = []
    for header in headers:
        scheme, parameters = "", dict[str, str]()
        for item in _ITEM.finditer(header[:_MAX_HEADER]):
            if item["scheme"]:
                if scheme:
                    found.append(Challenge(scheme=scheme, parameters=parameters))
                scheme, parameters = item["scheme"].lower(), {}
            elif item["name"]:
                quoted = item["quoted"]
                value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else item["bare"]
                parameters[item["name"].lower()] = value
        if scheme:
            found.append(Challenge(scheme=scheme, parameters=parameters))
    return found


def strongest(offered: Iterable[Challenge]) -> Challenge | None:
    """The digest challenge to answer, or None where there is none that we can answer."""
    usable = [
        challenge
        for challenge in offered
        if challenge.scheme == "digest"
        and challenge.algorithm in _HASHES
        and challenge.parameters.get("nonce")
        and _qop(challenge) is not None
    ]
    return min(usable, key=lambda one: _STRENGTH.index(one.algorithm), default=None)


def answer(
    challenge: Challenge,
    credentials: Credentials,
    *,
    method: str,
    uri: str,
    count: int = 1,
    cnonce: str | None = None,
) -> str:
    """The Authorization value for the `count`th request under `challenge`.

    `challenge` is one that `strongest` returned; `uri` stands in the request line as it is here.
    """
    given = challenge.parameters
    realm, nonce = given.get("realm", ""), given["nonce"]
    ha1 = _hash(challenge, f"{credentials.username}:{realm}:{credentials.password}")
    ha2 = _hash(challenge, f"{method}:{uri}")
    parts = [
        f'username="{_quoted(credentials.username)}"',
        f'realm="{_quoted(realm)}"',
        f'nonce="{_quoted(nonce)}"',
        f'uri="{uri}"',
    ]
    if _qop(challenge):
        cnonce = cnonce or secrets.token_hex(8)
        response = _hash(challenge, f"{ha1}:{nonce}:{count:08x}:{cnonce}:auth:{ha2}")
        parts += [f'response="{response}"', "qop=auth", f"nc={count:08x}", f'cnonce="{cnonce}"']
    else:
        parts.append(f'response="{_hash(challenge, f"{ha1}:{nonce}:{ha2}")}"')
    if "opaque" in given:
        parts.append(f'opaque="{_quoted(given["opaque"])}"')
    if "algorithm" in given:
        parts.append(f"algorithm={given['algorithm']}")
    return "Digest " + ", ".join(parts)


def _qop(challenge: Challenge) -> str | None:
    """`auth` where it is offered, empty where no qop is named, None where there are only others."""
    offered = challenge.parameters.get("qop")
    if not offered:
        return ""
    return "auth" if "auth" in re.split(r"[\s,]+", offered.lower()) else None


def _hash(challenge: Challenge, text: str) -> str:
    return hashlib.new(
        _HASHES[challenge.algorithm], text.encode(), usedforsecurity=False
    ).hexdigest()


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
