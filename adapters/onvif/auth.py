"""How a device wants us to sign in (ONVIF Core section 5.9.1), and the WS-Security token.

HTTP digest comes first; the WS-Security user name token is for devices that know nothing newer.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from datetime import datetime
from enum import StrEnum

from adapters.onvif.soap import escape
from gateway.model import Credentials

_WSS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss"


class Scheme(StrEnum):
    """What a device asked for; remembered, so that the next check need not find it out."""

    NONE = "none"
    HTTP_DIGEST = "http_digest"
    WS_SECURITY = "ws_security"


def username_token(credentials: Credentials, created: datetime, nonce: bytes | None = None) -> str:
    """A Security header with a digested password (WS-Security UsernameToken Profile 1.1).

    `created` is the device's own time: most refusals by cheap cameras are clocks that differ. Each
    token has a nonce of its own, since devices refuse one that they have seen.
    """
    nonce = nonce or secrets.token_bytes(16)
    time = created.strftime("%Y-%m-%dT%H:%M:%SZ")
    secret = nonce + time.encode() + credentials.password.encode()
    digested = base64.b64encode(hashlib.sha1(secret, usedforsecurity=False).digest()).decode()
    return (
        f'<Security xmlns="{_WSS}-wssecurity-secext-1.0.xsd" s:mustUnderstand="1"><UsernameToken>'
        f"<Username>{escape(credentials.username)}</Username>"
        f'<Password Type="{_WSS}-username-token-profile-1.0#PasswordDigest">{digested}</Password>'
        f'<Nonce EncodingType="{_WSS}-soap-message-security-1.0#Base64Binary">'
        f"{base64.b64encode(nonce).decode()}</Nonce>"
        f'<Created xmlns="{_WSS}-wssecurity-utility-1.0.xsd">{time}</Created>'
        "</UsernameToken></Security>"
    )
