"""What devices are known to be: edges become events, parts become whole reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from adapters.mqtt.dialects.said import Happened, Level, Reading
from adapters.mqtt.heard import Heard
from adapters.mqtt.privacy import Pseudonyms
from adapters.mqtt.standing import REPORT_EVERY_S, Standing
from gateway.model import Event, EventType, HealthReport, Observation, Reason, State
from tests.mqtt.neighbours import KEY, NOW, message

GATE = "gate-1"


@pytest.fixture
def standing() -> Standing:
    return Standing([GATE], Pseudonyms(KEY))


def heard(at: float = 0.0, **how: Any) -> Heard:
    return Heard(message(**how), at)


def reading(**told: Any) -> Reading:
    return Reading(device_id=GATE, **told)


def happened(type_: EventType, **told: Any) -> Happened:
    return Happened(device_id=GATE, type=type_, **told)


def events(observations: Sequence[Observation]) -> list[tuple[str, bool | None]]:
    return [(str(one.type), one.active) for one in observations if isinstance(one, Event)]


def report(observations: Sequence[Observation]) -> HealthReport:
    [one] = [one for one in observations if isinstance(one, HealthReport)]
    return one


def told(observations: Sequence[Observation]) -> tuple[State, Reason | None]:
    one = report(observations)
    return one.state, one.reason


# --- levels ---------------------------------------------------------------------------------------


def test_a_level_is_an_event_when_it_begins_and_when_it_ends(standing: Standing) -> None:
    seen = [
        events(standing.read(reading(levels={Level.TAMPER: open_}), heard()))
        for open_ in (False, True, True, False, False)
    ]
    assert seen == [[], [("tamper.opened", True)], [], [("tamper.closed", False)], []]


def test_a_battery_is_low_below_a_fifth_and_well_again_above_a_quarter(standing: Standing) -> None:
    seen = [
        events(standing.read(reading(battery=charge), heard()))
        for charge in (0.21, 0.19, 0.21, 0.19, 0.26, 0.21)
    ]
    assert seen == [[], [("battery.low", True)], [], [], [("battery.ok", False)], []]


def test_a_battery_that_is_low_at_first_sight_is_told(standing: Standing) -> None:
    observations = standing.read(reading(battery=0.1), heard())
    assert events(observations) == [("battery.low", True)]
    assert told(observations) == (State.DEGRADED, Reason.BATTERY_LOW)
    assert report(observations).details == {"battery": 0.1}


def test_a_device_that_tells_events_has_no_edges_twice(standing: Standing) -> None:
    assert events(standing.happened(happened(EventType.BATTERY_LOW), heard())) == [
        ("battery.low", True)
    ]
    assert events(standing.read(reading(battery=0.1), heard())) == []


def test_only_lasting_events_are_active(standing: Standing) -> None:
    active = {
        type_: events(standing.happened(happened(type_), heard()))[0][1]
        for type_ in (
            EventType.PANIC_PRESSED,
            EventType.ACCESS_PASSED,
            EventType.DOOR_FORCED,
            EventType.DOOR_OPENED,
            EventType.DOOR_CLOSED,
            EventType.MAINS_LOST,
            EventType.MAINS_RESTORED,
        )
    }
    assert list(active.values()) == [None, None, None, True, False, True, False]


# --- a button that says `sos` for ever ------------------------------------------------------------


def press(standing: Standing, **how: Any) -> list[Event]:
    observations = standing.read(reading(levels={Level.PANIC: True}), heard(**how))
    return [one for one in observations if isinstance(one, Event)]


def test_a_lasting_sos_is_one_press_once_it_is_committed(standing: Standing) -> None:
    [first] = press(standing)
    [again] = press(standing)
    assert (first.type, again.type) == (EventType.PANIC_PRESSED,) * 2, "not committed: it counts"
    standing.committed(first)
    assert press(standing) == []
    released = events(standing.read(reading(levels={Level.PANIC: False}), heard()))
    assert released == [("panic.released", None)]
    assert len(press(standing)) == 1


def test_a_lasting_sos_outlives_a_restart(standing: Standing) -> None:
    [first] = press(standing)
    standing.committed(first)
    assert standing.changed
    later = Standing([GATE], Pseudonyms(KEY))
    later.recall(standing.memory())
    assert press(later) == []


def test_an_uncommitted_sos_is_not_remembered(standing: Standing) -> None:
    press(standing)
    assert standing.memory() == {}
    assert not standing.changed


def test_a_memory_of_others_is_passed_over(standing: Standing) -> None:
    standing.recall({GATE: ["tamper", "haunted"], "gone": ["tamper"]})
    assert standing.memory() == {GATE: ["tamper"]}


# --- reports --------------------------------------------------------------------------------------


def test_a_report_is_the_whole_of_what_is_known(standing: Standing) -> None:
    standing.read(reading(online=True, battery=0.1, details={"rssi": -70}), heard())
    standing.happened(happened(EventType.TAMPER_OPENED), heard())
    whole = report(standing.read(reading(online=True), heard()))
    assert (whole.state, whole.reason) == (State.DEGRADED, Reason.BATTERY_LOW)
    assert whole.details == {"rssi": -70, "battery": 0.1, "reasons": ["tampered"]}
    assert whole.observed_at == NOW


def test_the_worst_reason_comes_first(standing: Standing) -> None:
    standing.happened(happened(EventType.TAMPER_OPENED), heard())
    gone = report(standing.read(reading(online=False), heard()))
    assert (gone.state, gone.reason) == (State.OFFLINE, Reason.HEARTBEAT_LOST)
    assert gone.details["reasons"] == ["tampered"]


def test_whoever_speaks_lives(standing: Standing) -> None:
    standing.read(reading(online=False), heard())
    assert told(standing.happened(happened(EventType.ACCESS_PASSED), heard())) == (
        State.ONLINE,
        None,
    )
    standing.silent(GATE, Reason.HEARTBEAT_LOST, NOW, 100.0)
    assert told(standing.read(reading(), heard(101.0))) == (State.ONLINE, None)


def test_a_retained_message_is_no_sign_of_life(standing: Standing) -> None:
    standing.silent(GATE, Reason.HEARTBEAT_LOST, NOW, 100.0)
    assert standing.read(reading(), heard(101.0, retained=True)) == []
    assert told(standing.read(reading(online=True), heard(102.0, retained=True))) == (
        State.OFFLINE,
        Reason.HEARTBEAT_LOST,
    )
    assert standing.heard_at(GATE) is None


def test_passes_tell_health_only_now_and_then(standing: Standing) -> None:
    passes = [0.0, 1.0, 2.0, REPORT_EVERY_S, REPORT_EVERY_S + 1]
    counts = [len(standing.happened(happened(EventType.ACCESS_PASSED), heard(at))) for at in passes]
    assert counts == [2, 1, 1, 2, 1]


def test_details_stay_few(standing: Standing) -> None:
    for number in range(100):
        whole = report(standing.read(reading(details={f"k{number}": number}), heard()))
    assert len(whole.details) == 32
    assert "k99" in whole.details


# --- how it was heard -----------------------------------------------------------------------------


def test_an_event_carries_how_it_was_heard(standing: Standing) -> None:
    how: dict[str, Any] = {"packet_id": 17, "dup": True, "session": "s", "payload": b"x"}
    [event, _] = standing.happened(happened(EventType.PANIC_PRESSED), heard(**how))
    assert isinstance(event, Event)
    wire = event.wire
    assert wire is not None
    assert (wire.session, wire.packet_id, wire.dup, wire.retained) == ("s", 17, True, False)
    assert wire.digest == heard(payload=b"x").wire().digest
    assert wire.digest != heard(payload=b"y").wire().digest
    assert wire.digest != heard(payload=b"x", topic="kuzet/school-1/other/event").wire().digest


@pytest.mark.parametrize(
    ("retained", "rebuilding", "lost"),
    [(True, True, True), (True, False, False), (False, True, False)],
)
def test_only_retained_messages_tell_of_a_lost_session(
    retained: bool, rebuilding: bool, lost: bool
) -> None:
    assert heard(retained=retained, rebuilding=rebuilding).wire().session_lost is lost


def test_devices_that_stay_are_still_known_after_a_reload(standing: Standing) -> None:
    standing.happened(happened(EventType.TAMPER_OPENED), heard(5.0))
    standing.keep([GATE, "gate-2"])
    assert standing.heard_at(GATE) == 5.0
    assert standing.heard_at("gate-2") is None
    assert standing.memory() == {GATE: ["tamper"]}
    standing.keep(["gate-2"])
    assert standing.memory() == {}
