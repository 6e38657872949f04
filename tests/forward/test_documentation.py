"""docs/operations-center.md shows what the gateway does: its example is checked, not believed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.forward.cloudevents import encode, envelope
from gateway.forward.webhooks import message_id, signed
from gateway.model import (
    Alarm,
    AlarmState,
    AlarmTransition,
    Condition,
    Event,
    Lane,
    Record,
    Retention,
    Severity,
    Stored,
    Transition,
)
from simulators.opscenter.signature import key_of
from tests.forward.records import press

PAGE = (Path(__file__).parent.parent.parent / "docs" / "operations-center.md").read_text()
PRESSED = datetime(2026, 11, 22, 8, 0, 0, 210_000, tzinfo=UTC)
RECORDED = datetime(2026, 11, 22, 8, 0, 0, 214_000, tzinfo=UTC)
TRIED = datetime(2026, 11, 22, 8, 0, 1, tzinfo=UTC)

RAISED = Record(
    record_id="9f2c4be07c1d4f6bb3f1f0a2d5c8e713",
    lane=Lane.ALARM,
    retention=Retention.ALARM,
    type="alarm.raised",
    recorded_at=RECORDED,
    body=AlarmTransition(
        transition=Transition.RAISED,
        caused_by="",
        alarm=Alarm(
            alarm_id="b0c9c9b9f3f04c0e9e5d6a7c1f2e3d4c",
            device_id="school-12-button-1",
            site_id="school-12",
            condition=Condition.PANIC,
            severity=Severity.CRITICAL,
            state=AlarmState.UNACKNOWLEDGED,
            active=True,
            acknowledged=False,
            raised_at=PRESSED,
            updated_at=PRESSED,
        ),
    ),
)


def found(pattern: str) -> str:
    match = re.search(pattern, PAGE, re.MULTILINE)
    assert match is not None, pattern
    return match[0]


SECRET = found(r"^whsec_\S+$")
BODY = found(r"^\[\{.*\}\]$").encode()
HEADERS = dict(line.split(": ", 1) for line in re.findall(r"^webhook-.*$", PAGE, re.MULTILINE))


def test_the_example_is_what_the_gateway_sends() -> None:
    assert encode([envelope("zhambyl", Stored(sequence=18204, record=RAISED))]) == BODY
    message = message_id([RAISED.record_id])
    assert signed(message, BODY, keys=[key_of(SECRET)], at=TRIED) == HEADERS


@pytest.mark.parametrize(
    ("body", "secret", "late_s", "genuine"),
    [
        (BODY, SECRET, 0.0, True),
        (BODY + b" ", SECRET, 0.0, False),
        (BODY, "whsec_" + "A" * 44, 0.0, False),
        (BODY, SECRET, 301.0, False),
    ],
)
def test_the_receivers_code_on_the_page_works(
    body: bytes, secret: str, late_s: float, genuine: bool
) -> None:
    shown: dict[str, Any] = {}
    code = found(r"(?s)(?<=```python\n).*?(?=```)")
    exec(compile(code, "docs/operations-center.md", "exec"), shown)  # noqa: S102 -- our own page
    is_genuine: Callable[..., bool] = shown["is_genuine"]
    assert is_genuine(HEADERS, body, secret, TRIED.timestamp() + late_s) is genuine


def test_the_envelope_on_the_page_has_the_attributes_that_are_sent() -> None:
    shown = json.loads(found(r"(?s)(?<=```json\n)\{.*?(?=```)"))
    record = press(seq=17)
    assert isinstance(record.body, Event)
    (sent,) = json.loads(encode([envelope("zhambyl", Stored(sequence=18203, record=record))]))
    assert list(shown) == list(sent)
    assert list(shown["data"]) == list(sent["data"])
