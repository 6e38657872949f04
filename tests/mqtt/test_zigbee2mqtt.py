"""Zigbee2MQTT: recorded buttons, and what its documentation says."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.mqtt.dialects import DIALECTS
from adapters.mqtt.dialects.said import Fault, Happened, Level, Reading, Said, Unreadable
from gateway.model import DeviceKind, EventType
from tests.mqtt.neighbours import button, device
from tests.peers import real_data

TOPIC = "zigbee2mqtt/sos"
BUTTON = button(dialect="zigbee2mqtt", topic=TOPIC)


def said(payload: object, topic: str = TOPIC) -> list[Said]:
    content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return list(DIALECTS["zigbee2mqtt"].decode([BUTTON], topic, content))


def events(payload: object) -> list[EventType]:
    return [one.type for one in said(payload) if isinstance(one, Happened)]


def reading(payload: object, topic: str = TOPIC) -> Reading:
    [one] = [one for one in said(payload, topic) if isinstance(one, Reading)]
    return one


def cases() -> list[dict[str, Any]]:
    recorded = json.loads((real_data() / "mqtt/zigbee-sos/sequences.json").read_text())
    return [case for case in recorded["cases"] if "messages" in case]


def test_a_recorded_press_is_one_press() -> None:
    for case in cases():
        presses = [
            (one["t"], happened)
            for one in case["messages"]
            if one["topic"] == case["topic"]
            for happened in said(one["payload"])
            if isinstance(happened, Happened)
        ]
        [(at, press)] = presses
        assert at == case["expected"]["at_t"]
        assert press.type is EventType.PANIC_PRESSED
        assert press.occurred_at == datetime(2026, 4, 17, 15, 33, 22, tzinfo=UTC)
        assert press.attributes["linkquality"] == 18
        assert "last_seen" not in press.attributes
        last = reading(case["messages"][-1]["payload"])
        assert last.battery == 1.0
        assert last.online is None, "a weak link is not offline"


@pytest.mark.parametrize(
    ("action", "type_"),
    [
        ("emergency", EventType.PANIC_PRESSED),
        ("sos", EventType.PANIC_PRESSED),
        ("panic", EventType.PANIC_PRESSED),
        ("single", EventType.PANIC_PRESSED),
        ("double", EventType.PANIC_PRESSED),
        ("hold", EventType.PANIC_PRESSED),
        ("on", EventType.PANIC_PRESSED),
        ("2_single", EventType.PANIC_PRESSED),
        ("button_1_hold", EventType.PANIC_PRESSED),
        ("release", EventType.PANIC_RELEASED),
        ("hold_release", EventType.PANIC_RELEASED),
        ("test", EventType.PANIC_TEST),
    ],
)
def test_actions_of_a_panic_button(action: str, type_: EventType) -> None:
    assert events({"action": action}) == [type_]


@pytest.mark.parametrize("action", [None, "", "disarm", "arm_all_zones"])
def test_actions_that_are_no_press(action: object) -> None:
    assert events({"action": action, "battery": 90}) == []


@pytest.mark.parametrize("action", ["wobble", "off", 17, ["single"]])
def test_an_unknown_action_of_a_panic_button_is_no_silence(action: object) -> None:
    with pytest.raises(Unreadable) as raised:
        said({"action": action})
    assert raised.value.fault is Fault.UNKNOWN_EVENT_TYPE


def test_an_action_of_another_device_is_no_press() -> None:
    door = device("door", DeviceKind.INTERCOM, dialect="zigbee2mqtt", topic=TOPIC)
    told = DIALECTS["zigbee2mqtt"].decode([door], TOPIC, b'{"action": "single", "contact": false}')
    assert told == [
        Reading(device_id="door", levels={Level.DOOR_OPEN: True}, details={"contact": False})
    ]


def test_levels() -> None:
    told = reading({"sos": True, "tamper": False, "battery_low": True, "contact": True})
    assert told.levels == {
        Level.PANIC: True,
        Level.TAMPER: False,
        Level.BATTERY_LOW: True,
        Level.DOOR_OPEN: False,
    }


def test_a_button_that_tells_actions_is_read_by_them_alone() -> None:
    assert Level.PANIC not in reading({"action": "emergency", "sos": True}).levels
    assert Level.PANIC not in reading({"action": None, "sos": True}).levels


def test_battery_is_in_percent() -> None:
    assert reading({"battery": 1}).battery == 0.01
    assert reading({"battery": 100}).battery == 1.0
    assert reading({"battery": None}).battery is None


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ("2026-04-17T23:33:22+08:00", datetime(2026, 4, 17, 15, 33, 22, tzinfo=UTC)),
        (1_776_440_002_000, datetime(2026, 4, 17, 15, 33, 22, tzinfo=UTC)),
        (10**300, None),
        (None, None),
    ],
)
def test_last_seen_in_each_of_its_formats(claim: object, expected: datetime | None) -> None:
    assert reading({"last_seen": claim}).occurred_at == expected


@pytest.mark.parametrize(
    ("payload", "online"),
    [
        (b'{"state":"online"}', True),
        (b'{"state":"offline"}', False),
        (b"online", True),
        (b"offline\n", False),
    ],
)
def test_availability(payload: bytes, online: bool) -> None:
    assert said(payload, f"{TOPIC}/availability") == [Reading(device_id="button-1", online=online)]


@pytest.mark.parametrize("payload", [b"maybe", b'{"state":1}', b"\xff", b"{"])
def test_availability_that_nobody_knows_is_unreadable(payload: bytes) -> None:
    with pytest.raises(Unreadable):
        said(payload, f"{TOPIC}/availability")


def test_what_is_deleted_says_nothing() -> None:
    assert said(b"") == []
    assert said(b"", f"{TOPIC}/availability") == []
