"""Who is signed in: in memory, bounded."""

from __future__ import annotations

import secrets
from collections import OrderedDict

from msgspec import Struct

from gateway.console.users import User, UserStore
from gateway.ports import Clock

SESSION_S = 12 * 3600.0
"""One long shift; the next one signs in under a name of its own."""
SESSIONS_KEPT = 2_000
"""More than the people of a region's operations center; beyond it the oldest ends."""


class Session(Struct, frozen=True, kw_only=True):
    """One sign-in: good until `ends` (monotonic seconds) or until the account changes."""

    user: User
    ends: float


class Sessions:
    """Sign-ins by their secret id. A restart of the gateway ends them all."""

    def __init__(self, users: UserStore, clock: Clock) -> None:
        self._users = users
        self._clock = clock
        self._open: OrderedDict[str, Session] = OrderedDict()

    def begin(self, user: User) -> str:
        """A new session's id: 256 random bits, never one that the browser brought along."""
        session_id = secrets.token_urlsafe(32)
        self._open[session_id] = Session(user=user, ends=self._clock.monotonic() + SESSION_S)
        while len(self._open) > SESSIONS_KEPT:
            self._open.popitem(last=False)
        return session_id

    def user(self, session_id: str) -> User | None:
        """The account signed in; None once the time is over, or the account changed or is gone."""
        session = self._open.get(session_id)
        if session is None:
            return None
        if session.ends <= self._clock.monotonic() or (
            self._users.get(session.user.name) != session.user
        ):
            del self._open[session_id]
            return None
        return session.user

    def end(self, session_id: str) -> None:
        self._open.pop(session_id, None)
