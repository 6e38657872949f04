"""Intake: what is stamped, what is committed, and what happens when it cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta

import pytest

from gateway.errors import CommandRefused, JournalError, JournalFull, NotFound
from gateway.fleet import Fleet
from gateway.intake.commit import AlarmRoad
from gateway.intake.desk import Desk
from gateway.intake.observations import Intake
from gateway.intake.presses import PressLedger, WireLedger
from gateway.metrics import PrometheusMetrics
from gateway.model import (
    AdapterName,
    Device,
    DeviceKind,
    Event,
    EventType,
    Finding,
    FindingCause,
    HealthReport,
    Inventory,
    Lane,
    Reason,
    Record,
    Severity,
    Site,
    SiteKind,
    State,
    Wire,
)
from tests.memory_journal import MemoryJournal
from tests.peers import until
from tests.simulated_clock import SimulatedClock


def device(device_id: str, kind: DeviceKind) -> Device:
    return Device(
        device_id=device_id,
        site_id="school-1",
        kind=kind,
        name=device_id,
        adapter=AdapterName.MQTT,
    )


INVENTORY = Inventory(
    sites={"school-1": Site(site_id="school-1", name="School", kind=SiteKind.SCHOOL)},
    devices={
        "button-1": device("button-1", DeviceKind.PANIC_BUTTON),
        "door-1": device("door-1", DeviceKind.TURNSTILE),
    },
)


class House:
    """Intake with its neighbours, on a journal in memory."""

    def __init__(self, journal: MemoryJournal, clock: SimulatedClock) -> None:
        self.journal = journal
        self.clock = clock
        self.express: list[Record] = []
        self.metrics = PrometheusMetrics()
        self.fleet = Fleet(inventory=INVENTORY, clock=clock)
        wires = WireLedger()
        presses = PressLedger(wires)

        def express(records: Sequence[Record]) -> None:
            self.express.extend(records)

        self.road = AlarmRoad(journal=journal, clock=clock, metrics=self.metrics, express=express)
        self.desk = Desk(
            gateway="rig",
            journal=journal,
            road=self.road,
            fleet=self.fleet,
            presses=presses,
            inventory=INVENTORY,
            clock=clock,
            metrics=self.metrics,
        )
        self.intake = Intake(
            journal=journal,
            road=self.road,
            fleet=self.fleet,
            presses=presses,
            wires=wires,
            conditions=self.desk,
            inventory=INVENTORY,
            clock=clock,
            metrics=self.metrics,
        )

    async def restarted(self) -> House:
        house = House(self.journal.restart(), self.clock)
        await house.desk.restore()
        await house.intake.restore()
        return house

    async def records(self, lane: Lane = Lane.ALARM) -> list[Record]:
        return [stored.record async for stored in self.journal.read(lane)]

    def press(self, native_id: str | None = "p1", wire: Wire | None = None) -> Event:
        return Event(
            device_id="button-1",
            type=EventType.PANIC_PRESSED,
            received_at=self.clock.now(),
            occurred_at=self.clock.now() if native_id else None,
            native_id=native_id,
            wire=wire,
        )


@pytest.fixture
async def house() -> AsyncIterator[House]:
    clock = SimulatedClock()
    house = House(MemoryJournal(clock), clock)
    yield house
    house.road.abandon()
    await asyncio.sleep(0)


def wire(*, dup: bool = False) -> Wire:
    return Wire(session="s", packet_id=7, dup=dup, retained=False, digest="bytes")


async def test_a_press_is_stamped_and_committed_to_the_alarm_lane(house: House) -> None:
    await house.intake.emit([house.press()])
    [record] = await house.records()
    assert isinstance(record.body, Event)
    assert (record.type, record.lane) == ("panic.pressed", Lane.ALARM)
    assert (record.body.site_id, record.body.kind) == ("school-1", DeviceKind.PANIC_BUTTON)
    assert record.body.severity is Severity.CRITICAL
    assert record.body.record_id == record.record_id


async def test_emit_returns_only_when_the_press_is_committed(house: House) -> None:
    house.journal.hold(Lane.ALARM)
    emitting = asyncio.create_task(house.intake.emit([house.press()]))
    repeat = asyncio.create_task(house.intake.emit([house.press()]))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not emitting.done()
    assert not repeat.done(), "a repeat is acknowledged when the first one is committed"
    house.journal.release(Lane.ALARM)
    await asyncio.gather(emitting, repeat)
    assert len(await house.records()) == 1


async def test_a_press_that_hangs_goes_out_from_memory_under_the_id_it_keeps(
    house: House,
) -> None:
    house.journal.hold(Lane.ALARM)
    emitting = asyncio.create_task(house.intake.emit([house.press()]))
    await until(lambda: house.express)
    assert not emitting.done(), "it stays unacknowledged"
    house.journal.release(Lane.ALARM)
    await emitting
    [record] = await house.records()
    assert [sent.record_id for sent in house.express] == [record.record_id]


async def test_a_press_is_tried_until_the_journal_takes_it(house: House) -> None:
    house.journal.fail[Lane.ALARM] = JournalError("no disk")
    emitting = asyncio.create_task(house.intake.emit([house.press()]))
    await house.clock.advance(2)
    assert not emitting.done()
    house.journal.fail[Lane.ALARM] = None
    await house.clock.advance(1)
    await emitting
    assert len(await house.records()) == 1


async def test_a_cancelled_adapter_leaves_no_press_half_known(house: House) -> None:
    house.journal.hold(Lane.ALARM)
    emitting = asyncio.create_task(house.intake.emit([house.press(None, wire())]))
    await asyncio.sleep(0)
    emitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await emitting
    house.journal.release(Lane.ALARM)
    await house.intake.emit([house.press(None, wire(dup=True))])
    assert len(await house.records()) == 1


async def test_a_press_redelivered_after_a_crash_keeps_its_id(house: House) -> None:
    await house.intake.emit([house.press(None, wire())])
    before = await house.records()
    again = await house.restarted()
    await house.clock.advance(3)
    await again.intake.emit([again.press(None, wire(dup=True))])
    assert await again.records() == before


async def test_identical_bytes_after_a_restart_are_a_new_press(house: House) -> None:
    await house.intake.emit([house.press(None, wire())])
    again = await house.restarted()
    await house.clock.advance(3)
    await again.intake.emit([again.press(None, wire())])
    assert len({record.record_id for record in await again.records()}) == 2


async def test_a_press_whose_id_an_old_press_has_is_not_silenced(house: House) -> None:
    first = house.press()
    await house.intake.emit([first])
    await house.clock.advance(25 * 3600)
    again = await house.restarted()  # its ledger no longer knows the press, the journal does
    stuck = Event(
        device_id="button-1",
        type=EventType.PANIC_PRESSED,
        received_at=house.clock.now(),
        occurred_at=first.occurred_at,
        native_id="p1",
    )
    await again.intake.emit([stuck])
    assert len({record.record_id for record in await again.records()}) == 2


async def test_test_mode_survives_a_restart_and_takes_one_press(house: House) -> None:
    await house.desk.test_mode("button-1", "aigul", 30, "monthly test")
    again = await house.restarted()
    await house.clock.advance(60)
    await again.intake.emit([again.press("t1")])
    last = await again.restarted()
    await house.clock.advance(60)
    await last.intake.emit([last.press("t2")])
    types = [r.type for r in await last.records() if r.type.startswith("panic")]
    assert types == ["panic.test", "panic.pressed"]


async def test_test_mode_is_refused_where_it_makes_no_sense(house: House) -> None:
    for target, minutes in (("door-1", 5.0), ("button-1", 61.0), ("button-1", -1.0)):
        with pytest.raises(CommandRefused):
            await house.desk.test_mode(target, "aigul", minutes, "")
    with pytest.raises(NotFound):
        await house.desk.test_mode("nobody", "aigul", 5, "")
    assert await house.records() == []


async def test_a_press_during_maintenance_is_a_full_press(house: House) -> None:
    await house.desk.maintenance("button-1", "aigul", 60, "new battery")
    assert house.fleet.device("button-1").state is State.MAINTENANCE
    await house.intake.emit([house.press()])
    assert "panic.pressed" in [record.type for record in await house.records()]


async def test_telemetry_with_an_id_is_committed_once(house: House) -> None:
    event = Event(
        device_id="door-1",
        type=EventType.ACCESS_PASSED,
        received_at=house.clock.now(),
        occurred_at=house.clock.now(),
        native_id="17",
    )
    await house.intake.emit([event, event])
    await house.clock.advance(60)
    await house.intake.emit([event])
    assert len(await house.records(Lane.TELEMETRY)) == 1


async def test_telemetry_of_a_clock_at_1970_is_not_lost_the_next_day(house: House) -> None:
    def passed(received_at: datetime) -> Event:
        return Event(
            device_id="door-1",
            type=EventType.ACCESS_PASSED,
            received_at=received_at,
            occurred_at=datetime.fromisoformat("1970-01-01T00:00:05Z"),
            native_id="1",
        )

    now = house.clock.now()
    await house.intake.emit([passed(now), passed(now), passed(now + timedelta(days=1))])
    assert len(await house.records(Lane.TELEMETRY)) == 2


async def test_telemetry_without_an_id_is_recognised_by_its_redelivery(house: House) -> None:
    def opened(*, dup: bool) -> Event:
        return Event(
            device_id="door-1",
            type=EventType.DOOR_OPENED,
            received_at=house.clock.now(),
            wire=wire(dup=dup),
        )

    await house.intake.emit([opened(dup=False)])
    await house.clock.advance(1)
    again = await house.restarted()
    await again.intake.emit([opened(dup=True)])
    await again.intake.emit([opened(dup=False)])
    assert len(await again.records(Lane.TELEMETRY)) == 2


async def test_only_a_change_of_health_enters_the_journal(house: House) -> None:
    for state, reason in (
        (State.ONLINE, None),
        (State.ONLINE, None),
        (State.OFFLINE, Reason.HEARTBEAT_LOST),
    ):
        await house.clock.advance(1)
        await house.intake.emit(
            [
                HealthReport(
                    device_id="door-1",
                    state=state,
                    reason=reason,
                    observed_at=house.clock.now(),
                )
            ]
        )
    assert len(await house.records(Lane.TELEMETRY)) == 2
    again = await house.restarted()
    assert again.fleet.device("door-1").state is State.OFFLINE


async def test_a_full_disk_is_told_and_its_end_too(house: House) -> None:
    report = HealthReport(device_id="door-1", state=State.ONLINE, observed_at=house.clock.now())
    house.journal.fail[Lane.TELEMETRY] = JournalFull("below 5 % free")
    with pytest.raises(JournalFull):
        await house.intake.emit([report])
    house.journal.fail[Lane.TELEMETRY] = None
    await house.intake.emit(
        [
            HealthReport(
                device_id="door-1",
                state=State.OFFLINE,
                reason=Reason.HEARTBEAT_LOST,
                observed_at=house.clock.now(),
            )
        ]
    )
    told = [record.body for record in await house.records() if record.type == "gateway.condition"]
    assert [getattr(body, "active", None) for body in told] == [True, False]


async def test_a_press_beside_telemetry_that_fails_does_not_raise(house: House) -> None:
    house.journal.fail[Lane.TELEMETRY] = JournalError("stuck")
    report = HealthReport(device_id="door-1", state=State.ONLINE, observed_at=house.clock.now())
    await house.intake.emit([report, house.press()])
    assert [record.type for record in await house.records()] == ["panic.pressed"]
    dropped = b'kuzet_records_dropped_total{lane="telemetry",reason="journal"} 1.0'
    assert dropped in house.metrics.exposition()


async def test_a_finding_is_committed_once(house: House) -> None:
    def finding(*, dup: bool) -> Finding:
        return Finding(
            device_id="button-1",
            cause=FindingCause.UNREADABLE,
            received_at=house.clock.now(),
            topic="kuzet/school-1/button-1/event",
            excerpt="[[[[",
            detail="no JSON",
            wire=wire(dup=dup),
        )

    await house.intake.emit([finding(dup=False)])
    await house.clock.advance(1)
    again = await house.restarted()
    await again.intake.emit([finding(dup=True)])
    [record] = await again.records()
    assert record.type == "device.finding"


async def test_an_unknown_device_is_counted_and_stops_nothing(house: House) -> None:
    stranger = Event(
        device_id="nobody", type=EventType.PANIC_PRESSED, received_at=house.clock.now()
    )
    await house.intake.emit([stranger, house.press()])
    assert len(await house.records()) == 1
    counted = b'kuzet_errors_total{reason="unknown_device",stage="intake"} 1.0'
    assert counted in house.metrics.exposition()
