"""Zigbee2MQTT: `<base>/<friendly name>` and `<base>/<friendly name>/availability`.

Its documentation, "MQTT topics and messages" and "Device availability"; `output: json`, which is
its default. What buttons really send is in the recordings that the tests play.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from adapters.mqtt.dialects import payload as read
from adapters.mqtt.dialects.said import (
    Dialect,
    Fault,
    Happened,
    Level,
    Reading,
    Said,
    Unreadable,
)
from gateway.model import Device, DeviceKind, EventType

_AVAILABILITY = "/availability"

NO_PRESS = frozenset({"arm_all_zones", "arm_day_zones", "arm_night_zones", "disarm"})
"""What keypads say besides "panic" and "emergency"."""
RELEASES = frozenset({"release", "released"})
TESTS = frozenset({"test"})
PRESSES = frozenset(
    {"alarm", "emergency", "panic", "sos"}  # of devices made for it
    | {"button", "click", "clicked", "push", "pushed", "press", "pressed", "on", "toggle"}
    | {"short", "single", "double", "triple", "quadruple", "many", "hold", "held", "long"}
)
"""Words of an action; several are joined by `_` (`hold_release`, `2_single`). They are looked for
in this order: not a press, a release, a test, a press. A plain button counts whichever way it is
pushed. On a panic button any other action is a technician's item: it may have been a press."""

_SEPARATORS = re.compile(r"[_\- ]+")


def filters(device: Device) -> Sequence[str]:
    return (device.topic, device.topic + _AVAILABILITY) if device.topic else ()


def decode(devices: Sequence[Device], topic: str, payload: bytes) -> Sequence[Said]:
    if not payload:  # how MQTT deletes a retained message: nothing was said
        return ()
    if topic.endswith(_AVAILABILITY):
        online = _available(payload)
        return [Reading(device_id=device.device_id, online=online) for device in devices]
    members = read.read_object(payload)
    said: list[Said] = []
    for device in devices:
        if device.kind is DeviceKind.PANIC_BUTTON and members.get("action"):
            said.extend(_press(device, members, payload))
        said.append(_reading(device, members))
    return said


def _available(payload: bytes) -> bool:
    """`{"state": "online"}`, or the bare word (`availability` before Zigbee2MQTT 1.29)."""
    word: object = payload.strip().decode("ascii", "replace")
    if payload.lstrip().startswith(b"{"):
        word = read.read_object(payload).get("state")
    if word not in ("online", "offline"):
        raise Unreadable(Fault.WRONG_SHAPE, f"availability {read.short(word)!r}")
    return word == "online"


def _press(device: Device, members: Mapping[str, Any], payload: bytes) -> Sequence[Happened]:
    type_ = _event_type(members["action"])
    if type_ is None:
        return ()
    attributes = dict(members)
    claim = attributes.pop("last_seen", None)
    occurred_at = _last_seen(claim)
    if claim is not None and occurred_at is None:
        attributes["device_time"] = read.short(claim)
    return (
        Happened(
            device_id=device.device_id,
            type=type_,
            occurred_at=occurred_at,
            attributes=read.bounded(attributes, payload),
        ),
    )


def _event_type(action: object) -> EventType | None:
    """What an action of a panic button means, None if it is no press. Raises Unreadable."""
    if isinstance(action, str):
        name = action.lower()
        words = set(_SEPARATORS.split(name))
        if name in NO_PRESS:
            return None
        if words & RELEASES:
            return EventType.PANIC_RELEASED
        if words & TESTS:
            return EventType.PANIC_TEST
        if words & PRESSES:
            return EventType.PANIC_PRESSED
    raise Unreadable(Fault.UNKNOWN_EVENT_TYPE, f"unknown action {read.short(action)!r}")


def _reading(device: Device, members: Mapping[str, Any]) -> Reading:
    levels: dict[Level, bool] = {}
    sos = members.get("sos")
    if device.kind is DeviceKind.PANIC_BUTTON and isinstance(sos, bool) and "action" not in members:
        # Old converters keep it true for ever, with every report of the battery. A device that
        # tells actions is read by them: its press would count twice.
        levels[Level.PANIC] = sos
    for key, level, bad in (
        ("tamper", Level.TAMPER, True),
        ("battery_low", Level.BATTERY_LOW, True),
        ("contact", Level.DOOR_OPEN, False),
    ):
        value = members.get(key)
        if isinstance(value, bool):
            levels[level] = value is bad
    battery = members.get("battery")
    told = {key: value for key, value in members.items() if key not in ("action", "battery")}
    return Reading(
        device_id=device.device_id,
        battery=_percent(battery),
        levels=levels,
        details=read.scalars(told),
        occurred_at=_last_seen(members.get("last_seen")),
    )


def _percent(claim: object) -> float | None:
    if isinstance(claim, bool) or not isinstance(claim, int | float) or not 0 <= claim <= 100:
        return None
    return claim / 100


def _last_seen(claim: object) -> datetime | None:
    """`last_seen`: ISO_8601, ISO_8601_local, or epoch in milliseconds."""
    if isinstance(claim, bool) or not isinstance(claim, int | float):
        return read.instant(claim)
    try:
        return datetime.fromtimestamp(claim / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


ZIGBEE2MQTT = Dialect(filters=filters, decode=decode)
