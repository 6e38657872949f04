"""Who asks, and whether they may: deny by default.

Programs show a bearer token (RFC 6750), people the cookie of their sign-in. A request that changes
something and came with a cookie must come from a page of our own.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import urlsplit

from aiohttp import web
from msgspec import Struct

from gateway.console.context import CONTEXT, ApiToken
from gateway.console.users import Role

READ = frozenset(Role)
RESPOND = frozenset((Role.OPERATOR, Role.ADMIN))
"""Acknowledge, clear, comment, shelve."""
SERVICE = frozenset((Role.TECHNICIAN, Role.OPERATOR, Role.ADMIN))
"""Test mode and maintenance."""

SESSION_COOKIE = "kuzet_session"
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))


class Identity(Struct, frozen=True, kw_only=True):
    """Who asks. `name` is what stands in the journal: the account's name, or `api:<role>`."""

    name: str
    role: Role
    by_cookie: bool = False


IDENTITY = web.RequestKey("IDENTITY", Identity)


def identify(request: web.Request) -> Identity | None:
    """Who asks; None when nobody known does. A token that is sent decides, cookie or not."""
    context = request.app[CONTEXT]
    authorization = request.headers.get("Authorization")
    if authorization is not None:
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        role = _role_of(secret.strip(), context.settings.tokens)
        return None if role is None else Identity(name=f"api:{role}", role=role)
    user = context.sessions.user(request.cookies.get(SESSION_COOKIE, ""))
    if user is None:
        return None
    return Identity(name=user.name, role=user.role, by_cookie=True)


def _role_of(secret: str, tokens: Sequence[ApiToken]) -> Role | None:
    """The role of a token. Compares hashes, and all of them, so that time tells nothing."""
    # aiohttp hands header bytes that are no UTF-8 through as surrogates.
    shown = sha256(secret.encode(errors="surrogateescape")).digest()
    found = None
    for token in tokens:
        if hmac.compare_digest(shown, sha256(token.secret.encode()).digest()):
            found = token.role
    return found


def from_own_page(request: web.Request) -> bool:
    """Whether a page of this console sent the request; what cannot tell is refused.

    Browsers say so in Sec-Fetch-Site (Fetch Metadata; only over TLS or to localhost) or in Origin
    (Fetch standard: on every POST).
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    try:
        return urlsplit(request.headers.get("Origin", "")).netloc == request.host
    except ValueError:
        return False
