"""What a message said, before it is known what it means for the gateway: the words of all dialects.

A dialect is two pure functions. `filters` names the topics to subscribe to for a device. `decode`
turns one message into what was said; it keeps no state, asks no clock and may raise anything: it
runs behind the fence (`reader`). Repeated states, edges, redeliveries, credentials and clocks are
not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct

from gateway.model import Device, EventType


class Level(StrEnum):
    """A state that a device repeats for as long as it lasts; only its edges are events."""

    PANIC = "panic"
    TAMPER = "tamper"
    BATTERY_LOW = "battery_low"
    MAINS_LOST = "mains_lost"
    DOOR_OPEN = "door_open"


class Happened(Struct, frozen=True, kw_only=True):
    """Something happened at a device, and it says so once.

    `occurred_at` is the device's claim, aware UTC, however absurd. A claim that is no time stands
    in `attributes["device_time"]`. `attributes` hold the rest of what the message said, bounded
    (`payload.bounded`).
    """

    device_id: str
    type: EventType
    occurred_at: datetime | None = None
    native_id: str | None = None
    attributes: Mapping[str, Any] = {}


class Reading(Struct, frozen=True, kw_only=True):
    """The part of a device's state that one message told; None and absent mean: not told.

    `online` false is a last will, or a bridge that lost the device. `battery` is 0 to 1. `details`
    hold scalars (`payload.scalars`). `occurred_at` is the device's claim.
    """

    device_id: str
    online: bool | None = None
    battery: float | None = None
    levels: Mapping[Level, bool] = {}
    details: Mapping[str, Any] = {}
    occurred_at: datetime | None = None


Said = Happened | Reading


class Fault(StrEnum):
    """Why a message cannot be read: the closed list for metrics and logs."""

    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    DUPLICATE_KEY = "duplicate_key"
    TOO_LARGE = "too_large"
    WRONG_SHAPE = "wrong_shape"
    UNKNOWN_EVENT_TYPE = "unknown_event_type"
    UNKNOWN_TOPIC = "unknown_topic"
    DECODER = "decoder_failed"


class Unreadable(Exception):
    """A message cannot be read; `detail` tells a technician why."""

    def __init__(self, fault: Fault, detail: str) -> None:
        self.fault = fault
        self.detail = detail
        super().__init__(f"{fault}: {detail}")


class Dialect(Struct, frozen=True, kw_only=True):
    """How one family of devices speaks over MQTT.

    `decode(devices, topic, payload)` gets all devices of this dialect whose filters match the
    topic: one for most dialects; for a bridge those behind it, told apart by what the payload says
    (their `serial` or `channel`). It answers for those that the message is about.
    """

    filters: Callable[[Device], Sequence[str]]
    decode: Callable[[Sequence[Device], str, bytes], Sequence[Said]]
