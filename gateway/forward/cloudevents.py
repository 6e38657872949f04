"""Records as CloudEvents 1.0 in the JSON batch format, as the operations center gets them.

Followed: CloudEvents 1.0.2 (core, JSON format §4 "JSON Batch Format") and its documented
extensions `sequence`, `severity` (as text) and `recordedtime`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Struct, UnsetType

from gateway.model import (
    Alarm,
    AlarmTransition,
    DeviceKind,
    Event,
    HealthChange,
    Lane,
    Reason,
    Severity,
    State,
    Stored,
)
from gateway.ports import Backlog

BATCH_CONTENT_TYPE = "application/cloudevents-batch+json"

PLAUSIBLE_FROM = datetime(2020, 1, 1, tzinfo=UTC)
"""A device that claims an earlier time has a clock that was never set: 1970, 2000, its firmware."""

PLAUSIBLE_AHEAD = timedelta(seconds=60)
"""How far before our own clock a device's may run and still be believed."""

SOURCES_KEPT = 32_768
"""Prepared `source` strings: a region has some 20,000 devices, each string about 100 bytes."""

SEVERITY_OF_STATE: Mapping[State, Severity] = {
    State.ONLINE: Severity.INFO,
    State.DEGRADED: Severity.LOW,
    State.OFFLINE: Severity.MEDIUM,
    State.UNKNOWN: Severity.LOW,
    State.MAINTENANCE: Severity.INFO,
}
"""A health change carries no severity of its own; faults are technicians' work, never `high`."""


class EventPayload(Struct, frozen=True, kw_only=True):
    """`data` of an event. `active` is null for a momentary one."""

    device_id: str
    site_id: str
    kind: DeviceKind | None
    active: bool | None
    attributes: Mapping[str, Any]


class HealthPayload(Struct, frozen=True, kw_only=True):
    """`data` of a health change."""

    state: State
    reason: Reason | None
    previous: State
    details: Mapping[str, Any]


class HeartbeatPayload(Struct, frozen=True, kw_only=True):
    """`data` of a heartbeat: what is still to be delivered, a lane."""

    backlog: Mapping[Lane, Backlog]


class CloudEvent(Struct, frozen=True, kw_only=True):
    """One CloudEvent; its fields are the attributes' names on the wire."""

    specversion: str = "1.0"
    id: str
    source: str
    type: str
    subject: str | UnsetType = UNSET
    time: datetime
    datacontenttype: str = "application/json"
    recordedtime: datetime
    sequence: str
    severity: Severity
    lane: Lane
    exercise: bool = False
    data: EventPayload | HealthPayload | HeartbeatPayload | Alarm


_encoder = msgspec.json.Encoder()


def encode(events: Sequence[CloudEvent]) -> bytes:
    """The body of a request: a JSON array. Raises ValueError, TypeError, OverflowError or
    RecursionError where an attribute of a record has no form in JSON."""
    return _encoder.encode(events)


def envelope(gateway: str, stored: Stored) -> CloudEvent:
    """A record as the CloudEvent that every try, every sink and every restart sends alike.

    Sequence 0 says that the record had no place in the journal yet when it was sent.
    Raises TypeError for a record that is never forwarded.
    """
    record = stored.record
    body = record.body
    if isinstance(body, Event):
        time, attributes = _told_time(body)
        if body.native_id is not None:
            attributes = {"id": body.native_id, **attributes}  # the message said that too
        return CloudEvent(
            id=record.record_id,
            source=_source(gateway, body.site_id, body.device_id),
            type=f"kz.kuzet.event.{body.type}",
            subject=body.device_id or UNSET,
            time=time,
            recordedtime=record.recorded_at,
            sequence=_padded(stored.sequence),
            severity=body.severity,
            lane=record.lane,
            exercise=body.exercise,
            data=EventPayload(
                device_id=body.device_id,
                site_id=body.site_id,
                kind=body.kind,
                active=body.active,
                attributes=attributes,
            ),
        )
    if isinstance(body, AlarmTransition):
        alarm = body.alarm
        return CloudEvent(
            id=record.record_id,
            source=_source(gateway, alarm.site_id, alarm.device_id),
            type=f"kz.kuzet.alarm.{body.transition}",
            subject=alarm.device_id or UNSET,
            time=alarm.updated_at,
            recordedtime=record.recorded_at,
            sequence=_padded(stored.sequence),
            severity=alarm.severity,
            lane=record.lane,
            exercise=alarm.exercise,
            data=alarm,
        )
    if isinstance(body, HealthChange):
        return CloudEvent(
            id=record.record_id,
            source=_source(gateway, body.site_id, body.device_id),
            type="kz.kuzet.health.changed",
            subject=body.device_id or UNSET,
            time=body.changed_at,
            recordedtime=record.recorded_at,
            sequence=_padded(stored.sequence),
            severity=SEVERITY_OF_STATE[body.state],
            lane=record.lane,
            data=HealthPayload(
                state=body.state,
                reason=body.reason,
                previous=body.previous,
                details=body.details,
            ),
        )
    msg = f"records of type {record.type} are never forwarded"
    raise TypeError(msg)


def heartbeat(gateway: str, at: datetime, backlog: Mapping[Lane, Backlog]) -> CloudEvent:
    """The gateway's sign of life; it is no record and has no sequence."""
    return CloudEvent(
        id=blake2b(f"heartbeat {gateway} {at.isoformat()}".encode(), digest_size=16).hexdigest(),
        source=_source(gateway, "", ""),
        type="kz.kuzet.gateway.heartbeat",
        time=at,
        recordedtime=at,
        sequence=_padded(0),
        severity=Severity.INFO,
        lane=Lane.ALARM,
        data=HeartbeatPayload(backlog=backlog),
    )


def _told_time(event: Event) -> tuple[datetime, Mapping[str, Any]]:
    """The time to tell, and the attributes: with the device's claim where it is not believed."""
    claim = event.occurred_at
    if claim is None:
        return event.received_at, event.attributes
    if PLAUSIBLE_FROM < claim <= event.received_at + PLAUSIBLE_AHEAD:
        return claim, event.attributes
    return event.received_at, {**event.attributes, "device_time": claim}


def _padded(sequence: int) -> str:
    """Sixteen digits, so that text sorts as the numbers do."""
    return f"{sequence:016d}"


@lru_cache(maxsize=SOURCES_KEPT)
def _source(gateway: str, site_id: str, device_id: str) -> str:
    """A URI reference (RFC 3986 §4.1); parts that are empty are left out."""
    parts = [quote(part, safe="") for part in (gateway, site_id, device_id) if part]
    return f"/kuzet/{'/'.join(parts)}"
