"""Spares accounts: after two refusals of the same credentials, one try a day until they change.

Wrong credentials lock the account or our address for about half an hour (Hikvision, Dahua), and
then nobody sees the camera. So refusals are counted for each (host, user name, secret) over
everything that signs in there, and kept on disk: no restart gives a camera two more of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.errors import DeviceFault
from gateway.model import Credentials, Reason
from gateway.ports import Clock

log = logging.getLogger(__name__)

REFUSALS = 2
"""Makers lock at the fifth refusal or later, and people mistype too."""
HOLD_S = 24 * 3600.0
PROVEN_PAUSE_S = 300.0
"""Before the second try of credentials that were right a moment ago: a camera that starts up or has
no session left (Dahua, Hikvision) answers as if they were wrong."""
LOCKED_S = 3600.0
"""Twice the half hour that makers lock an account for."""
KEPT_S = 7 * 24 * 3600.0
"""Whoever is still tried is refused anew each day; older ones are of credentials long changed."""
MAX_ENTRIES = 50_000
"""More than the hosts of a region; the file stays under 10 MB."""
_LOCKED = re.compile(rb"(?i)\block(?:ed|out)?\b")
"""`Account locked`, `<lockStatus>lock</lockStatus>` (Hikvision); neither `unlock` nor `block`."""
_SPARE_LINES = 1_000  # superseded lines that the file may hold before it is written anew
_CLOCK_SLACK_S = 60.0


def says_locked(*texts: bytes) -> bool:
    """Whether a device's refusal says that the account is locked."""
    return any(_LOCKED.search(text[:2000]) for text in texts)


