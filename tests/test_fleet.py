"""The fleet: what is shown of each device, and what counts as a change."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest

from gateway.errors import NotFound
from gateway.fleet import Fleet
from gateway.model import (
    AdapterName,
    Device,
    DeviceKind,
    HealthChange,
    HealthReport,
    Inventory,
    Reason,
    Site,
    SiteKind,
    State,
)
from gateway.ports import DeviceHealth
from tests.simulated_clock import START, SimulatedClock

SITES = {
    "school-1": Site(site_id="school-1", name="School 1", kind=SiteKind.SCHOOL, district="Abay"),
    "garden-2": Site(
        site_id="garden-2", name="Garden 2", kind=SiteKind.KINDERGARTEN, district="Abay"
    ),
}


def device(device_id: str, kind: DeviceKind, site_id: str = "school-1", parent: str = "") -> Device:
    return Device(
        device_id=device_id,
        site_id=site_id,
        kind=kind,
        name=device_id,
        adapter=AdapterName.ONVIF,
        parent=parent,
    )


RECORDER = device("recorder", DeviceKind.RECORDER)
BEHIND_1 = device("behind-1", DeviceKind.CAMERA, parent="recorder")
BEHIND_2 = device("behind-2", DeviceKind.CAMERA, parent="recorder")
BUTTON = device("button", DeviceKind.PANIC_BUTTON, "garden-2")


def inventory(*devices: Device) -> Inventory:
    return Inventory(sites=SITES, devices={one.device_id: one for one in devices})


ALL = inventory(RECORDER, BEHIND_2, BEHIND_1, BUTTON)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def report(
    device_id: str,
    state: State = State.ONLINE,
    reason: Reason | None = None,
    minutes: float = 0,
    **details: object,
) -> HealthReport:
    return HealthReport(
        device_id=device_id, state=state, reason=reason, observed_at=at(minutes), details=details
    )


def offline(device_id: str, minutes: float = 0) -> HealthReport:
    return report(device_id, State.OFFLINE, Reason.TIMEOUT, minutes)


def shown(fleet: Fleet, device_id: str) -> tuple[State, Reason | None]:
    health = fleet.device(device_id)
    return health.state, health.reason


def told(changes: list[HealthChange]) -> list[tuple[str, State, Reason | None, State]]:
    return [(one.device_id, one.state, one.reason, one.previous) for one in changes]


def through_json(changes: list[HealthChange]) -> list[HealthChange]:
    return msgspec.json.decode(msgspec.json.encode(changes), type=list[HealthChange])


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
def fleet(clock: SimulatedClock) -> Fleet:
    return Fleet(inventory=ALL, clock=clock)


# --- readings ------------------------------------------------------------------------------------


def test_every_device_of_the_inventory_is_there_by_id_and_never_seen(fleet: Fleet) -> None:
    devices = fleet.devices()
    assert [one.device_id for one in devices] == ["behind-1", "behind-2", "button", "recorder"]
    assert {(one.state, one.reason) for one in devices} == {(State.UNKNOWN, Reason.NEVER_SEEN)}
    assert {(one.since, one.last_seen) for one in devices} == {(None, None)}


def test_a_first_reading_is_a_change_with_all_that_the_center_needs(fleet: Fleet) -> None:
    assert fleet.observe(report("button", minutes=1, battery=0.8)) == [
        HealthChange(
            device_id="button",
            site_id="garden-2",
            kind=DeviceKind.PANIC_BUTTON,
            state=State.ONLINE,
            reason=None,
            previous=State.UNKNOWN,
            changed_at=at(1),
            details={"battery": 0.8},
        )
    ]


def test_the_same_state_again_is_no_change_but_its_details_and_time_are_shown(fleet: Fleet) -> None:
    fleet.observe(report("button", minutes=1, battery=0.8, model="X"))
    assert fleet.observe(report("button", minutes=2, battery=0.7)) == []
    health = fleet.device("button")
    assert (health.since, health.last_seen) == (at(1), at(2))
    assert health.details == {"battery": 0.7}


def test_another_reason_is_a_change(fleet: Fleet) -> None:
    fleet.observe(offline("button", minutes=1))
    changes = fleet.observe(report("button", State.OFFLINE, Reason.AUTH_FAILED, minutes=2))
    assert told(changes) == [("button", State.OFFLINE, Reason.AUTH_FAILED, State.OFFLINE)]
    assert fleet.device("button").since == at(2)


def test_only_an_answer_makes_a_device_seen(fleet: Fleet) -> None:
    fleet.observe(report("button", State.DEGRADED, Reason.BATTERY_LOW, minutes=1))
    fleet.observe(offline("button", minutes=2))
    assert fleet.device("button").last_seen == at(1)


def test_a_stranger_changes_nothing(fleet: Fleet) -> None:
    before = fleet.devices()
    assert fleet.observe(report("stranger")) == []
    assert fleet.devices() == before
    with pytest.raises(NotFound, match="stranger"):
        fleet.device("stranger")


def test_watchers_hear_of_changes_until_they_end_it(fleet: Fleet) -> None:
    heard: list[DeviceHealth] = []
    end = fleet.watch(heard.append)
    fleet.observe(report("button", minutes=1))
    fleet.observe(report("button", minutes=2))
    assert [(one.device_id, one.state) for one in heard] == [("button", State.ONLINE)]
    end()
    fleet.observe(offline("button", minutes=3))
    assert len(heard) == 1


# --- behind a recorder ---------------------------------------------------------------------------


def test_cameras_behind_a_dead_recorder_are_unknown_and_come_back_as_they_are(
    fleet: Fleet,
) -> None:
    fleet.observe(report("recorder"))
    fleet.observe(report("behind-1"))
    fleet.observe(report("behind-2", State.DEGRADED, Reason.PICTURE_BLACK))

    down = fleet.observe(offline("recorder", minutes=1))
    assert told(down) == [
        ("recorder", State.OFFLINE, Reason.TIMEOUT, State.ONLINE),
        ("behind-1", State.UNKNOWN, Reason.PARENT_DOWN, State.ONLINE),
        ("behind-2", State.UNKNOWN, Reason.PARENT_DOWN, State.DEGRADED),
    ]
    assert {change.changed_at for change in down} == {at(1)}
    assert fleet.observe(offline("behind-1", minutes=2)) == []
    assert fleet.device("behind-1").details["own_state"] == "offline"

    assert told(fleet.observe(report("recorder", minutes=3))) == [
        ("recorder", State.ONLINE, None, State.OFFLINE),
        ("behind-1", State.OFFLINE, Reason.TIMEOUT, State.UNKNOWN),
        ("behind-2", State.DEGRADED, Reason.PICTURE_BLACK, State.UNKNOWN),
    ]
    assert "own_state" not in fleet.device("behind-1").details


def test_another_fault_of_a_dead_recorder_leaves_its_cameras_alone(fleet: Fleet) -> None:
    fleet.observe(offline("recorder"))
    changes = fleet.observe(report("recorder", State.OFFLINE, Reason.AUTH_FAILED, minutes=1))
    assert [change.device_id for change in changes] == ["recorder"]


def test_a_camera_that_answers_behind_a_dead_recorder_is_seen_but_not_shown_online(
    fleet: Fleet,
) -> None:
    fleet.observe(offline("recorder"))
    assert fleet.observe(report("behind-1", minutes=1)) == []
    assert shown(fleet, "behind-1") == (State.UNKNOWN, Reason.PARENT_DOWN)
    assert fleet.device("behind-1").last_seen == at(1)


# --- maintenance ---------------------------------------------------------------------------------


def test_maintenance_covers_health_and_ends_by_the_clock(fleet: Fleet) -> None:
    fleet.observe(report("button"))
    begun = fleet.set_maintenance("button", at(30))
    assert told(begun) == [("button", State.MAINTENANCE, Reason.MAINTENANCE, State.ONLINE)]
    assert fleet.observe(offline("button", minutes=10)) == []
    assert fleet.next_maintenance_end() == at(30)
    assert fleet.expire_maintenance(at(29)) == []
    ended = fleet.expire_maintenance(at(30))
    assert told(ended) == [("button", State.OFFLINE, Reason.TIMEOUT, State.MAINTENANCE)]
    assert ended[0].changed_at == at(30)
    assert fleet.next_maintenance_end() is None


async def test_maintenance_is_ended_by_hand(fleet: Fleet, clock: SimulatedClock) -> None:
    fleet.observe(report("button"))
    fleet.set_maintenance("button", at(30))
    await clock.advance(60)
    ended = fleet.set_maintenance("button", None)
    assert told(ended) == [("button", State.ONLINE, None, State.MAINTENANCE)]
    assert ended[0].changed_at == at(1)
    assert fleet.set_maintenance("button", None) == []


def test_another_end_of_a_maintenance_is_told_for_the_journal_to_know(fleet: Fleet) -> None:
    fleet.set_maintenance("button", at(30))
    assert fleet.set_maintenance("button", at(30)) == []
    [change] = fleet.set_maintenance("button", at(60))
    assert (change.state, change.previous) == (State.MAINTENANCE, State.MAINTENANCE)
    assert fleet.next_maintenance_end() == at(60)


def test_maintenance_of_a_dead_recorder_does_not_bring_its_cameras_back(fleet: Fleet) -> None:
    fleet.observe(report("behind-1"))
    fleet.observe(offline("recorder"))
    changes = fleet.set_maintenance("recorder", at(30))
    assert [change.device_id for change in changes] == ["recorder"]
    assert shown(fleet, "behind-1") == (State.UNKNOWN, Reason.PARENT_DOWN)


def test_a_camera_in_maintenance_stays_so_while_its_recorder_dies(fleet: Fleet) -> None:
    fleet.observe(report("behind-1"))
    fleet.set_maintenance("behind-1", at(30))
    assert [one.device_id for one in fleet.observe(offline("recorder"))] == ["recorder", "behind-2"]
    assert told(fleet.set_maintenance("behind-1", None)) == [
        ("behind-1", State.UNKNOWN, Reason.PARENT_DOWN, State.MAINTENANCE)
    ]


def test_maintenance_of_a_stranger_is_not_found(fleet: Fleet) -> None:
    with pytest.raises(NotFound):
        fleet.set_maintenance("stranger", at(1))


# --- restart and reload --------------------------------------------------------------------------


def test_a_restart_shows_the_same_and_tells_nothing(fleet: Fleet, clock: SimulatedClock) -> None:
    journaled = [
        *fleet.observe(report("behind-1", State.DEGRADED, Reason.LOW_RATE, fps=3)),
        *fleet.observe(report("behind-2")),
        *fleet.observe(offline("recorder", minutes=1)),
        *fleet.observe(report("button", minutes=1)),
        *fleet.set_maintenance("button", at(30)),
    ]
    restored = Fleet(inventory=ALL, clock=clock)
    heard: list[DeviceHealth] = []
    restored.watch(heard.append)
    restored.restore(through_json(journaled))
    assert restored.devices() == fleet.devices()
    assert heard == []
    # What was covered is remembered, too.
    assert told(restored.observe(report("recorder", minutes=2)))[1:] == [
        ("behind-1", State.DEGRADED, Reason.LOW_RATE, State.UNKNOWN),
        ("behind-2", State.ONLINE, None, State.UNKNOWN),
    ]
    assert restored.device("behind-1").details == {"fps": 3}
    assert told(restored.expire_maintenance(at(30))) == [
        ("button", State.ONLINE, None, State.MAINTENANCE)
    ]


def test_a_maintenance_whose_change_was_lost_is_told_with_the_next_reading(fleet: Fleet) -> None:
    fleet.set_maintenance("button", at(30))
    fleet.restore(
        [
            HealthChange(
                device_id="button",
                site_id="garden-2",
                kind=DeviceKind.PANIC_BUTTON,
                state=State.ONLINE,
                reason=None,
                previous=State.OFFLINE,
                changed_at=at(-5),
            )
        ]
    )
    assert shown(fleet, "button") == (State.ONLINE, None)
    assert told(fleet.observe(report("button", minutes=1))) == [
        ("button", State.MAINTENANCE, Reason.MAINTENANCE, State.ONLINE)
    ]


def test_what_is_restored_of_a_removed_device_is_left_out(fleet: Fleet) -> None:
    changes = fleet.observe(report("button"))
    smaller = Fleet(inventory=inventory(RECORDER), clock=SimulatedClock())
    smaller.restore(changes)
    assert [one.device_id for one in smaller.devices()] == ["recorder"]


def test_a_reload_adds_removes_renames_and_keeps_health(fleet: Fleet) -> None:
    fleet.observe(report("recorder", minutes=1))
    fleet.set_maintenance("button", at(30))
    renamed = msgspec.structs.replace(RECORDER, name="New name", site_id="garden-2")
    added = device("added", DeviceKind.TURNSTILE)
    fleet.apply(inventory(renamed, added, BEHIND_1))
    assert [one.device_id for one in fleet.devices()] == ["added", "behind-1", "recorder"]
    assert shown(fleet, "added") == (State.UNKNOWN, Reason.NEVER_SEEN)
    recorder = fleet.device("recorder")
    assert (recorder.name, recorder.site_id, recorder.state, recorder.since) == (
        "New name",
        "garden-2",
        State.ONLINE,
        at(1),
    )
    assert fleet.next_maintenance_end() is None
    assert fleet.observe(report("button")) == []


def test_a_camera_that_moves_to_another_recorder_follows_that_one(fleet: Fleet) -> None:
    fleet.observe(offline("recorder"))
    moved = msgspec.structs.replace(BEHIND_1, parent="other")
    fleet.apply(inventory(RECORDER, moved, device("other", DeviceKind.RECORDER)))
    assert told(fleet.observe(report("behind-1", minutes=1))) == [
        ("behind-1", State.ONLINE, None, State.UNKNOWN)
    ]
    assert [one.device_id for one in fleet.observe(offline("other", 2))] == ["other", "behind-1"]
    assert [one.device_id for one in fleet.observe(report("recorder"))] == ["recorder"]


# --- counted -------------------------------------------------------------------------------------


def test_devices_are_counted_by_place_kind_state_and_reason(fleet: Fleet) -> None:
    fleet.observe(report("recorder"))
    fleet.observe(offline("button"))
    assert fleet.counts() == {
        ("Abay", "school", "recorder", "online", ""): 1,
        ("Abay", "school", "camera", "unknown", "never_seen"): 2,
        ("Abay", "kindergarten", "panic_button", "offline", "timeout"): 1,
    }


def test_a_site_is_up_while_one_of_its_devices_answers(fleet: Fleet) -> None:
    fleet.observe(report("behind-1", State.DEGRADED, Reason.LOW_RATE))
    fleet.observe(offline("button"))
    assert list(fleet.sites_up()) == [(SITES["garden-2"], False), (SITES["school-1"], True)]
