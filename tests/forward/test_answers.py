"""The meaning of each HTTP answer (contract, answer table)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.errors import DeliveryError, EndpointFault, Permanent, Retryable, TooLarge
from gateway.forward.answers import MEANING, error_of, retry_after_s

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)

ROWS: list[tuple[type[DeliveryError] | None, list[int]]] = [
    (None, [200, 201, 202, 204, 299]),
    (Retryable, [408, 425, 429, 500, 502, 503, 504, 599]),
    (EndpointFault, [301, 302, 303, 307, 308, 304, 401, 403, 404, 405, 410, 415, 101, 600, 999]),
    (TooLarge, [413]),
    (Permanent, [400, 402, 406, 407, 409, 411, 412, 414, 416, 418, 421, 422, 423, 426, 431, 451]),
]


@pytest.mark.parametrize(
    ("meaning", "status"), [(meaning, status) for meaning, row in ROWS for status in row]
)
def test_each_status_has_the_contracts_meaning(
    meaning: type[DeliveryError] | None, status: int
) -> None:
    error = error_of(status, "said", None)
    assert (None if error is None else type(error)) is meaning


def test_every_status_of_http_has_a_meaning() -> None:
    assert set(range(100, 600)) == set(MEANING)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("7", 7.0),
        (" 12 ", 12.0),
        ("99999", 3600.0),
        ("9" * 5000, 3600.0),
        ("Sun, 22 Nov 2026 08:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 08:00:30 -0000", 30.0),
        ("Sun, 22 Nov 2026 07:00:00 GMT", 0.0),
        ("Wed, 22 Nov 2099 07:00:00 GMT", 3600.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("Sun, 99 Nov 2026 08:00:30 GMT", None),
        ("Sun, 22 Nov 99999 08:00:30 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(
    header: str | None, seconds: float | None
) -> None:
    assert retry_after_s(header, NOW) == seconds
