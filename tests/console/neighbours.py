"""The console's neighbours in memory, and a district to show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from gateway.console import Check, Readiness
from gateway.errors import CommandRefused, JournalError, NotFound
from gateway.model import (
    Alarm,
    AlarmState,
    Audience,
    Command,
    CommandName,
    Condition,
    DeviceKind,
    Reason,
    Severity,
    Site,
    SiteKind,
    State,
)
from gateway.ports import DeviceHealth


class Desk:
    """`ports.AlarmDesk` and the console's `DeviceDesk` over plain dictionaries."""

    def __init__(self, fleet: Fleet) -> None:
        self.known: dict[str, Alarm] = {}
        self.commands: list[Command] = []
        self.ordered: list[tuple[str, str, str, float, str]] = []
        self.broken = False
        self._fleet = fleet
        self._watchers: list[Callable[[Alarm], None]] = []

    def raise_(self, alarm: Alarm) -> None:
        self.known[alarm.alarm_id] = alarm
        for changed in tuple(self._watchers):
            changed(alarm)

    def alarms(self) -> Sequence[Alarm]:
        return sorted(self.known.values(), key=lambda alarm: alarm.raised_at, reverse=True)

    def alarm(self, alarm_id: str) -> Alarm:
        if alarm_id not in self.known:
            raise NotFound(f"no alarm {alarm_id}")
        return self.known[alarm_id]

    async def execute(self, command: Command) -> Alarm:
        alarm = self.alarm(command.target)
        if self.broken:
            raise JournalError("disk")
        if command.name is CommandName.SHELVE and alarm.condition is Condition.PANIC:
            raise CommandRefused("a panic alarm cannot be shelved")
        self.commands.append(command)
        if command.name is CommandName.ACKNOWLEDGE:
            alarm = replace(
                alarm,
                state=AlarmState.ACKNOWLEDGED,
                acknowledged=True,
                acknowledged_by=command.by,
                acknowledged_at=command.at,
            )
        elif command.name is CommandName.CLEAR:
            alarm = replace(alarm, state=AlarmState.CLOSED, active=False, cleared_at=command.at)
        self.raise_(alarm)
        return alarm

    def watch(self, changed: Callable[[Alarm], None]) -> Callable[[], None]:
        self._watchers.append(changed)
        return lambda: self._watchers.remove(changed)

    @property
    def watchers(self) -> int:
        return len(self._watchers)

    async def test_mode(self, device_id: str, by: str, minutes: float, reason: str) -> None:
        if self._fleet.device(device_id).kind is not DeviceKind.PANIC_BUTTON:
            raise CommandRefused("only a panic button has a test mode")
        self.ordered.append(("test_mode", device_id, by, minutes, reason))

    async def maintenance(self, device_id: str, by: str, minutes: float, reason: str) -> None:
        device = self._fleet.device(device_id)
        self.ordered.append(("maintenance", device_id, by, minutes, reason))
        self._fleet.put(replace(device, state=State.MAINTENANCE, reason=Reason.MAINTENANCE))


class Fleet:
    """`ports.FleetView` over a dictionary."""

    def __init__(self) -> None:
        self.known: dict[str, DeviceHealth] = {}
        self._watchers: list[Callable[[DeviceHealth], None]] = []

    def put(self, device: DeviceHealth) -> None:
        self.known[device.device_id] = device
        for changed in tuple(self._watchers):
            changed(device)

    def devices(self) -> Sequence[DeviceHealth]:
        return [self.known[device_id] for device_id in sorted(self.known)]

    def device(self, device_id: str) -> DeviceHealth:
        if device_id not in self.known:
            raise NotFound(f"no device {device_id}")
        return self.known[device_id]

    def watch(self, changed: Callable[[DeviceHealth], None]) -> Callable[[], None]:
        self._watchers.append(changed)
        return lambda: self._watchers.remove(changed)

    @property
    def watchers(self) -> int:
        return len(self._watchers)


class Health:
    """What readiness says; a test turns one check over."""

    def __init__(self) -> None:
        self.journal_writable = True

    def __call__(self) -> Readiness:
        return Readiness(
            checks=(
                Check(name="journal", ok=self.journal_writable, required=True),
                Check(name="broker", ok=False, required=False, detail="connection refused"),
            )
        )


