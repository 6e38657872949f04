"""One sink's deliveries as a whole: heartbeat, counts, health, the stop and the restart."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway.errors import EndpointFault, Permanent, Retryable
from gateway.forward import Kind
from gateway.model import Condition, Lane
from tests.forward.neighbours import Rig
from tests.forward.records import NOW, alarm, passed, press

DOWN = Retryable("no connection")


async def test_the_heartbeat_comes_at_the_start_and_every_thirty_seconds_with_the_backlog() -> None:
    rig = Rig()
    rig.scripted.judge = lambda lane, ids: DOWN
    async with rig.running():
        await rig.journal.append([press()])
        await rig.clock.advance(61.0)
        assert [at for at, _ in rig.scripted.heartbeats] == [0.0, 30.0, 60.0]
        assert rig.scripted.heartbeats[-1][1][Lane.ALARM].records == 1
        assert rig.scripted.heartbeats[-1][1][Lane.TELEMETRY].records == 0


async def test_heartbeats_go_on_while_they_fail() -> None:
    rig = Rig()
    rig.scripted.heartbeat_error = DOWN
    async with rig.running():
        await rig.clock.advance(95.0)
        assert len(rig.scripted.heartbeats) == 4


async def test_a_heartbeat_shows_an_endpoint_at_fault_before_any_alarm_does() -> None:
    rig = Rig()
    rig.scripted.heartbeat_error = EndpointFault("it answered 401")
    async with rig.running():
        await rig.clock.advance(1.0)
        assert rig.conditions.active("opscenter")
        assert rig.forwarder.health()[Lane.ALARM].state == "retrying"
        rig.scripted.heartbeat_error = None
        await rig.clock.advance(30.0)
        assert not rig.conditions.active("opscenter")
        assert rig.forwarder.health()[Lane.ALARM].state == "ok"


async def test_a_heartbeat_that_arrives_hides_no_failing_alarm() -> None:
    rig = Rig()
    rig.scripted.judge = lambda lane, ids: DOWN
    await rig.journal.append([press()])
    async with rig.running():
        await rig.clock.advance(31.0)
        health = rig.forwarder.health()[Lane.ALARM]
        assert (health.state, health.error) == ("retrying", "no connection")


async def test_every_delivery_is_counted_by_its_outcome() -> None:
    rig = Rig()
    poison = passed(1).record_id
    rig.scripted.judge = lambda lane, ids: Permanent("422") if poison in ids else None
    await rig.journal.append([passed(0), passed(1)])
    await rig.journal.append([press()])
    async with rig.running():
        await rig.clock.advance()
        counts = rig.metrics.deliveries
        assert counts["opscenter", Lane.ALARM, "accepted"] == 1
        assert counts["opscenter", Lane.TELEMETRY, "accepted"] == 1
        assert counts["opscenter", Lane.TELEMETRY, "refused"] == 3


@pytest.mark.parametrize(
    ("forward", "measured"),
    [
        (frozenset(Kind), 1),
        (frozenset({Kind.ALARM}), 1),
        (frozenset({Kind.EVENT}), 1),
        (frozenset({Kind.HEALTH}), 0),
    ],
)
async def test_a_press_is_measured_once_a_sink(forward: frozenset[Kind], measured: int) -> None:
    rig = Rig(forward=forward)
    rig.clock.jump(NOW - rig.clock.now() + timedelta(seconds=0.25))
    await rig.journal.append([press(at=NOW), alarm(condition=Condition.PANIC, at=NOW), alarm("t")])
    async with rig.running():
        await rig.clock.advance()
        assert rig.metrics.presses == [0.25] * measured


async def test_a_press_is_measured_when_it_is_accepted_and_not_when_it_fails() -> None:
    rig = Rig()
    rig.scripted.judge = lambda lane, ids: DOWN
    await rig.journal.append([press(at=rig.clock.now())])
    async with rig.running():
        await rig.clock.advance(1.5)
        assert rig.metrics.presses == []
        rig.scripted.judge = lambda lane, ids: None
        await rig.clock.advance(5.0)
        assert rig.metrics.presses == [3.0]


async def test_a_stop_lets_a_delivery_under_way_end() -> None:
    rig = Rig()
    rig.scripted.takes_s = 2.0
    await rig.journal.append([press()])
    await rig.journal.append([passed(0)])
    async with rig.running():
        assert rig.scripted.under_way == 2
    assert (rig.alarms.settled, rig.telemetry.settled) == (1, 1)
    assert rig.scripted.closed


async def test_a_stop_lets_nothing_new_begin() -> None:
    rig = Rig()
    rig.scripted.takes_s = 2.0
    await rig.journal.append([press()])
    async with rig.running():
        await rig.journal.append([press("button-2")])
    assert rig.scripted.accepted == [press().record_id]


async def test_a_second_life_in_the_same_process_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.forward.forwarder.STOP_GRACE_S", 0.01)
    rig = Rig()
    rig.scripted.takes_s = 1000.0
    await rig.journal.append([press()])
    await rig.journal.append([passed(0)])
    async with rig.running():
        assert rig.scripted.under_way == 2
    assert rig.alarms.settled == 0
    rig.scripted.takes_s = 0.0
    before = len(rig.scripted.tries)
    async with rig.running():
        await rig.clock.advance(1.0)
        again = [one for trial in rig.scripted.tries[before:] for one in trial.ids]
        assert sorted(again) == sorted([press().record_id, passed(0).record_id])
    assert (rig.alarms.settled, rig.telemetry.settled) == (1, 1)


async def test_a_restart_in_the_middle_sends_alarms_again_with_the_same_ids() -> None:
    rig = Rig()
    rig.scripted.judge = lambda lane, ids: DOWN
    records = [press(f"button-{number}") for number in range(5)]
    await rig.journal.append(records)
    async with rig.running():
        await rig.clock.advance(0.5)
    again = rig.after_crash()
    again.scripted.judge = lambda lane, ids: None
    async with again.running():
        await again.clock.advance(1.0)
        assert again.scripted.accepted == [record.record_id for record in records]
        assert again.alarms.backlog().records == 0


async def test_an_alarm_waits_for_no_telemetry() -> None:
    rig = Rig()
    rig.scripted.judge = lambda lane, ids: DOWN if lane is Lane.TELEMETRY else None
    await rig.journal.append([passed(number) for number in range(1000)])
    async with rig.running():
        await rig.clock.advance(100.0)
        at = rig.clock.monotonic()
        await rig.journal.append([press()])
        await rig.clock.advance()
        assert [trial.at for trial in rig.scripted.tries_of(press().record_id)] == [at]


async def test_a_lane_that_fails_at_every_second_answer_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig()
    bad = press("button-bad").record_id
    rig.scripted.judge = lambda lane, ids: DOWN if bad in ids else None
    await rig.journal.append([press("button-bad")])
    async with rig.running():
        for number in range(100):
            await rig.journal.append([press("button-good", number)])
            await rig.clock.advance(1.0)
        lines = [line for line in caplog.messages if "deliveries fail" in line]
        assert 1 <= len(lines) <= 2
