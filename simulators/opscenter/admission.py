"""What the operations center lets in: genuine, well-formed batches of CloudEvents."""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from simulators.opscenter import signature

CONTENT_TYPE = "application/cloudevents-batch+json"
LANES = ("alarm", "telemetry")


class Refusal(StrEnum):
    """Why a request was not even looked at."""

    TOKEN = "token"
    SIGNATURE = "signature"
    TIMESTAMP = "timestamp"
    CONTENT_TYPE = "content_type"
    MALFORMED = "malformed"
    MIXED_LANES = "mixed_lanes"


STATUS = {
    Refusal.TOKEN: 401,
    Refusal.SIGNATURE: 401,
    Refusal.TIMESTAMP: 401,
    Refusal.CONTENT_TYPE: 415,
    Refusal.MALFORMED: 400,
    Refusal.MIXED_LANES: 400,
}
"""What each refusal is answered by."""


class Refused(Exception):
    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        self.refusal = refusal
        super().__init__(detail or str(refusal))


class Batch(Struct, frozen=True, kw_only=True):
    """`digests` tell for each event whether a repeat has the same bytes."""

    webhook_id: str
    lane: str
    events: Sequence[Mapping[str, Any]]
    digests: Sequence[int]


def admit(http: web.Request, body: bytes, *, key: bytes, token: str) -> Batch:
    """Reads a request; `key` and `token` are asked for where they are not empty. Raises Refused."""
    offered = http.headers.get("Authorization", "")
    if token and not hmac.compare_digest(offered.encode(), f"Bearer {token}".encode()):
        raise Refused(Refusal.TOKEN)
    webhook_id = http.headers.get("webhook-id", "")
    if key:
        try:
            webhook_id = signature.check(http.headers, body, key=key, now=time.time())
        except signature.StaleTimestamp as error:
            raise Refused(Refusal.TIMESTAMP, str(error)) from error
        except signature.BadSignature as error:
            raise Refused(Refusal.SIGNATURE, str(error)) from error
    if http.content_type != CONTENT_TYPE:
        raise Refused(Refusal.CONTENT_TYPE)
    try:
        raws = msgspec.json.decode(body, type=list[msgspec.Raw])
        events = [msgspec.json.decode(raw, type=dict[str, Any]) for raw in raws]
    except msgspec.MsgspecError as error:
        raise Refused(Refusal.MALFORMED, str(error)) from error
    for event in events:
        _check_attributes(event)
    lanes = {event["lane"] for event in events}
    if len(lanes) != 1:
        raise Refused(Refusal.MIXED_LANES, f"lanes: {sorted(lanes)}")
    return Batch(
        webhook_id=webhook_id,
        lane=lanes.pop(),
        events=events,
        digests=[hash(bytes(raw)) for raw in raws],
    )


def _check_attributes(event: Mapping[str, Any]) -> None:
    """The required context attributes (CloudEvents 1.0.2, "Required attributes"), and our lane."""
    if event.get("specversion") != "1.0":
        raise Refused(Refusal.MALFORMED, "specversion is not 1.0")
    for name in ("id", "source", "type"):
        if not isinstance(event.get(name), str) or not event[name]:
            raise Refused(Refusal.MALFORMED, f"no {name}")
    if event.get("lane") not in LANES:
        raise Refused(Refusal.MALFORMED, f"lane: {event.get('lane')!r}")
