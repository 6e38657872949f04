"""What each device is known to be: turns what was said into observations.

A state that a device repeats becomes an event at its edges only. A health report is the whole of
what is known of a device, of which one message tells but a part: so the parts are kept here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from adapters.mqtt.dialects.payload import MAX_DETAILS
from adapters.mqtt.dialects.said import Happened, Level, Reading
from adapters.mqtt.heard import Heard
from adapters.mqtt.privacy import Pseudonyms
from gateway.model import STATE_OF, Event, EventType, HealthReport, Observation, Reason, State

BATTERY_LOW_BELOW = 0.20
"""The usual mark in home automation: leaves a technician weeks, not days, on a coin cell."""
BATTERY_OK_FROM = 0.25
"""Above the mark by one step of cheap gauges, so that a value that trembles tells nothing."""
REPORT_EVERY_S = 60.0
"""A device that only sends events is reported as seen so often, not with each of 1,500 passes a
second."""

_EDGES: Mapping[Level, tuple[EventType, EventType]] = {
    Level.PANIC: (EventType.PANIC_PRESSED, EventType.PANIC_RELEASED),
    Level.TAMPER: (EventType.TAMPER_OPENED, EventType.TAMPER_CLOSED),
    Level.BATTERY_LOW: (EventType.BATTERY_LOW, EventType.BATTERY_OK),
    Level.MAINS_LOST: (EventType.MAINS_LOST, EventType.MAINS_RESTORED),
    Level.DOOR_OPEN: (EventType.DOOR_OPENED, EventType.DOOR_CLOSED),
}
"""What the beginning and the end of a level are. An alarm of panic ends by an operator's clear
alone."""

_LASTING: Mapping[EventType, tuple[Level, bool]] = {
    type_: (level, active)
    for level, (begins, ends) in _EDGES.items()
    if level is not Level.PANIC
    for type_, active in ((begins, True), (ends, False))
}
"""Events that begin or end something; all others are momentary."""

_REASONS: Mapping[Level, Reason] = {
    Level.TAMPER: Reason.TAMPERED,
    Level.BATTERY_LOW: Reason.BATTERY_LOW,
    Level.MAINS_LOST: Reason.MAINS_LOST,
}
_ORDER = {reason: place for place, reason in enumerate(Reason)}


@dataclass(slots=True)
class _Known:
    """What is known of one device."""

    levels: set[Level] = field(default_factory=set)
    claims_panic: bool = False
    """Its last word on Level.PANIC, which is believed only once the press is committed."""
    battery: float | None = None
    details: dict[str, Any] = field(default_factory=dict)
    gone: bool = False
    """It, its last will or its bridge said that it is offline."""
    silence: Reason | None = None
    heard_at: float | None = None
    reported: tuple[Reason, ...] | None = None
    reported_at: float = 0.0


class Standing:
    """What all devices of an adapter are known to be."""

    def __init__(self, devices: Iterable[str], pseudonyms: Pseudonyms) -> None:
        self._known = {device_id: _Known() for device_id in devices}
        self._pseudonyms = pseudonyms
        self.changed = False
        """Whether `memory` differs from what it was when this was last set to False."""

    def keep(self, devices: Collection[str]) -> None:
        """The devices to know from now on."""
        self._known = {device: self._known.get(device) or _Known() for device in devices}

    def memory(self) -> Mapping[str, Sequence[str]]:
        """The levels that last, by device: what has to survive a restart, or a tamper contact that
        stands open would be forgotten, and a button that says `sos` for ever would alarm anew."""
        return {device: sorted(one.levels) for device, one in self._known.items() if one.levels}

    def recall(self, memory: Mapping[str, Sequence[str]]) -> None:
        """Takes up `memory` of an earlier run; unknown devices and levels are passed over."""
        for device, levels in memory.items():
            if device in self._known:
                known_levels = {Level(level) for level in levels if level in list(Level)}
                self._known[device].levels |= known_levels

    # --- what was said ----------------------------------------------------------------------------

    def happened(self, said: Happened, heard: Heard) -> list[Observation]:
        """The event, and a report where health changed by it or was not told lately."""
        one = self._known[said.device_id]
        lasting = _LASTING.get(said.type)
        if lasting is not None:
            self._set(one, *lasting)
        self._hear(one, heard)
        observations: list[Observation] = [
            Event(
                device_id=said.device_id,
                type=said.type,
                received_at=heard.received_at,
                occurred_at=said.occurred_at,
                active=None if lasting is None else lasting[1],
                attributes=self._pseudonyms.cleanse(said.type, said.attributes),
                native_id=said.native_id,
                wire=heard.wire(),
            )
        ]
        if heard.live and (
            _reasons(one) != one.reported or heard.at - one.reported_at >= REPORT_EVERY_S
        ):
            observations.append(self._report(said.device_id, one, heard.received_at, heard.at))
        return observations

    def read(self, said: Reading, heard: Heard) -> list[Observation]:
        """The edges that the reading shows, and the report."""
        one = self._known[said.device_id]
        levels = dict(said.levels)
        if said.battery is not None:
            one.battery = said.battery
            if Level.BATTERY_LOW not in levels:
                low = Level.BATTERY_LOW in one.levels
                mark = BATTERY_OK_FROM if low else BATTERY_LOW_BELOW
                levels[Level.BATTERY_LOW] = said.battery < mark
        observations: list[Observation] = [
            Event(
                device_id=said.device_id,
                type=_EDGES[level][0 if active else 1],
                received_at=heard.received_at,
                occurred_at=said.occurred_at,
                active=None if level is Level.PANIC else active,
                attributes=dict(said.details),
                wire=heard.wire(),
            )
            for level, active in levels.items()
            if self._set(one, level, active)
        ]
        one.details.update(said.details)
        while len(one.details) > MAX_DETAILS:
            del one.details[next(iter(one.details))]
        self._hear(one, heard)
        if said.online is not None:
            one.gone = not said.online
        if heard.live or said.online is not None:
            observations.append(self._report(said.device_id, one, heard.received_at, heard.at))
        return observations

    def committed(self, event: Event) -> None:
        """A press is in the journal: a button that goes on claiming it says nothing new. Not
        before, as a message that was not acknowledged comes again, and must count then."""
        one = self._known.get(event.device_id)
        if one is not None and event.type is EventType.PANIC_PRESSED and one.claims_panic:
            self.changed |= Level.PANIC not in one.levels
            one.levels.add(Level.PANIC)

    # --- silence ----------------------------------------------------------------------------------

    def heard_at(self, device_id: str) -> float | None:
        """When the device was last heard, in monotonic seconds."""
        return self._known[device_id].heard_at

    def silent(self, device_id: str, reason: Reason, now: datetime, at: float) -> HealthReport:
        """The device is silent: `reason` is heartbeat_late or heartbeat_lost."""
        one = self._known[device_id]
        one.silence = reason
        return self._report(device_id, one, now, at)

    # --- one device -------------------------------------------------------------------------------

    def _set(self, one: _Known, level: Level, active: bool) -> bool:
        """Whether the level changed. Level.PANIC is only claimed here: see `committed`."""
        changed = active != (level in one.levels)
        if level is Level.PANIC:
            one.claims_panic = active
        if changed and not active:
            one.levels.remove(level)
            self.changed = True
        elif changed and level is not Level.PANIC:
            one.levels.add(level)
            self.changed = True
        return changed

    def _hear(self, one: _Known, heard: Heard) -> None:
        """A retained message tells of the past, and not that the device lives."""
        if heard.live:
            one.heard_at = heard.at
            one.silence = None
            one.gone = False

    def _report(self, device_id: str, one: _Known, now: datetime, at: float) -> HealthReport:
        reasons = _reasons(one)
        details = dict(one.details)
        if one.battery is not None:
            details["battery"] = one.battery
        if len(reasons) > 1:
            details["reasons"] = [str(reason) for reason in reasons[1:]]
        one.reported, one.reported_at = reasons, at
        return HealthReport(
            device_id=device_id,
            state=STATE_OF[reasons[0]] if reasons else State.ONLINE,
            reason=reasons[0] if reasons else None,
            observed_at=now,
            details=details,
        )


def _reasons(one: _Known) -> tuple[Reason, ...]:
    """Why the device is not online, the worst first (contract, "Reasons")."""
    found = [reason for level, reason in _REASONS.items() if level in one.levels]
    if one.gone:
        found.append(Reason.HEARTBEAT_LOST)
    elif one.silence is not None:
        found.append(one.silence)
    return tuple(sorted(found, key=_rank))


def _rank(reason: Reason) -> tuple[bool, int]:
    return STATE_OF[reason] is not State.OFFLINE, _ORDER[reason]
