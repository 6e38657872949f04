"""The native dialect, as the contract has it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.mqtt.dialects import DIALECTS
from adapters.mqtt.dialects.said import Fault, Happened, Reading, Said, Unreadable
from gateway.model import EventType
from tests.mqtt.neighbours import button, turnstile

TOPIC = "kuzet/school-1/button-1/"


def said(leaf: str, payload: object) -> Said:
    content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    [one] = DIALECTS["native"].decode([button()], TOPIC + leaf, content)
    return one


def fault_of(leaf: str, payload: object) -> Fault:
    with pytest.raises(Unreadable) as raised:
        said(leaf, payload)
    return raised.value.fault


def test_a_press_in_full() -> None:
    press = {
        "type": "panic.pressed",
        "id": "b-17",
        "time": "2026-11-22T13:00:00+05:00",
        "seq": 17,
        "room": "12",
    }
    assert said("event", press) == Happened(
        device_id="button-1",
        type=EventType.PANIC_PRESSED,
        occurred_at=datetime(2026, 11, 22, 8, tzinfo=UTC),
        native_id="b-17",
        attributes={"seq": 17, "room": "12"},
    )


def test_a_press_with_nothing_but_its_type() -> None:
    assert said("event", {"type": "panic.pressed"}) == Happened(
        device_id="button-1", type=EventType.PANIC_PRESSED
    )


@pytest.mark.parametrize(
    ("claim", "occurred_at", "device_time"),
    [
        ("1970-01-01T00:00:09Z", datetime(1970, 1, 1, 0, 0, 9, tzinfo=UTC), None),
        ("2099-01-01T00:00:00Z", datetime(2099, 1, 1, tzinfo=UTC), None),
        ("2026-11-22 13:00", None, "2026-11-22 13:00"),
        ("?" * 99, None, "?" * 64),
        (1_790_000_000, None, 1_790_000_000),
        ({"at": 1}, None, '{"at":1}'),
    ],
)
def test_a_clock_is_told_as_it_is_however_absurd(
    claim: object, occurred_at: datetime | None, device_time: object
) -> None:
    event = said("event", {"type": "panic.pressed", "time": claim})
    assert isinstance(event, Happened)
    assert event.occurred_at == occurred_at
    assert event.attributes.get("device_time") == device_time


@pytest.mark.parametrize("native_id", ["", None, {"a": 1}])
def test_an_id_that_is_none_is_no_id(native_id: object) -> None:
    event = said("event", {"type": "panic.pressed", "id": native_id})
    assert isinstance(event, Happened)
    assert event.native_id is None


@pytest.mark.parametrize(
    "name",
    ["panic.pushed", "site.dark", "gateway.blind", "device.health", "PANIC.PRESSED", 17, None, []],
)
def test_a_type_that_devices_do_not_have_is_refused(name: object) -> None:
    assert fault_of("event", {"type": name}) is Fault.UNKNOWN_EVENT_TYPE


def test_every_type_that_devices_have_is_read() -> None:
    for type_ in EventType:
        if not type_.startswith(("device.", "site.", "gateway.")):
            event = said("event", {"type": str(type_)})
            assert isinstance(event, Happened)
            assert event.type is type_


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"online": True, "battery": 0.83}, {"online": True, "battery": 0.83}),
        ({"online": False}, {"online": False}),
        ({"battery": 83}, {"online": True, "battery": 0.83}),
        ({"online": True, "battery": -1}, {"online": True, "details": {"battery": -1}}),
        ({"online": True, "rssi": -70, "x": {}}, {"online": True, "details": {"rssi": -70}}),
    ],
)
def test_status(status: object, expected: dict[str, Any]) -> None:
    assert said("status", status) == Reading(device_id="button-1", **expected)


def test_a_status_that_is_deleted_says_nothing() -> None:
    assert not DIALECTS[""].decode([button()], TOPIC + "status", b"")


def test_status_is_strict_about_being_online() -> None:
    assert fault_of("status", {"online": "true"}) is Fault.WRONG_SHAPE


@pytest.mark.parametrize("payload", [b"", b"1", b"\xff[[["])
def test_any_heartbeat_is_one(payload: bytes) -> None:
    assert said("heartbeat", payload) == Reading(device_id="button-1", online=True)


def test_other_topics_are_unknown() -> None:
    assert fault_of("surprise", {}) is Fault.UNKNOWN_TOPIC


def test_a_topic_of_its_own_takes_the_place_of_the_usual_one() -> None:
    filters = DIALECTS["native"].filters
    assert filters(turnstile()) == ("kuzet/school-1/turnstile-1/#",)
    assert filters(turnstile(topic="old/gate/7/#")) == ("old/gate/7/#",)
