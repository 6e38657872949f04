"""The native dialect: `kuzet/<site_id>/<device_id>/event|status|heartbeat` (contract, "Native MQTT
dialect")."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.mqtt.dialects import payload as read
from adapters.mqtt.dialects.said import Dialect, Fault, Happened, Reading, Said, Unreadable
from gateway.model import Device, EventType

ROOT = "kuzet"

_NOT_OF_DEVICES = ("device.", "site.", "gateway.")
"""What the gateway alone says. A device that could say it would darken a site."""

_TYPES = {str(type_): type_ for type_ in EventType if not type_.startswith(_NOT_OF_DEVICES)}


def filters(device: Device) -> Sequence[str]:
    """Everything below the device's own topic: what a panic device sends elsewhere than it should
    must not stay unheard."""
    return (device.topic or f"{ROOT}/{device.site_id}/{device.device_id}/#",)


def decode(devices: Sequence[Device], topic: str, payload: bytes) -> Sequence[Said]:
    leaf = topic.rpartition("/")[2]
    if leaf == "event":
        return [_event(device, payload) for device in devices]
    if leaf == "heartbeat":
        return [Reading(device_id=device.device_id, online=True) for device in devices]
    if leaf == "status":
        # An empty payload is how MQTT deletes a retained message: nothing was said.
        return [_status(device, payload) for device in devices] if payload else ()
    raise Unreadable(Fault.UNKNOWN_TOPIC, "the topic ends in none of event, status, heartbeat")


def _event(device: Device, payload: bytes) -> Happened:
    members = read.read_object(payload)
    name = members.pop("type", None)
    type_ = _TYPES.get(name) if isinstance(name, str) else None
    if type_ is None:
        raise Unreadable(Fault.UNKNOWN_EVENT_TYPE, f"unknown event type {read.short(name)!r}")
    native_id = read.native_id(members.get("id"))
    if native_id is not None:
        del members["id"]
    claim = members.pop("time", None)
    occurred_at = None
    if claim is not None:
        occurred_at = read.instant(claim)
        if occurred_at is None:
            members["device_time"] = read.short(claim)
    return Happened(
        device_id=device.device_id,
        type=type_,
        occurred_at=occurred_at,
        native_id=native_id,
        attributes=read.bounded(members, payload),
    )


def _status(device: Device, payload: bytes) -> Reading:
    members = read.read_object(payload)
    online = members.pop("online", True)
    if not isinstance(online, bool):
        raise Unreadable(Fault.WRONG_SHAPE, "online is neither true nor false")
    battery = read.share(members.get("battery"))
    if battery is not None:
        del members["battery"]
    return Reading(
        device_id=device.device_id,
        online=online,
        battery=battery,
        details=read.scalars(members),
    )


NATIVE = Dialect(filters=filters, decode=decode)
