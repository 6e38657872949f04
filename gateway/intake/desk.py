"""The door by which people's commands and the gateway's own troubles enter: they are records too.

Nothing changes state behind the journal's back: a command is committed first, with who, when and
why, and obeyed then; after a restart it is obeyed again in the same way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Protocol

from gateway.errors import CommandRefused, JournalError, NotFound
from gateway.intake.commit import AlarmRoad
from gateway.intake.observations import health_record
from gateway.intake.presses import LONGEST_TEST, PressLedger, hashed
from gateway.model import (
    Command,
    CommandName,
    Condition,
    DeviceKind,
    Event,
    EventType,
    GatewayCondition,
    HealthChange,
    Inventory,
    Lane,
    Record,
    Retention,
    Severity,
)
from gateway.ports import Clock, Journal, Metrics

log = logging.getLogger(__name__)

ON_DEVICE = frozenset((CommandName.TEST_MODE, CommandName.MAINTENANCE))
LONGEST_MAINTENANCE = timedelta(days=30)
"""Long enough for a rebuilt entrance; whoever needs more says so again."""


class Maintained(Protocol):
    """What the desk asks of the fleet."""

    def set_maintenance(
        self, device_id: str, until: datetime | None, /
    ) -> Iterable[HealthChange]: ...


class Desk:
    """Commits commands and conditions; obeys those on devices. `tell` implements
    `ports.Conditions`."""

    def __init__(
        self,
        *,
        gateway: str,
        journal: Journal,
        road: AlarmRoad,
        fleet: Maintained,
        presses: PressLedger,
        inventory: Inventory,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._gateway = gateway
        self._journal = journal
        self._road = road
        self._fleet = fleet
        self._presses = presses
        self._devices = inventory.devices
        self._clock = clock
        self._metrics = metrics
        self._conditions: dict[tuple[Condition, str], bool] = {}

    async def restore(self) -> None:
        """Takes up conditions, test modes and maintenances where the journal left them."""
        async for stored in self._journal.latest("gateway.condition"):
            if isinstance(stored.record.body, GatewayCondition):
                told = stored.record.body
                self._conditions[told.condition, told.subject] = told.active
        for name in sorted(ON_DEVICE):
            async for stored in self._journal.latest(f"command.{name}"):
                if isinstance(stored.record.body, Command):
                    self._obey(stored.record.body)

    def apply(self, inventory: Inventory) -> None:
        """A changed inventory: known from now on."""
        self._devices = inventory.devices

    async def command(self, command: Command) -> Record:
        """Commits what a person asked for and returns its record. Raises NotFound or CommandRefused
        for a command on a device that cannot be; commands on alarms are checked by the engine."""
        on_device = command.name in ON_DEVICE
        if on_device:
            self._check(command)
        record = Record(
            record_id=hashed(
                "command", command.name, command.target, command.by, command.at.isoformat()
            ),
            lane=Lane.ALARM,
            retention=Retention.AUDIT,
            type=f"command.{command.name}",
            key=command.target if on_device else None,
            recorded_at=self._clock.now(),
            body=command,
        )
        await self._road.commit(record)
        log.info("command: name=%s target=%s by=%s", command.name, command.target, command.by)
        if on_device:
            await self.publish(self._obey(command))
        return record

    async def test_mode(self, device_id: str, by: str, minutes: float, reason: str) -> None:
        """The button's next press within `minutes` (at most 60) is a test; 0 ends it."""
        await self.command(self._on(CommandName.TEST_MODE, device_id, by, minutes, reason))

    async def maintenance(self, device_id: str, by: str, minutes: float, reason: str) -> None:
        """The device's health is not counted for `minutes`; its presses are. 0 ends it."""
        await self.command(self._on(CommandName.MAINTENANCE, device_id, by, minutes, reason))

    async def tell(
        self, condition: Condition, subject: str, *, active: bool, detail: str = ""
    ) -> None:
        """See `ports.Conditions`."""
        if self._conditions.get((condition, subject), False) == active:
            return
        self._conditions[condition, subject] = active
        now = self._clock.now()
        log.warning("gateway: %s %s active=%s %s", condition, subject, active, detail)
        record = Record(
            record_id=hashed("condition", condition, subject, str(active), now.isoformat()),
            lane=Lane.ALARM,
            retention=Retention.ALARM,
            type="gateway.condition",
            key=f"{condition} {subject}",
            recorded_at=now,
            body=GatewayCondition(
                condition=condition, subject=subject, active=active, at=now, detail=detail
            ),
        )
        # It counts as told from here on, so whoever tells it may be cancelled, the commit not.
        await asyncio.shield(self._road.start(record.record_id, self._road.commit(record)))

    async def announce(self, event_type: EventType) -> None:
        """An event of the gateway itself, such as its start; given up if it cannot be committed."""
        now = self._clock.now()
        record_id = hashed("gateway", self._gateway, event_type, now.isoformat())
        event = Event(
            device_id=self._gateway,
            type=event_type,
            received_at=now,
            record_id=record_id,
            site_id="gateway",
            severity=Severity.INFO,
        )
        await self._telemetry(
            [
                Record(
                    record_id=record_id,
                    lane=Lane.TELEMETRY,
                    retention=Retention.EVENT,
                    type=event_type,
                    recorded_at=now,
                    body=event,
                )
            ]
        )

    async def publish(self, changes: Iterable[HealthChange]) -> None:
        """Commits changes of health that no report caused, such as the end of a maintenance."""
        records = [health_record(change) for change in changes]
        if records:
            await self._telemetry(records)

    async def _telemetry(self, records: list[Record]) -> None:
        try:
            await self._journal.append(records)
        except JournalError as error:
            self._metrics.dropped(Lane.TELEMETRY, "journal", len(records))
            log.warning("%s cannot be committed: %s", records[0].type, error)
        else:
            self._metrics.appended(Lane.TELEMETRY, len(records))

    def _on(
        self, name: CommandName, device_id: str, by: str, minutes: float, reason: str
    ) -> Command:
        return Command(
            name=name,
            target=device_id,
            by=by,
            at=self._clock.now(),
            comment=reason,
            minutes=minutes,
        )

    def _check(self, command: Command) -> None:
        device = self._devices.get(command.target)
        if device is None:
            raise NotFound(f"no device {command.target}")
        test = command.name is CommandName.TEST_MODE
        longest = (LONGEST_TEST if test else LONGEST_MAINTENANCE).total_seconds() / 60
        if test and device.kind is not DeviceKind.PANIC_BUTTON:
            raise CommandRefused(f"{device.device_id} is no panic button")
        if command.minutes is None or not 0 <= command.minutes <= longest:
            raise CommandRefused(f"`minutes` is needed: at most {longest:.0f}, 0 to end it")

    def _obey(self, command: Command) -> Iterable[HealthChange]:
        end = command.at + timedelta(minutes=command.minutes or 0.0)
        over = end <= self._clock.now()
        if command.name is CommandName.TEST_MODE:
            if over:
                self._presses.end_test(command.target)
            else:
                self._presses.start_test(command.target, start=command.at, end=end)
            return ()
        if command.target not in self._devices:
            return ()
        return self._fleet.set_maintenance(command.target, None if over else end)
