"""Notices devices that have fallen silent."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable

from adapters.mqtt.standing import Standing
from gateway.model import Device, HealthReport, Reason
from gateway.ports import Clock

LATE_AFTER = 1.5
"""Heartbeats: one was missed, and the next is due half."""
LOST_AFTER = 3.0
"""Heartbeats: two were missed in a row, which is no radio collision any more."""


class Supervision:
    """Supervises devices with a `heartbeat_s`. Costs nothing for each message: a device is looked
    at when it could have fallen silent, not when it speaks."""

    def __init__(
        self, standing: Standing, listening_since: Callable[[Device], float | None], clock: Clock
    ) -> None:
        """`listening_since` says since when (monotonic) the device's broker forwards to us; None
        while it does not. Silence is counted from there at the earliest: our own deafness is no
        device's fault."""
        self._standing = standing
        self._listening_since = listening_since
        self._clock = clock
        self._due: list[tuple[float, str]] = []
        self._devices: dict[str, Device] = {}

    def watch(self, devices: Iterable[Device]) -> None:
        """The devices to supervise from now on; those already known keep their time."""
        known = self._devices
        self._devices = {one.device_id: one for one in devices if one.heartbeat_s}
        now = self._clock.monotonic()
        self._due = [entry for entry in self._due if entry[1] in self._devices]
        fresh = self._devices.keys() - known.keys()
        changed = {
            device_id
            for device_id in self._devices.keys() & known.keys()
            if self._devices[device_id].heartbeat_s != known[device_id].heartbeat_s
        }
        self._due = [entry for entry in self._due if entry[1] not in changed]
        self._due += [(now, device_id) for device_id in fresh | changed]
        heapq.heapify(self._due)

    def sweep(self) -> list[HealthReport]:
        """Reports of the devices that are silent by now; to be called about every second. A device
        stays reported, again and again, until it is heard: a report may get lost on its way."""
        now = self._clock.monotonic()
        reports: list[HealthReport] = []
        while self._due and self._due[0][0] <= now:
            _, device_id = heapq.heappop(self._due)
            device = self._devices[device_id]
            again, reason = self._look_at(device, now)
            if reason is not None:
                reports.append(self._standing.silent(device_id, reason, self._clock.now(), now))
            heapq.heappush(self._due, (again, device_id))
        return reports

    def _look_at(self, device: Device, now: float) -> tuple[float, Reason | None]:
        """When to look again, and what the device's silence means by now."""
        heartbeat_s = device.heartbeat_s or 0.0
        listening_since = self._listening_since(device)
        if listening_since is None:
            return now + heartbeat_s, None
        heard_at = self._standing.heard_at(device.device_id)
        quiet_since = listening_since if heard_at is None else max(heard_at, listening_since)
        if now < quiet_since + LATE_AFTER * heartbeat_s:
            return quiet_since + LATE_AFTER * heartbeat_s, None
        if now < quiet_since + LOST_AFTER * heartbeat_s:
            return quiet_since + LOST_AFTER * heartbeat_s, Reason.HEARTBEAT_LATE
        return now + heartbeat_s, Reason.HEARTBEAT_LOST
