"""The one user of a camera: what proves it, and what locks it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections import deque
from collections.abc import Collection
from datetime import UTC, datetime
from enum import StrEnum

from msgspec import Struct

from simulators.camera import digest
from simulators.camera.digest import Algorithm


class Scheme(StrEnum):
    """A way to prove a password that a camera takes."""

    DIGEST_MD5 = "digest-md5"
    DIGEST_SHA_256 = "digest-sha256"
    WS_SECURITY = "ws-security"


class Verdict(StrEnum):
    GRANTED = "granted"
    NO_CREDENTIALS = "no credentials"
    STALE = "stale nonce"
    REFUSED = "refused"
    LOCKED = "locked"


class UsernameToken(Struct, frozen=True, kw_only=True):
    """A WS-Security token as it stood in the request (UsernameToken Profile 1.0)."""

    username: str
    password: str
    digested: bool
    nonce: str
    created: str


class Account:
    """A user name, its password and the wrong tries. No user name: everybody may do everything.

    `wrong_tries` counts all; `locks_after` of them in a row lock the account for `locked_for_s`.
    """

    REALM = "IP Camera"

    CREATED_TOLERANCE_S = 30.0
    """How far `Created` may be from the camera's clock; makers take 5 s to 5 min."""

    REMEMBERED_NONCES = 512

    def __init__(
        self,
        username: str | None,
        password: str,
        *,
        schemes: Collection[Scheme],
        locks_after: int,
        locked_for_s: float,
    ) -> None:
        self.username = username
        self._password = password
        self.schemes = frozenset(schemes)
        self.locks_after = locks_after
        self.locked_for_s = locked_for_s
        self.changed = False
        """Somebody changed the password: the one we were given is wrong now."""
        self.lock = False
        """Locked by hand, whatever was tried."""
        self.wrong_tries = 0
        self._in_a_row = 0
        self._locked_until = 0.0
        self._nonces = digest.Nonces()
        self._used: deque[str] = deque(maxlen=self.REMEMBERED_NONCES)

    @property
    def locked(self) -> bool:
        return self.lock or time.monotonic() < self._locked_until

    def unlock(self) -> None:
        self._in_a_row = 0
        self._locked_until = 0.0

    def challenges(self, *, qop: bool, stale: bool = False) -> list[str]:
        """`WWW-Authenticate` values; empty where only WS-Security is taken."""
        algorithms = self._algorithms()
        if not algorithms:
            return []
        nonce = self._nonces.give()
        return digest.challenges(algorithms, realm=self.REALM, nonce=nonce, qop=qop, stale=stale)

    def judge_digest(self, authorization: str | None, method: str) -> Verdict:
        """Judges an `Authorization` header of HTTP or RTSP."""
        if self.username is None:
            return Verdict.GRANTED
        parameters = digest.parse(authorization) if authorization else None
        if parameters is None:
            return Verdict.NO_CREDENTIALS
        algorithm = parameters.get("algorithm", Algorithm.MD5).upper()
        if algorithm not in self._algorithms():
            return Verdict.NO_CREDENTIALS
        if not self._nonces.known(parameters.get("nonce", "")):
            return Verdict.STALE
        right = parameters.get("username") == self.username and digest.proves(
            parameters, method=method, password=self._secret()
        )
        return self._record(right)

    def judge_token(self, token: UsernameToken, now: datetime) -> Verdict:
        """Judges a WS-Security token by the camera's own clock `now`."""
        if self.username is None:
            return Verdict.GRANTED
        if Scheme.WS_SECURITY not in self.schemes:
            return Verdict.NO_CREDENTIALS
        return self._record(token.username == self.username and self._token_proves(token, now))

    def _token_proves(self, token: UsernameToken, now: datetime) -> bool:
        if not token.digested or token.nonce in self._used:
            return False
        try:
            nonce = base64.b64decode(token.nonce, validate=True)
            created = datetime.fromisoformat(token.created)
        except (binascii.Error, ValueError):
            return False
        if created.tzinfo is None:
            created = created.replace(tzinfo=UTC)
        if abs((created - now).total_seconds()) > self.CREATED_TOLERANCE_S:
            return False
        whole = nonce + token.created.encode() + self._secret().encode()
        expected = base64.b64encode(hashlib.sha1(whole).digest())
        if not hmac.compare_digest(expected, token.password.encode()):
            return False
        self._used.append(token.nonce)
        return True

    def _record(self, right: bool) -> Verdict:
        if self.locked:
            return Verdict.LOCKED
        if right:
            self._in_a_row = 0
            return Verdict.GRANTED
        self.wrong_tries += 1
        self._in_a_row += 1
        if self._in_a_row >= self.locks_after:
            self._locked_until = time.monotonic() + self.locked_for_s
            self._in_a_row = 0
        return Verdict.REFUSED

    def _secret(self) -> str:
        return self._password + " (changed)" if self.changed else self._password

    def _algorithms(self) -> list[Algorithm]:
        offered = {
            Scheme.DIGEST_SHA_256: Algorithm.SHA_256,
            Scheme.DIGEST_MD5: Algorithm.MD5,
        }
        return [algorithm for scheme, algorithm in offered.items() if scheme in self.schemes]