NAMES = (
    ("School-gymnasium No. 12", "Taraz", SiteKind.SCHOOL),
    ("Балабақша «Балдырған»", "Bayzak", SiteKind.KINDERGARTEN),
    ("Колледж энергетики и связи", "Shu", SiteKind.COLLEGE),
    ("Ы. Алтынсарин атындағы мектеп", "Korday", SiteKind.SCHOOL),
)
FAULTS: Sequence[tuple[State, Reason]] = (
    (State.OFFLINE, Reason.UNREACHABLE),
    (State.OFFLINE, Reason.AUTH_FAILED),
    (State.DEGRADED, Reason.CLOCK_SKEW),
    (State.UNKNOWN, Reason.PARENT_DOWN),
    (State.DEGRADED, Reason.PICTURE_FROZEN),
    (State.OFFLINE, Reason.NO_PACKETS),
    (State.DEGRADED, Reason.BATTERY_LOW),
)


def make_sites(count: int) -> Mapping[str, Site]:
    """`count` sites, `s0001` and on."""
    made = {}
    for number in range(1, count + 1):
        name, district, kind = NAMES[number % len(NAMES)]
        site_id = f"s{number:04}"
        made[site_id] = Site(
            site_id=site_id,
            name=name,
            kind=kind,
            district=district,
            address="Tole Bi Street 54",
            phone="+7 7262 43 21 00",
        )
    return made


def make_devices(sites: Mapping[str, Site], count: int, now: datetime) -> Sequence[DeviceHealth]:
    """`count` devices over the sites; every 25th has a fault."""
    made = []
    site_ids = sorted(sites)
    kinds = (
        DeviceKind.CAMERA,
        DeviceKind.PANIC_BUTTON,
        DeviceKind.TURNSTILE,
        DeviceKind.RECORDER,
        DeviceKind.INTERCOM,
    )
    for number in range(count):
        site_id = site_ids[number % len(site_ids)]
        kind = kinds[0] if number >= 5 * len(site_ids) else kinds[number // len(site_ids) % 5]
        state, reason = State.ONLINE, None
        if number % 25 == 3:
            state, reason = FAULTS[number // 25 % len(FAULTS)]
        details: dict[str, object] = {}
        if kind is DeviceKind.PANIC_BUTTON:
            details = {"battery": 0.83}
        elif kind is DeviceKind.CAMERA:
            details = {"maker": "Dahua", "fps": 25, "width": 1920, "height": 1080, "codec": "H264"}
        if reason is Reason.CLOCK_SKEW:
            details = {**details, "clock_skew_s": 3721.4, "reasons": ["clock_skew", "low_rate"]}
        made.append(
            DeviceHealth(
                device_id=f"{site_id}-{kind}-{number:05}",
                site_id=site_id,
                kind=kind,
                name=f"{kind.replace('_', ' ').capitalize()}, entrance {number % 4 + 1}",
                state=state,
                reason=reason,
                since=now - timedelta(minutes=number % 5000),
                last_seen=now - timedelta(seconds=number % 60),
                details=details,
            )
        )
    return made


def make_alarm(
    number: int,
    condition: Condition = Condition.PANIC,
    *,
    site_id: str = "s0001",
    device_id: str = "s0001-panic_button-00001",
    at: datetime | None = None,
    state: AlarmState = AlarmState.UNACKNOWLEDGED,
    audience: Audience = Audience.OPERATOR,
    count: int = 1,
    exercise: bool = False,
    detail: str = "",
) -> Alarm:
    """Alarm `a<number>`."""
    severity = Severity.CRITICAL if condition is Condition.PANIC else Severity.HIGH
    raised = at or datetime(2026, 10, 5, 9, 0, tzinfo=UTC) + timedelta(seconds=number)
    acknowledged = state is AlarmState.ACKNOWLEDGED
    return Alarm(
        alarm_id=f"a{number:04}",
        device_id=device_id,
        site_id=site_id,
        condition=condition,
        severity=severity,
        state=state,
        active=state is not AlarmState.CLOSED,
        acknowledged=acknowledged,
        acknowledged_by="aigerim" if acknowledged else None,
        acknowledged_at=raised if acknowledged else None,
        raised_at=raised,
        updated_at=raised,
        audience=audience,
        count=count,
        exercise=exercise,
        detail=detail,
    )