class _Refused(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the file. `secret` is 32 bits of a keyed hash: enough to notice a change, too few
    to find the secret by trying. `refusals` 0 takes the entry back."""

    host: str
    username: str
    secret: str
    refusals: int = 0
    at: float = 0.0
    locked: bool = False
    proven: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        return self.host, self.username, self.secret

    @property
    def until(self) -> float:
        """Seconds since 1970 before which nobody signs in; 0 where anybody may."""
        if self.locked:
            return self.at + LOCKED_S
        if self.refusals >= REFUSALS:
            return self.at + HOLD_S
        return self.at + PROVEN_PAUSE_S if self.proven else 0.0


class _Pepper(Struct, frozen=True, kw_only=True):
    """The first line of the file: the key of its hashes."""

    pepper: str


class Trial(Struct, frozen=True, kw_only=True):
    """One signing-in; whoever holds it says how it ended. No answer at all counts for nothing."""

    passed: Callable[[], None]
    """The device accepted the credentials."""
    refused: Callable[[bool], None]
    """The device refused them; with True it said that the account is locked."""


class Breaker:
    """Decides who may sign in. One instance a gateway; `path` is its file, of mode 0600.

    What is told stands in the file at once, but is not synced: a power cut may cost a camera two
    more refusals, which makes four, and makers lock at five.
    """

    def __init__(self, *, clock: Clock, path: Path) -> None:
        self._clock = clock
        self._path = path
        self._entries: dict[tuple[str, str, str], _Refused] = {}
        self._turns: dict[tuple[str, str, str], tuple[asyncio.Lock, int]] = {}
        self._proven: dict[tuple[str, str, str], None] = {}
        self._pepper = b""
        self._lines = 0
        self._writable = True
        self._read()

    @asynccontextmanager
    async def trial(self, host: str, credentials: Credentials) -> AsyncIterator[Trial]:
        """Lets the caller sign in once, alone with these credentials at this host: sixteen channels
        of one recorder together get no more refusals than one.

        Raises DeviceFault (auth_failed, or locked_out where the device had said so) while the
        credentials are held off.
        """
        key = host, credentials.username, self._tag(credentials)
        lock, users = self._turns.get(key) or (asyncio.Lock(), 0)
        self._turns[key] = lock, users + 1
        try:
            async with lock:
                self._check(key)
                yield Trial(passed=partial(self._passed, key), refused=partial(self._refused, key))
        finally:
            _, users = self._turns[key]
            if users == 1:
                del self._turns[key]
            else:
                self._turns[key] = lock, users - 1

    def _check(self, key: tuple[str, str, str]) -> None:
        entry = self._entries.get(key)
        now = self._clock.now().timestamp()
        # A time in the future was written under a wrong clock: it must hold nobody off for longer.
        if entry is None or not entry.at - _CLOCK_SLACK_S <= now < entry.until:
            return
        until = datetime.fromtimestamp(entry.until, UTC).strftime("%Y-%m-%d %H:%M UTC")
        if entry.locked:
            detail = f"the device has locked the account; not tried before {until}"
            raise DeviceFault(Reason.LOCKED_OUT, detail)
        times = "once" if entry.refusals == 1 else f"{entry.refusals} times"
        detail = f"refused {times}; not tried before {until} unless the credentials change"
        raise DeviceFault(Reason.AUTH_FAILED, detail)

    def _passed(self, key: tuple[str, str, str]) -> None:
        self._proven[key] = None
        if len(self._proven) > MAX_ENTRIES:
            del self._proven[next(iter(self._proven))]
        if self._entries.pop(key, None) is not None:
            host, username, secret = key
            self._write(_Refused(host=host, username=username, secret=secret))

    def _refused(self, key: tuple[str, str, str], locked: bool) -> None:
        known = self._entries.pop(key, None)
        host, username, secret = key
        entry = _Refused(
            host=host,
            username=username,
            secret=secret,
            refusals=(known.refusals if known else 0) + 1,
            at=self._clock.now().timestamp(),
            locked=locked,
            proven=key in self._proven,
        )
        self._entries[key] = entry  # the newest stand last
        if len(self._entries) > MAX_ENTRIES:
            del self._entries[next(iter(self._entries))]
        if entry.refusals == REFUSALS or locked:
            log.warning("credentials held off host=%s username=%s locked=%s", *key[:2], locked)
        self._write(entry)

    def _tag(self, credentials: Credentials) -> str:
        secret = credentials.password.encode()
        return hashlib.blake2b(secret, key=self._pepper, digest_size=4).hexdigest()

    # --- the file --------------------------------------------------------------------------------

    def _read(self) -> None:
        """Takes over what earlier lives noted. A line cut short by a crash is passed over."""
        lines = self._path.read_bytes().splitlines() if self._path.exists() else []
        for line in lines:
            try:
                if not self._pepper:
                    self._pepper = bytes.fromhex(msgspec.json.decode(line, type=_Pepper).pepper)
                    continue
                entry = msgspec.json.decode(line, type=_Refused)
            except ValueError:  # what msgspec raises is one, too
                continue
            self._entries.pop(entry.key, None)
            if entry.refusals:
                self._entries[entry.key] = entry
        self._pepper = self._pepper or secrets.token_bytes(16)
        oldest = self._clock.now().timestamp() - KEPT_S
        self._entries = {key: one for key, one in self._entries.items() if one.at >= oldest}
        self._rewrite()

    def _write(self, entry: _Refused) -> None:
        try:
            if self._lines > 2 * len(self._entries) + _SPARE_LINES:
                self._rewrite()
            else:
                with self._path.open("ab") as file:
                    file.write(msgspec.json.encode(entry) + b"\n")
                self._lines += 1
        except OSError as error:
            if self._writable:
                log.warning("refused credentials are not kept on disk error=%s", error)
            self._writable = False
        else:
            self._writable = True

    def _rewrite(self) -> None:
        """Writes the file with the present entries alone, atomically."""
        lines = [msgspec.json.encode(_Pepper(pepper=self._pepper.hex()))]
        lines += map(msgspec.json.encode, self._entries.values())
        fresh = self._path.with_name(self._path.name + ".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(b"\n".join(lines) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        self._lines = len(lines)
