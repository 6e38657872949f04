"""The two tongues in which the simulated MQTT devices speak: native and Zigbee2MQTT."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from simulators.mqtt.packets import Message


class Dialect(StrEnum):
    NATIVE = "native"
    ZIGBEE2MQTT = "zigbee2mqtt"


class NotSaid(ValueError):
    """The dialect has no word for this event."""


class Occurrence(Struct, frozen=True, kw_only=True):
    """What happened at a device. None: the device has no such thing to tell."""

    type: str
    attributes: Mapping[str, Any] = {}
    id: str | None = None
    time: datetime | None = None
    seq: int | None = None


class Speech(Protocol):
    """What a device publishes in one dialect."""

    def status(self, *, online: bool, battery: float | None) -> Message:
        """Retained; also the last will, with `online` false."""
        ...

    def heartbeat(self, *, battery: float | None, uptime_s: float, sos: bool) -> Message: ...

    def event(
        self, what: Occurrence, *, battery: float | None, sticky: bool
    ) -> tuple[Message, ...]:
        """Raises NotSaid."""
        ...


class Native:
    """`kuzet/<site>/<device>/event|status|heartbeat`, JSON (the contract's native dialect)."""

    def __init__(self, site_id: str, device_id: str) -> None:
        self._topic = f"kuzet/{site_id}/{device_id}"

    def status(self, *, online: bool, battery: float | None) -> Message:
        body: dict[str, Any] = {"online": online}
        if online and battery is not None:
            body["battery"] = battery
        return _json(f"{self._topic}/status", body, retain=True)

    def heartbeat(self, *, battery: float | None, uptime_s: float, sos: bool) -> Message:
        del battery, sos
        return _json(f"{self._topic}/heartbeat", {"uptime": round(uptime_s)})

    def event(
        self, what: Occurrence, *, battery: float | None, sticky: bool
    ) -> tuple[Message, ...]:
        del battery, sticky
        body: dict[str, Any] = {"type": what.type}
        if what.id is not None:
            body["id"] = what.id
        if what.time is not None:
            body["time"] = what.time.isoformat(timespec="microseconds")
        if what.seq is not None:
            body["seq"] = what.seq
        return (_json(f"{self._topic}/event", {**body, **what.attributes}),)


LINK_QUALITY = 120

_ZIGBEE_EVENTS: Mapping[str, Mapping[str, Any]] = {
    "panic.pressed": {"action": "emergency"},
    "tamper.opened": {"tamper": True},
    "tamper.closed": {"tamper": False},
    "battery.low": {"battery_low": True},
    "battery.ok": {"battery_low": False},
    "door.opened": {"contact": False},
    "door.closed": {"contact": True},
    "intercom.called": {"action": "single"},
}
"""What Zigbee devices have words for: buttons, contacts, tampers; no passes and no cards."""


class Zigbee2Mqtt:
    """`zigbee2mqtt/<device>` and `…/availability`, as the bridge publishes for its devices."""

    def __init__(self, device_id: str) -> None:
        self._topic = f"zigbee2mqtt/{device_id}"

    def status(self, *, online: bool, battery: float | None) -> Message:
        del battery
        state = "online" if online else "offline"
        return _json(f"{self._topic}/availability", {"state": state}, retain=True)

    def heartbeat(self, *, battery: float | None, uptime_s: float, sos: bool) -> Message:
        del uptime_s
        body = self._state(battery)
        if sos:
            body["sos"] = True
        return _json(self._topic, body)

    def event(
        self, what: Occurrence, *, battery: float | None, sticky: bool
    ) -> tuple[Message, ...]:
        words = _ZIGBEE_EVENTS.get(what.type)
        if words is None:
            raise NotSaid(f"Zigbee devices have no word for {what.type}")
        state = self._state(battery)
        if what.time is not None:
            state["last_seen"] = what.time.isoformat(timespec="seconds")
        if "action" not in words:
            return (_json(self._topic, {**words, **state}),)
        if sticky and what.type == "panic.pressed":
            return (_json(self._topic, {"sos": True, **state}),)
        # The bridge takes the action back at once: an empty action is no second press.
        return (
            _json(self._topic, {**words, **state}),
            _json(self._topic, {"action": "", **state}),
        )

    def _state(self, battery: float | None) -> dict[str, Any]:
        state: dict[str, Any] = {"linkquality": LINK_QUALITY}
        if battery is not None:
            state["battery"] = round(battery * 100)
        return state


def speech(dialect: Dialect, site_id: str, device_id: str) -> Speech:
    if dialect is Dialect.NATIVE:
        return Native(site_id, device_id)
    return Zigbee2Mqtt(device_id)


def _json(topic: str, body: Mapping[str, Any], *, retain: bool = False) -> Message:
    return Message(topic=topic, payload=msgspec.json.encode(body), retain=retain)
