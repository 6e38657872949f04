"""Checking a Standard Webhooks signature, written from the specification alone.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping

PREFIX = "whsec_"
TOLERANCE_S = 300
"""How far the time stamp may be from our clock, in both directions."""


class BadSignature(ValueError):
    """The request was not signed with our secret, or not of late."""


class StaleTimestamp(BadSignature):
    """Signed, but too long ago or in the future."""


def new_secret() -> str:
    """A fresh signing secret in its written form: `whsec_` and 32 bytes in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """The key inside a written secret. Raises ValueError."""
    written = secret.strip()
    if not written.startswith(PREFIX):
        raise ValueError(f"a signing secret begins with {PREFIX}")
    try:
        return base64.b64decode(written.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(f"the signing secret is no base64: {error}") from None


def check(headers: Mapping[str, str], body: bytes, *, key: bytes, now: float) -> str:
    """Returns the `webhook-id` of a genuine request. `now`: seconds since 1970.

    Raises BadSignature, StaleTimestamp.
    """
    try:
        message_id = headers["webhook-id"]
        timestamp = headers["webhook-timestamp"]
        signatures = headers["webhook-signature"]
    except KeyError as error:
        raise BadSignature(f"no header {error}") from None
    if not timestamp.isdigit():
        raise BadSignature("webhook-timestamp is no number of seconds")
    signed = message_id.encode() + b"." + timestamp.encode() + b"." + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    offered = (one.partition(",") for one in signatures.split(" "))
    if not any(
        version == "v1" and hmac.compare_digest(expected, value.encode())
        for version, _, value in offered
    ):
        raise BadSignature("no signature fits")
    if abs(now - int(timestamp)) > TOLERANCE_S:
        raise StaleTimestamp(f"signed at {timestamp}")
    return message_id
