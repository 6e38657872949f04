"""The current health of every device of the inventory, in memory; the journal keeps the changes.

What a device shows is what its own last report says, unless something covers it: maintenance first,
then a recorder that is offline. What is covered is remembered, and shows again afterwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from gateway.errors import NotFound
from gateway.model import (
    Device,
    HealthChange,
    HealthReport,
    Inventory,
    Reason,
    Site,
    State,
)
from gateway.ports import Clock, DeviceHealth

ANSWERING = frozenset((State.ONLINE, State.DEGRADED))
"""The states that prove that the device spoke."""

OWN_STATE = "own_state"
OWN_REASON = "own_reason"
MAINTENANCE_UNTIL = "maintenance_until"
COVER = frozenset((OWN_STATE, OWN_REASON, MAINTENANCE_UNTIL))
"""What the fleet adds to the details of a covered device: what it would show by itself, and when
its maintenance ends (RFC 3339). The journal keeps them, so that a restart forgets neither."""


class _Tracked:
    """A device, what it last said of itself, and what is known besides."""

    __slots__ = (
        "children",
        "device",
        "last_seen",
        "maintenance_until",
        "parent",
        "report",
        "shown",
    )

    def __init__(self, device: Device, report: HealthReport) -> None:
        self.device = device
        self.report = report
        self.last_seen: datetime | None = None
        self.maintenance_until: datetime | None = None
        self.parent: _Tracked | None = None
        self.children: list[_Tracked] = []
        self.shown: DeviceHealth
        self.show(report.state, report.reason, since=None)

    @property
    def down(self) -> bool:
        """As it says itself, in maintenance too: a dead recorder hides its cameras all the same."""
        return self.report.state is State.OFFLINE

    def derived(self) -> tuple[State, Reason | None]:
        """What it has to show."""
        if self.maintenance_until is not None:
            return State.MAINTENANCE, Reason.MAINTENANCE
        if self.parent is not None and self.parent.down:
            return State.UNKNOWN, Reason.PARENT_DOWN
        return self.report.state, self.report.reason

    def show(self, state: State, reason: Reason | None, since: datetime | None) -> None:
        """Takes over a state to show; all else as it is now."""
        report = self.report
        details = report.details
        if (state, reason) != (report.state, report.reason):
            details = {**details, OWN_STATE: report.state.value}
            if report.reason is not None:
                details[OWN_REASON] = report.reason.value
            if self.maintenance_until is not None:
                details[MAINTENANCE_UNTIL] = self.maintenance_until.isoformat()
        self.shown = DeviceHealth(
            device_id=self.device.device_id,
            site_id=self.device.site_id,
            kind=self.device.kind,
            name=self.device.name,
            state=state,
            reason=reason,
            since=since,
            last_seen=self.last_seen,
            details=details,
        )


class Fleet:
    """Takes readings, tells changes; implements `ports.FleetView`.

    A change is a change of state or reason, or of a maintenance's end. `since` is the time of the
    last one, `last_seen` that of the last reading that the device answered.
    """

    def __init__(self, *, inventory: Inventory, clock: Clock) -> None:
        self._clock = clock
        self._sites: Mapping[str, Site] = {}
        self._tracked: dict[str, _Tracked] = {}
        self._maintained: set[str] = set()
        self._watchers: list[Callable[[DeviceHealth], None]] = []
        self.apply(inventory)

    def restore(self, changes: Iterable[HealthChange]) -> None:
        """Takes up devices as the journal's last changes left them; a maintenance that is known
        already stays. Strangers to the inventory are left out."""
        for change in changes:
            tracked = self._tracked.get(change.device_id)
            if tracked is None:
                continue
            tracked.report = _own(change)
            if change.state in ANSWERING:
                tracked.last_seen = change.changed_at
            until = change.details.get(MAINTENANCE_UNTIL)
            if until is not None and tracked.maintenance_until is None:
                self._maintain(tracked, datetime.fromisoformat(until))
            tracked.show(change.state, change.reason, since=change.changed_at)

    def apply(self, inventory: Inventory) -> None:
        """Takes over a changed inventory: new devices were never seen, removed ones vanish, changed
        ones keep their health. A camera under another recorder follows it from its next reading."""
        now = self._clock.now()
        kept = self._tracked
        self._sites = inventory.sites
        self._tracked = {}
        for device_id, device in sorted(inventory.devices.items()):
            tracked = kept.get(device_id) or _Tracked(device, _never_seen(device_id, now))
            if tracked.device != device:
                tracked.device = device
                shown = tracked.shown
                tracked.show(shown.state, shown.reason, since=shown.since)
            tracked.children = []
            self._tracked[device_id] = tracked
        for tracked in self._tracked.values():
            tracked.parent = self._tracked.get(tracked.device.parent)
            if tracked.parent is not None:
                tracked.parent.children.append(tracked)
        self._maintained &= self._tracked.keys()

    def observe(self, report: HealthReport) -> list[HealthChange]:
        """Takes a reading; returns what it changed: at the device, and at cameras behind it. Each
        reading's details replace the earlier ones. A device that no inventory knows changes
        nothing."""
        tracked = self._tracked.get(report.device_id)
        if tracked is None:
            return []
        was_down = tracked.down
        tracked.report = report
        if report.state in ANSWERING:
            tracked.last_seen = report.observed_at
        touched = [tracked]
        if tracked.down != was_down:
            touched += tracked.children
        return self._refresh(touched, report.observed_at)

    # --- maintenance -----------------------------------------------------------------------------

    def set_maintenance(self, device_id: str, until: datetime | None) -> list[HealthChange]:
        """Covers the device's health until then; None ends that now. Raises NotFound."""
        tracked = self._known(device_id)
        self._maintain(tracked, until)
        return self._refresh([tracked], self._clock.now())

    def expire_maintenance(self, now: datetime) -> list[HealthChange]:
        """Ends every maintenance whose time is over at `now`."""
        over = [
            tracked
            for device_id in sorted(self._maintained)
            if (tracked := self._tracked[device_id]).maintenance_until is not None
            and tracked.maintenance_until <= now
        ]
        for tracked in over:
            self._maintain(tracked, None)
        return self._refresh(over, now)

    def next_maintenance_end(self) -> datetime | None:
        """When `expire_maintenance` has something to do next."""
        ends = (self._tracked[device_id].maintenance_until for device_id in self._maintained)
        return min((end for end in ends if end is not None), default=None)

    def _maintain(self, tracked: _Tracked, until: datetime | None) -> None:
        tracked.maintenance_until = until
        if until is None:
            self._maintained.discard(tracked.device.device_id)
        else:
            self._maintained.add(tracked.device.device_id)

    # --- FleetView -------------------------------------------------------------------------------

    def devices(self) -> Sequence[DeviceHealth]:
        return [tracked.shown for tracked in self._tracked.values()]

    def device(self, device_id: str) -> DeviceHealth:
        return self._known(device_id).shown

    def watch(self, changed: Callable[[DeviceHealth], None]) -> Callable[[], None]:
        self._watchers.append(changed)
        return lambda: self._watchers.remove(changed)

    # --- counted ---------------------------------------------------------------------------------

    def counts(self) -> Mapping[tuple[str, str, str, str, str], int]:
        """Devices by (district, kind of site, kind of device, state, reason or "")."""
        # By site first: a site's strings are looked up once for each combination, not each device.
        by_site = Counter(
            (shown.site_id, shown.kind, shown.state, shown.reason) for shown in self.devices()
        )
        counts: Counter[tuple[str, str, str, str, str]] = Counter()
        for (site_id, kind, state, reason), count in by_site.items():
            site = self._sites[site_id]
            counts[site.district, site.kind, kind, state, reason or ""] += count
        return counts

    def sites_up(self) -> Iterable[tuple[Site, bool]]:
        """Each site that has devices, and whether one of them answers."""
        up: dict[str, bool] = {}
        for shown in self.devices():
            up[shown.site_id] = up.get(shown.site_id, False) or shown.state in ANSWERING
        return [(self._sites[site_id], answers) for site_id, answers in sorted(up.items())]

    # ---------------------------------------------------------------------------------------------

    def _known(self, device_id: str) -> _Tracked:
        tracked = self._tracked.get(device_id)
        if tracked is None:
            raise NotFound(f"no device {device_id}")
        return tracked

    def _refresh(self, touched: Iterable[_Tracked], at: datetime) -> list[HealthChange]:
        """Shows what is to be shown, and tells where that is a change."""
        changes = []
        for tracked in touched:
            before = tracked.shown
            state, reason = tracked.derived()
            tracked.show(state, reason, since=before.since)
            if _told(before) == _told(tracked.shown):
                continue
            tracked.show(state, reason, since=at)
            changes.append(
                HealthChange(
                    device_id=tracked.device.device_id,
                    site_id=tracked.device.site_id,
                    kind=tracked.device.kind,
                    state=state,
                    reason=reason,
                    previous=before.state,
                    changed_at=at,
                    details=tracked.shown.details,
                )
            )
        for change in changes:
            shown = self._tracked[change.device_id].shown
            for changed in tuple(self._watchers):
                changed(shown)
        return changes


def _told(shown: DeviceHealth) -> tuple[State, Reason | None, object]:
    """What the journal and the operations center hear of when it changes."""
    return shown.state, shown.reason, shown.details.get(MAINTENANCE_UNTIL)


def _never_seen(device_id: str, at: datetime) -> HealthReport:
    return HealthReport(
        device_id=device_id, state=State.UNKNOWN, reason=Reason.NEVER_SEEN, observed_at=at
    )


def _own(change: HealthChange) -> HealthReport:
    """What the device said itself when `change` was journaled, covered or not."""
    state, reason = change.state, change.reason
    if OWN_STATE in change.details:
        state = State(change.details[OWN_STATE])
        told = change.details.get(OWN_REASON)
        reason = None if told is None else Reason(told)
    return HealthReport(
        device_id=change.device_id,
        state=state,
        reason=reason,
        observed_at=change.changed_at,
        details={key: value for key, value in change.details.items() if key not in COVER},
    )
