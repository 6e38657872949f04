"""The door: checks a name and a password, and slows guessing down."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address

from msgspec import Struct

from gateway.console.users import User, UserStore
from gateway.errors import KuzetError
from gateway.ports import Clock

log = logging.getLogger(__name__)

TRY_WINDOW_S = 300.0
TRIES_PER_ADDRESS = 20
"""A control room behind one address may mistype; a guesser gets 240 tries an hour."""
TRIES_PER_NAME = 10
KEYS_KEPT = 10_000
"""Addresses and names counted at once: about 2 MB."""

LINE = 8
"""Sign-ins that may wait for their check: one is made at a time (0.3 s and 32 MiB each)."""
BUSY_S = 5.0


class TooManyTries(KuzetError):
    """Not checked at all; it may be tried again after `wait_s` seconds."""

    def __init__(self, wait_s: float) -> None:
        self.wait_s = wait_s
        super().__init__(f"too many failed tries: wait {wait_s:.0f} s")


class Door:
    """Lets in whoever knows the password of an account."""

    def __init__(self, users: UserStore, clock: Clock) -> None:
        self._users = users
        self._tries = Tries(clock)
        self._turn = asyncio.Lock()
        self._in_line = 0

    async def enter(self, address: str, name: str, password: str) -> User | None:
        """The account, or None for a wrong name or password. Raises TooManyTries."""
        if self._in_line >= LINE:
            raise TooManyTries(BUSY_S)
        self._in_line += 1
        try:
            async with self._turn:
                # Looked at within the turn, so that tries sent all at once are counted too.
                wait_s = self._tries.wait_s(address, name)
                if wait_s > 0:
                    raise TooManyTries(wait_s)
                user = await asyncio.to_thread(self._users.verify, name, password)
                if user is None:
                    self._tries.failed(address, name)
                else:
                    self._tries.succeeded(address, name)
        finally:
            self._in_line -= 1
        if user is None:
            # The name is not logged: people type passwords into the wrong field.
            log.warning("sign-in failed: address=%s", address)
        else:
            log.info("signed in: user=%s role=%s address=%s", user.name, user.role, address)
        return user


class Failures(Struct):
    """Failed tries within the window that began at `since` (monotonic seconds)."""

    since: float
    count: int = 0


class Tries:
    """Slows guessing down: failed sign-ins per address and per name.

    Someone who signed in from an address before may go on from there even while others fail under
    that name elsewhere: a stranger must not be able to lock an operator out.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: OrderedDict[Hashable, Failures] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def wait_s(self, address: str, name: str) -> float:
        """Seconds until the next try is allowed; 0 when it is now."""
        place = _network(address)
        waits = [self._left_s(("address", place), TRIES_PER_ADDRESS)]
        if (place, name) not in self._known:
            waits.append(self._left_s(("name", name), TRIES_PER_NAME))
        return max(waits)

    def failed(self, address: str, name: str) -> None:
        now = self._clock.monotonic()
        for key in (("address", _network(address)), ("name", name)):
            failures = self._failures.pop(key, None)
            if failures is None or now - failures.since >= TRY_WINDOW_S:
                failures = Failures(since=now)
            failures.count += 1
            self._failures[key] = failures
        while len(self._failures) > KEYS_KEPT:
            self._failures.popitem(last=False)

    def succeeded(self, address: str, name: str) -> None:
        place = _network(address)
        self._failures.pop(("name", name), None)
        self._known[place, name] = None
        self._known.move_to_end((place, name))
        while len(self._known) > KEYS_KEPT:
            self._known.popitem(last=False)

    def _left_s(self, key: Hashable, limit: int) -> float:
        failures = self._failures.get(key)
        if failures is None or failures.count < limit:
            return 0.0
        return max(0.0, failures.since + TRY_WINDOW_S - self._clock.monotonic())


def _network(address: str) -> str:
    """What counts as one place: a host, or an IPv6 /64 (one subscriber has all of its 2^64)."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return parsed.exploded[:19]
    return address
