"""Records as CloudEvents (contract, "To the operations center")."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.forward.cloudevents import encode, envelope, heartbeat
from gateway.model import Event, Lane, Record, State, Stored, Transition
from gateway.ports import Backlog
from tests.forward.records import NOW, alarm, command, health, passed, press


def wire(record: Record, sequence: int = 17) -> dict[str, Any]:
    (event,) = json.loads(encode([envelope("zhambyl", Stored(sequence=sequence, record=record))]))
    assert isinstance(event, dict)
    return event


def test_an_event() -> None:
    assert wire(press(seq=17)) == {
        "specversion": "1.0",
        "id": press().record_id,
        "source": "/kuzet/zhambyl/school-1/button-1",
        "type": "kz.kuzet.event.panic.pressed",
        "subject": "button-1",
        "time": "2026-11-22T08:00:00Z",
        "datacontenttype": "application/json",
        "recordedtime": "2026-11-22T08:00:00Z",
        "sequence": "0000000000000017",
        "severity": "critical",
        "lane": "alarm",
        "exercise": False,
        "data": {
            "device_id": "button-1",
            "site_id": "school-1",
            "kind": "panic_button",
            "active": None,
            "attributes": {"seq": 17},
        },
    }


def test_a_health_change() -> None:
    event = wire(health())
    assert event["type"] == "kz.kuzet.health.changed"
    assert (event["subject"], event["lane"], event["severity"]) == (
        "camera-1",
        "telemetry",
        "medium",
    )
    assert event["data"] == {
        "state": "offline",
        "reason": "unreachable",
        "previous": "online",
        "details": {"fps": 12},
    }


@pytest.mark.parametrize("transition", Transition)
def test_an_alarms_transition(transition: Transition) -> None:
    record = alarm("alarm-1", transition)
    event = wire(record)
    assert event["type"] == f"kz.kuzet.alarm.{transition}"
    assert event["source"] == "/kuzet/zhambyl/school-1/device-of-alarm-1"
    assert (event["subject"], event["severity"]) == ("device-of-alarm-1", "high")
    shown = {
        "alarm_id": "alarm-1",
        "device_id": "device-of-alarm-1",
        "site_id": "school-1",
        "condition": "tamper",
        "severity": "high",
        "state": "unacknowledged",
        "active": True,
        "acknowledged": False,
        "shelved_until": None,
        "raised_at": "2026-11-22T08:00:00Z",
        "cleared_at": None,
        "acknowledged_by": None,
        "count": 1,
        "exercise": False,
    }
    assert {key: event["data"][key] for key in shown} == shown


@pytest.mark.parametrize("state", State)
def test_every_state_of_health_has_a_severity(state: State) -> None:
    record = health()
    changed = replace(record, body=replace(record.body, state=state))
    assert wire(changed)["severity"] in {"info", "low", "medium"}


def claiming(occurred_at: datetime | None) -> dict[str, Any]:
    record = passed(1)
    assert isinstance(record.body, Event)
    return wire(replace(record, body=replace(record.body, occurred_at=occurred_at)))


@pytest.mark.parametrize(
    "claim",
    [
        datetime(2020, 1, 1, 0, 0, 1, tzinfo=UTC),
        NOW - timedelta(days=300),
        NOW,
        NOW + timedelta(seconds=60),
    ],
)
def test_a_plausible_time_of_the_device_is_told(claim: datetime) -> None:
    event = claiming(claim)
    assert datetime.fromisoformat(event["time"]) == claim
    assert "device_time" not in event["data"]["attributes"]


@pytest.mark.parametrize(
    "claim",
    [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2020, 1, 1, tzinfo=UTC),
        NOW + timedelta(seconds=60, microseconds=1),
        datetime(9999, 1, 1, tzinfo=UTC),
    ],
)
def test_an_implausible_time_is_told_as_the_devices_claim(claim: datetime) -> None:
    event = claiming(claim)
    assert datetime.fromisoformat(event["time"]) == NOW
    assert datetime.fromisoformat(event["data"]["attributes"]["device_time"]) == claim
    assert event["data"]["attributes"]["direction"] == "in"


def test_without_a_time_of_the_device_the_time_of_receipt_is_told() -> None:
    assert claiming(None)["time"] == "2026-11-22T08:00:00Z"


def test_sequences_sort_as_text_and_zero_means_none_yet() -> None:
    assert wire(press(), 9)["sequence"] < wire(press(), 10)["sequence"]
    assert wire(press(), 0)["sequence"] == "0" * 16


def test_ids_with_strange_characters_make_a_valid_source() -> None:
    assert wire(press("кнопка/1 ?"))["source"] == (
        "/kuzet/zhambyl/school-1/%D0%BA%D0%BD%D0%BE%D0%BF%D0%BA%D0%B0%2F1%20%3F"
    )


def test_internal_records_have_no_envelope() -> None:
    with pytest.raises(TypeError, match="never forwarded"):
        wire(command())


def test_the_heartbeat() -> None:
    backlog = {
        Lane.ALARM: Backlog(records=2, oldest=NOW),
        Lane.TELEMETRY: Backlog(records=0, oldest=None),
    }
    (event,) = json.loads(encode([heartbeat("zhambyl", NOW, backlog)]))
    assert event["type"] == "kz.kuzet.gateway.heartbeat"
    assert (event["source"], event["lane"]) == ("/kuzet/zhambyl", "alarm")
    assert "subject" not in event
    assert event["data"] == {
        "backlog": {
            "alarm": {"records": 2, "oldest": "2026-11-22T08:00:00Z"},
            "telemetry": {"records": 0, "oldest": None},
        }
    }
    later = heartbeat("zhambyl", NOW + timedelta(seconds=30), backlog)
    assert later.id != event["id"]
