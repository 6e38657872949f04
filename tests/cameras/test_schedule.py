"""The schedule under a clock of its own: spread, confirmation, backoff, change."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import pairwise

import pytest

from adapters.schedule import Outcome, Schedule, Ticket
from tests.simulated_clock import SimulatedClock

INTERVAL_S = 60.0
LATE_S = 0.3
"""The schedule looks up four times a second."""


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


class Times:
    """Runs a schedule and notes when each device is handed out. `outcomes` says how its checks
    end, `takes_s` how long they are."""

    def __init__(self, schedule: Schedule, clock: SimulatedClock) -> None:
        self.schedule = schedule
        self.clock = clock
        self.of: dict[str, list[float]] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.in_flight: list[Ticket] = []
        self.hold = False

    async def run(self) -> None:
        while True:
            ticket = await self.schedule.due()
            self.of.setdefault(ticket.device_id, []).append(self.clock.monotonic())
            if self.hold:
                self.in_flight.append(ticket)
            else:
                self.end(ticket)

    def end(self, ticket: Ticket) -> None:
        outcome = self.outcomes.get(ticket.device_id, Outcome.ANSWERED)
        self.schedule.settle(ticket, outcome)

    def gaps(self, device_id: str) -> list[float]:
        times = self.of[device_id]
        return [later - earlier for earlier, later in pairwise(times)]


@pytest.fixture
async def times(clock: SimulatedClock) -> AsyncIterator[Times]:
    schedule = Schedule(clock=clock, interval_s=INTERVAL_S, chance=random.Random(1))  # noqa: S311
    times = Times(schedule, clock)
    task = asyncio.create_task(times.run())
    yield times
    task.cancel()
    await asyncio.wait([task])


async def test_each_device_is_asked_once_an_interval(times: Times, clock: SimulatedClock) -> None:
    for number in range(200):
        times.schedule.add(f"camera-{number}")
    await clock.advance(5 * INTERVAL_S)
    assert len(times.of) == 200
    for device_id in times.of:
        assert len(times.of[device_id]) == 5
        assert all(abs(gap - INTERVAL_S) <= LATE_S for gap in times.gaps(device_id))


async def test_starts_are_spread_over_the_interval(times: Times, clock: SimulatedClock) -> None:
    for number in range(600):
        times.schedule.add(f"camera-{number}")
    await clock.advance(INTERVAL_S)
    each_second = Counter(int(first) for first, *_ in times.of.values())
    assert len(each_second) >= 58
    assert max(each_second.values()) < 30  # 10 on average


async def test_a_restart_does_not_move_a_device_s_moment(clock: SimulatedClock) -> None:
    moments = []
    for pause in (0.0, 17.3):
        await clock.advance(pause)
        schedule = Schedule(clock=clock, interval_s=INTERVAL_S)
        schedule.add("camera-1")
        due = asyncio.create_task(schedule.due())
        await clock.advance(INTERVAL_S)
        await due
        moments.append(schedule._tickets["camera-1"].at % INTERVAL_S)
    assert abs(moments[0] - moments[1]) < 0.01


async def test_a_first_failure_is_confirmed_after_ten_seconds(
    times: Times, clock: SimulatedClock
) -> None:
    times.outcomes["camera-1"] = Outcome.FAILED
    times.schedule.add("camera-1")
    await clock.advance(2 * INTERVAL_S)
    assert abs(times.gaps("camera-1")[0] - 10) <= LATE_S


async def test_a_short_interval_confirms_within_itself(clock: SimulatedClock) -> None:
    schedule = Schedule(clock=clock, interval_s=2.0)
    schedule.add("camera-1")
    ticket = await _due(schedule, clock, 3.0)
    schedule.settle(ticket, Outcome.FAILED)
    begun = clock.monotonic()
    await _due(schedule, clock, 3.0)
    assert clock.monotonic() - begun <= 2.0 + LATE_S


async def test_a_dead_device_is_asked_ever_more_rarely_to_five_minutes(
    times: Times, clock: SimulatedClock
) -> None:
    times.outcomes["camera-1"] = Outcome.FAILED
    times.schedule.add("camera-1")
    await clock.advance(3600)
    gaps = times.gaps("camera-1")
    assert [
        gap <= limit + LATE_S for gap, limit in zip(gaps, (10, 60, 120, 240, 300), strict=False)
    ]
    assert all(240 - LATE_S <= gap <= 300 + LATE_S for gap in gaps[4:])
    assert len(set(gaps[4:])) > 1  # jitter: dead devices do not march in step


async def test_an_answer_ends_the_backoff_at_once(times: Times, clock: SimulatedClock) -> None:
    times.outcomes["camera-1"] = Outcome.FAILED
    times.schedule.add("camera-1")
    await clock.advance(1800)
    times.outcomes["camera-1"] = Outcome.ANSWERED
    await clock.advance(300 + 3 * INTERVAL_S)
    assert all(gap <= INTERVAL_S * 1.1 + LATE_S for gap in times.gaps("camera-1")[-2:])


async def test_an_open_outcome_counts_for_nothing(times: Times, clock: SimulatedClock) -> None:
    times.hold = True
    times.schedule.add("camera-1")
    await clock.advance(INTERVAL_S)
    (ticket,) = times.in_flight
    times.schedule.settle(ticket, Outcome.FAILED)
    times.schedule.settle(ticket, Outcome.OPEN)
    assert ticket.failures == 1


async def test_a_device_in_flight_is_not_handed_out_again(
    times: Times, clock: SimulatedClock
) -> None:
    times.hold = True
    times.schedule.add("camera-1")
    await clock.advance(3 * INTERVAL_S)
    assert len(times.of["camera-1"]) == 1
    times.hold = False
    times.end(times.in_flight[0])
    await clock.advance(INTERVAL_S * 1.1 + LATE_S)
    assert len(times.of["camera-1"]) == 2


async def test_what_a_person_changed_is_asked_within_seconds(
    times: Times, clock: SimulatedClock
) -> None:
    for number in range(20):
        times.schedule.add(f"camera-{number}", soon=True)
    await clock.advance(10 + LATE_S)
    assert len(times.of) == 20


async def test_a_removed_device_is_asked_no_more(times: Times, clock: SimulatedClock) -> None:
    times.hold = True
    for device_id in ("gone", "gone-in-flight"):
        times.schedule.add(device_id, soon=True)
    times.schedule.remove("gone")
    await clock.advance(15)
    times.schedule.remove("gone-in-flight")
    times.end(times.in_flight[0])
    await clock.advance(3 * INTERVAL_S)
    assert {device_id: len(found) for device_id, found in times.of.items()} == {"gone-in-flight": 1}


async def test_a_device_added_anew_is_one_device(times: Times, clock: SimulatedClock) -> None:
    times.hold = True
    times.schedule.add("camera-1", soon=True)
    await clock.advance(15)
    times.schedule.remove("camera-1")
    times.schedule.add("camera-1", soon=True)
    await clock.advance(15)
    old, new = times.in_flight
    times.schedule.settle(old, Outcome.FAILED)
    times.hold = False
    times.schedule.settle(new, Outcome.ANSWERED)
    await clock.advance(4 * INTERVAL_S)
    assert all(gap >= 5 for gap in times.gaps("camera-1")[1:])


async def test_hastening_brings_a_check_forward_but_not_twice(
    times: Times, clock: SimulatedClock
) -> None:
    times.schedule.add("camera-1")
    await clock.advance(INTERVAL_S)
    await clock.advance(20)
    before = len(times.of["camera-1"])
    for _ in range(10):
        times.schedule.hasten("camera-1")
        await clock.advance(LATE_S)
    assert len(times.of["camera-1"]) == before + 1
    times.schedule.hasten("a stranger")


async def test_a_clock_that_is_set_skips_and_repeats_nothing(
    times: Times, clock: SimulatedClock
) -> None:
    times.schedule.add("camera-1")
    await clock.advance(2 * INTERVAL_S)
    for jump in (3600, -3600, 31, -31):
        clock.jump(timedelta(seconds=jump))
        await clock.advance(3 * INTERVAL_S)
    assert all(5 < gap < 2 * INTERVAL_S for gap in times.gaps("camera-1"))


async def test_the_heap_does_not_grow_with_changes(times: Times, clock: SimulatedClock) -> None:
    for _ in range(100):
        times.schedule.add("camera-1", soon=True)
        times.schedule.remove("camera-1")
    await clock.advance(15)
    assert not times.schedule._heap


async def _due(schedule: Schedule, clock: SimulatedClock, within_s: float) -> Ticket:
    task = asyncio.create_task(schedule.due())
    for _ in range(int(within_s / 0.1)):
        await clock.advance(0.1)
        if task.done():
            return task.result()
    task.cancel()
    pytest.fail(f"nothing due within {within_s} s")
