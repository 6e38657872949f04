"""HTTP digest authentication, the device's side (RFC 7616; RFC 2069 where there is no `qop`)."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from enum import StrEnum


class Algorithm(StrEnum):
    MD5 = "MD5"
    SHA_256 = "SHA-256"


_HASH = {Algorithm.MD5: hashlib.md5, Algorithm.SHA_256: hashlib.sha256}

_PARAMETER = re.compile(r'([a-zA-Z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


def parse(authorization: str) -> Mapping[str, str] | None:
    """The parameters of an `Authorization: Digest …` value; None for any other scheme."""
    scheme, _, rest = authorization.strip().partition(" ")
    if scheme.lower() != "digest":
        return None
    return {
        name.lower(): re.sub(r"\\(.)", r"\1", quoted) if quoted else bare
        for name, quoted, bare in _PARAMETER.findall(rest)
    }


def proves(parameters: Mapping[str, str], *, method: str, password: str) -> bool:
    """Whether the client that made these parameters knows the password."""
    try:
        algorithm = Algorithm(parameters.get("algorithm", "MD5").upper())
        username, realm = parameters["username"], parameters["realm"]
        nonce, uri, response = parameters["nonce"], parameters["uri"], parameters["response"]
        middle = nonce
        if "qop" in parameters:
            middle = ":".join((nonce, parameters["nc"], parameters["cnonce"], parameters["qop"]))
    except (KeyError, ValueError):
        return False

    def hashed(text: str) -> str:
        return _HASH[algorithm](text.encode()).hexdigest()

    ha1 = hashed(f"{username}:{realm}:{password}")
    ha2 = hashed(f"{method}:{uri}")
    expected = hashed(f"{ha1}:{middle}:{ha2}")
    return hmac.compare_digest(expected.encode(), response.lower().encode())


class Nonces:
    """The nonces that a device gave out and still takes; the oldest go first."""

    LIFETIME_S = 300.0
    LIMIT = 256

    def __init__(self) -> None:
        self._given: OrderedDict[str, float] = OrderedDict()

    def give(self) -> str:
        nonce = secrets.token_hex(16)
        self._given[nonce] = time.monotonic()
        while len(self._given) > self.LIMIT:
            self._given.popitem(last=False)
        return nonce

    def known(self, nonce: str) -> bool:
        given = self._given.get(nonce)
        return given is not None and time.monotonic() - given < self.LIFETIME_S


def challenges(
    algorithms: Sequence[Algorithm], *, realm: str, nonce: str, qop: bool, stale: bool
) -> list[str]:
    """The `WWW-Authenticate` values, the strongest first (RFC 7616, 3.7).

    MD5 goes without saying: its parameter is left out, as old cameras do.
    """
    values = []
    for algorithm in sorted(algorithms, key=lambda one: one is Algorithm.MD5):
        value = f'Digest realm="{realm}", nonce="{nonce}"'
        if qop:
            value += ', qop="auth"'
        if algorithm is not Algorithm.MD5:
            value += f", algorithm={algorithm}"
        if stale:
            value += ", stale=true"
        values.append(value)
    return values
