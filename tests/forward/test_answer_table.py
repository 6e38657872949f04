"""The contract's answer table, row by row and lane by lane: from the journal to a real receiver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from gateway.forward import LaneState
from gateway.forward.opscenter import OpsCenterSettings, OpsCenterSink
from gateway.model import Lane
from simulators.opscenter import Manner, OperationsCenter, new_secret
from simulators.opscenter.signature import key_of
from tests.forward.neighbours import Rig
from tests.forward.records import passed, press
from tests.peers import until
from tests.simulated_clock import SimulatedClock

STEP_S = 0.1

RETRYABLE = (408, 425, 429, 500, 502, 503, 504)
ENDPOINT_FAULT = (401, 403, 404, 405, 410, 415, 301, 302, 303, 307, 308)
REFUSED = (400, 422, 402, 406, 409, 418, 451)


class Line(Rig):
    """A forwarder whose sink speaks to a simulated center over real sockets."""

    def __init__(self, center: OperationsCenter, secret: str) -> None:
        clock = SimulatedClock(start=datetime.now(UTC))
        super().__init__(
            clock=clock,
            sink=OpsCenterSink(
                gateway="zhambyl",
                settings=OpsCenterSettings(
                    name="opscenter",
                    url=center.url,
                    signing_keys=(key_of(secret),),
                    alarm_try_s=0.1,  # real seconds: the sockets know no simulated clock
                    telemetry_try_s=0.1,
                ),
                clock=clock,
            ),
            fallback=frozenset(),
        )
        self.center = center

    async def walk(self, seconds: float) -> None:
        """Lets simulated time pass, and stops it while a request is under way."""
        for _ in range(round(seconds / STEP_S)):
            await self.clock.advance(STEP_S)
            await until(lambda: self.forwarder._gate._under_way == 0)
            await self.clock.advance()

    def tries(self, record_id: str) -> list[int | None]:
        """What each request with the record was answered."""
        return [a.status for a in self.center.attempts if record_id in a.event_ids]

    def received(self) -> list[str]:
        return [
            event["id"]
            for event in self.center.events()
            if event["type"] != "kz.kuzet.gateway.heartbeat"
        ]


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    secret = new_secret()
    async with OperationsCenter(secret=secret) as center:
        yield Line(center, secret)


Order = Callable[[Line, str], None]


def status(code: int, *, retry_after: float | None = None) -> Order:
    return lambda line, lane: line.center.answer(code, lane=lane, retry_after=retry_after)


def manner(how: Manner) -> Order:
    return lambda line, lane: line.center.answer(manner=how, lane=lane)


AWAY = [
    *[pytest.param(status(code), id=str(code)) for code in RETRYABLE],
    pytest.param(manner(Manner.HANG), id="time-out"),
    pytest.param(manner(Manner.CLOSE), id="connection cut"),
]
AT_FAULT = [pytest.param(status(code), id=str(code)) for code in ENDPOINT_FAULT]


@asynccontextmanager
async def ordered(line: Line, order: Order, lane: Lane) -> AsyncIterator[None]:
    order(line, lane)
    async with line.running():
        yield


# --- 2xx -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [200, 201, 202, 204])
async def test_2xx_is_accepted_on_both_lanes(line: Line, code: int) -> None:
    line.center.answer(code)
    async with line.running():
        await line.journal.append([press()])
        await line.journal.append([passed(0)])
        await line.walk(0.5)
        assert sorted(line.received()) == sorted([press().record_id, passed(0).record_id])
        assert (line.alarms.settled, line.telemetry.settled) == (1, 1)


# --- retryable -----------------------------------------------------------------------------------


@pytest.mark.parametrize("order", AWAY)
async def test_alarm_lane_retries_for_ever(line: Line, order: Order) -> None:
    async with ordered(line, order, Lane.ALARM):
        await line.journal.append([press()])
        await line.walk(18.0)
        assert len(line.tries(press().record_id)) == 5  # at 0, 1, 3, 7 and 15 s
        assert line.forwarder.health()[Lane.ALARM].state is LaneState.RETRYING
        assert await line.fallback.aside() == []
        line.center.recover()
        await line.walk(15.5)
        assert line.received() == [press().record_id]
        assert line.alarms.backlog().records == 0


@pytest.mark.parametrize("order", AWAY)
async def test_telemetry_lane_backs_off(line: Line, order: Order) -> None:
    async with ordered(line, order, Lane.TELEMETRY):
        await line.journal.append([passed(0)])
        await line.walk(18.0)
        assert 5 <= len(line.tries(passed(0).record_id)) <= 6
        assert line.telemetry.settled == 0
        line.center.recover()
        await line.walk(17.0)
        assert line.received() == [passed(0).record_id]
        assert line.telemetry.settled == 1


async def test_no_connection_is_retried_on_both_lanes(line: Line) -> None:
    await line.center.go_down()
    async with line.running():
        await line.journal.append([press()])
        await line.journal.append([passed(0)])
        await line.walk(10.0)
        assert line.received() == []
        await line.center.come_back()
        await line.walk(10.0)
        assert sorted(line.received()) == sorted([press().record_id, passed(0).record_id])


async def test_alarm_lane_obeys_retry_after_up_to_fifteen_seconds(line: Line) -> None:
    async with ordered(line, status(429, retry_after=100), Lane.ALARM):
        await line.journal.append([press()])
        await line.walk(14.0)
        assert len(line.tries(press().record_id)) == 1
        await line.walk(3.0)
        assert len(line.tries(press().record_id)) == 2


async def test_telemetry_lane_obeys_retry_after(line: Line) -> None:
    async with ordered(line, status(503, retry_after=100), Lane.TELEMETRY):
        await line.journal.append([passed(0)])
        await line.walk(99.0)
        assert len(line.tries(passed(0).record_id)) == 1
        await line.walk(3.0)
        assert len(line.tries(passed(0).record_id)) == 2


async def test_a_torn_acceptance_is_sent_again_under_the_same_ids(line: Line) -> None:
    line.center.answer(manner=Manner.TORN, lane=Lane.ALARM, times=3)
    async with line.running():
        await line.journal.append([press()])
        await line.walk(10.0)
        assert line.received() == [press().record_id]
        assert line.center.duplicates >= 1
        assert line.center.conflicts == 0
        assert line.alarms.backlog().records == 0


# --- the endpoint is at fault --------------------------------------------------------------------


@pytest.mark.parametrize("order", [*AT_FAULT, pytest.param(manner(Manner.HTML), id="sign-in page")])
async def test_alarm_lane_retries_tells_and_hands_over(line: Line, order: Order) -> None:
    async with ordered(line, order, Lane.ALARM):
        await line.journal.append([press()])
        await line.walk(18.0)
        assert len(line.tries(press().record_id)) == 5
        assert line.conditions.active("opscenter")
        handed = [aside.stored.record.record_id for aside in await line.fallback.aside()]
        assert handed == [press().record_id]
        line.center.recover()
        await line.walk(15.5)
        assert line.received() == [press().record_id]
        assert not line.conditions.active("opscenter")


@pytest.mark.parametrize("order", AT_FAULT)
async def test_telemetry_lane_pauses_with_a_probe_a_minute(line: Line, order: Order) -> None:
    async with ordered(line, order, Lane.TELEMETRY):
        await line.journal.append([passed(number) for number in range(10)])
        await line.walk(55.0)
        assert len(line.tries(passed(0).record_id)) == 1
        assert line.forwarder.health()[Lane.TELEMETRY].state is LaneState.PAUSED
        assert line.conditions.active("opscenter")
        await line.walk(10.0)
        assert len(line.tries(passed(0).record_id)) == 2
        line.center.recover()
        await line.walk(60.0)
        assert line.received() == [passed(number).record_id for number in range(10)]
        assert not line.conditions.active("opscenter")


# --- too large -----------------------------------------------------------------------------------


async def test_alarm_lane_sends_one_by_one_what_is_too_large(line: Line) -> None:
    records = [press(f"button-{number}") for number in range(5)]
    async with line.running():
        await line.walk(0.5)  # past the first heartbeat
        line.center.answer(413, lane=Lane.ALARM, times=1)
        await line.journal.append(records)
        await line.walk(1.0)
        assert sorted(line.received()) == sorted(record.record_id for record in records)
        sizes = [len(a.event_ids) for a in line.center.attempts if a.status == 202]
        assert set(sizes) == {1}


async def test_telemetry_lane_halves_what_is_too_large(line: Line) -> None:
    line.center.answer(413, lane=Lane.TELEMETRY, times=2)
    records = [passed(number) for number in range(8)]
    await line.journal.append(records)
    async with line.running():
        await line.walk(1.0)
        assert line.received() == [record.record_id for record in records]
        telemetry = [a for a in line.center.attempts if a.lane == Lane.TELEMETRY]
        assert [len(a.event_ids) for a in telemetry] == [8, 4, 2, 2, 4]


# --- refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", REFUSED)
async def test_alarm_lane_sets_the_refused_aside_and_asks_every_minute(
    line: Line, code: int
) -> None:
    async with ordered(line, status(code), Lane.ALARM):
        await line.journal.append([press()])
        await line.walk(55.0)
        assert len(line.tries(press().record_id)) == 1
        (aside,) = await line.alarms.aside()
        assert aside.reason.startswith(f"it answered {code}")
        assert line.conditions.active("opscenter/refused")
        handed = [aside.stored.record.record_id for aside in await line.fallback.aside()]
        assert handed == [press().record_id]
        line.center.recover()
        await line.walk(10.0)
        assert line.received() == [press().record_id]
        assert not line.conditions.active("opscenter/refused")
        assert line.alarms.backlog().records == 0


@pytest.mark.parametrize("code", REFUSED)
async def test_telemetry_lane_puts_the_refused_into_quarantine(line: Line, code: int) -> None:
    records = [passed(number) for number in range(8)]
    async with ordered(line, status(code), Lane.TELEMETRY):
        await line.journal.append(records)
        await line.walk(1.0)
        asides = await line.telemetry.aside()
        assert [aside.stored.record.record_id for aside in asides] == [
            record.record_id for record in records
        ]
        assert all(aside.retry_at is None for aside in asides)
        assert line.telemetry.settled == 8
        line.center.recover()
        await line.journal.append([passed(99)])
        await line.walk(1.0)
        assert line.received() == [passed(99).record_id]
