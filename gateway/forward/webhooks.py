"""Who sent a request, after Standard Webhooks 1.0: its id, the time of the try, its signatures."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b


def message_id(record_ids: Iterable[str]) -> str:
    """The `webhook-id` of a batch: the same for every try, another one for a part of it."""
    return blake2b(" ".join(record_ids).encode(), digest_size=16).hexdigest()


def signed(message: str, body: bytes, *, keys: Sequence[bytes], at: datetime) -> Mapping[str, str]:
    """The three headers of one try: `v1,` and the HMAC-SHA256 of `id.timestamp.body` for each key,
    separated by spaces; a receiver accepts the message when one of them fits."""
    timestamp = str(int(at.timestamp()))
    prefix = f"{message}.{timestamp}.".encode()
    return {
        "webhook-id": message,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_signature(key, prefix, body) for key in keys),
    }


def _signature(key: bytes, prefix: bytes, body: bytes) -> str:
    digest = hmac.new(key, prefix, "sha256")
    digest.update(body)
    return f"v1,{base64.b64encode(digest.digest()).decode()}"
