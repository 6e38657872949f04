"""What each HTTP answer means: the contract's answer table, complete, in one place.

The meaning of a status is the same on both lanes; what follows from it differs:

| meaning         | alarm lane                                  | telemetry lane                   |
| --------------- | ------------------------------------------- | -------------------------------- |
| accepted        | done                                        | done                             |
| `Retryable`     | again for ever, at most 15 s apart          | backoff to 60 s                  |
| `EndpointFault` | the same, told, handed to the fallback sink | paused, a probe every 60 s, told |
| `TooLarge`      | one by one                                  | halved                           |
| `Permanent`     | alone, every 60 s, told, to the fallback    | split, the culprit to quarantine |
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from gateway.errors import DeliveryError, EndpointFault, Permanent, Retryable, TooLarge

Meaning = type[Retryable | EndpointFault | TooLarge | Permanent] | None
"""None: accepted."""

MEANING: Mapping[int, Meaning] = {
    # A final answer below 200 comes from nothing that receives events.
    **dict.fromkeys(range(100, 200), EndpointFault),
    **dict.fromkeys(range(200, 300), None),
    # Never followed: a redirect would take alarms and their token to an address nobody configured.
    **dict.fromkeys(range(300, 400), EndpointFault),
    **dict.fromkeys(range(400, 500), Permanent),
    **dict.fromkeys((401, 403, 404, 405, 410, 415), EndpointFault),
    **dict.fromkeys((408, 425, 429), Retryable),
    413: TooLarge,
    **dict.fromkeys(range(500, 600), Retryable),
}
"""Every status of HTTP (RFC 9110 §15)."""

LONGEST_RETRY_AFTER_S = 3600.0
"""A longer wish is cut to this: a slip of the receiver must not stop a lane for a week."""


def error_of(status: int, detail: str, retry_after_s: float | None) -> DeliveryError | None:
    """The error that an answer stands for; None where it accepts."""
    meaning = MEANING.get(status, EndpointFault)
    if meaning is None:
        return None
    if meaning is Retryable:
        return Retryable(detail, retry_after_s)
    return meaning(detail)


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """Seconds that a `Retry-After` asks for (RFC 9110 §10.2.3: seconds or a date); None where there
    is none or it cannot be read."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        # Nine digits are thirty years; a longer number says nothing more.
        return min(float(text[:9]), LONGEST_RETRY_AFTER_S)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:  # "-0000": the zone is unknown, HTTP knows only GMT
        date = date.replace(tzinfo=UTC)
    return min(max((date - now).total_seconds(), 0.0), LONGEST_RETRY_AFTER_S)
