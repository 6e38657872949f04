"""The forwarder on the real journal and real sockets, through faults and restarts."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.errors import Permanent, Retryable
from gateway.forward import Fallback, Forwarder, ForwardSettings, Kind
from gateway.forward.opscenter import OpsCenterSettings, OpsCenterSink
from gateway.journal import SqliteJournal
from gateway.model import Lane, Record, Retention
from gateway.ports import Consumer, Sink
from simulators.opscenter import OperationsCenter, new_secret
from simulators.opscenter.signature import key_of
from tests.forward.fast_clock import FastClock
from tests.forward.neighbours import NotedConditions, NotedMetrics, ScriptedSink
from tests.forward.records import alarm, passed, press
from tests.peers import until

SECRET = new_secret()


@pytest.fixture
def clock() -> FastClock:
    return FastClock()


@asynccontextmanager
async def journal_in(folder: Path, clock: FastClock) -> AsyncIterator[SqliteJournal]:
    async with SqliteJournal(
        folder,
        clock=clock,
        metrics=NotedMetrics(),
        retention_days=dict.fromkeys(Retention, 365),
        max_size_mb=1024,
        reserve_mb=1,
        free_ratio=lambda: 1.0,
    ) as journal:
        yield journal


def center_sink(center: OperationsCenter, clock: FastClock, name: str = "opscenter") -> Sink:
    return OpsCenterSink(
        gateway="zhambyl",
        settings=OpsCenterSettings(name=name, url=center.url, signing_keys=(key_of(SECRET),)),
        clock=clock,
    )


@asynccontextmanager
async def forwarding(
    journal: SqliteJournal,
    sink: Sink,
    clock: FastClock,
    *,
    forward: frozenset[Kind] = frozenset(Kind),
    fallback: Fallback | None = None,
    alarms: Consumer | None = None,
) -> AsyncIterator[Forwarder]:
    forwarder = Forwarder(
        sink=sink,
        alarms=alarms or journal.consumer(sink.name, Lane.ALARM),
        telemetry=journal.consumer(sink.name, Lane.TELEMETRY),
        settings=ForwardSettings(forward=forward, max_batch=100),
        fallback=fallback,
        clock=clock,
        metrics=NotedMetrics(),
        conditions=NotedConditions(),
    )
    task = asyncio.create_task(forwarder.run(), name="forwarder")
    try:
        yield forwarder
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()


def delivered(center: OperationsCenter) -> set[str]:
    return {event["id"] for event in center.events("kz.kuzet.event")}


def backlog(forwarder: Forwarder) -> int:
    return sum(one.records for one in forwarder.backlogs().values())


@pytest.mark.parametrize("status", [500, 404, 401, 400, 413, 302])
async def test_nothing_is_lost_whatever_the_center_answers_over_a_restart(
    tmp_path: Path, clock: FastClock, status: int
) -> None:
    records = [passed(number) for number in range(1000)]
    presses = [press(f"button-{number % 20}", number) for number in range(200)]
    expected = {record.record_id for record in (*records, *presses)}
    async with OperationsCenter(secret=SECRET) as center:
        async with (
            journal_in(tmp_path, clock) as journal,
            forwarding(journal, center_sink(center, clock), clock),
        ):
            await journal.append(records[:500])
            await journal.append(presses[:100])
            await until(lambda: len(delivered(center)) == 600)
            center.answer(status)
            await journal.append(records[500:])
            await journal.append(presses[100:])
            await until(lambda: sum(a.status == status for a in center.attempts) >= 20)
        center.recover()
        async with journal_in(tmp_path, clock) as journal:
            telemetry = journal.consumer("opscenter", Lane.TELEMETRY)
            asides = await telemetry.aside(limit=2000)
            await telemetry.set_aside(
                [one.stored for one in asides], "to be tried again", clock.now()
            )
            async with forwarding(journal, center_sink(center, clock), clock) as forwarder:
                await until(lambda: delivered(center) == expected, 20.0)
                await until(lambda: backlog(forwarder) == 0)
        assert center.conflicts == 0
        assert not center.refused


async def test_a_fallback_gets_what_the_first_center_cannot_take(
    tmp_path: Path, clock: FastClock
) -> None:
    async with (
        OperationsCenter(secret=SECRET) as first,
        OperationsCenter(secret=SECRET) as second,
        journal_in(tmp_path, clock) as journal,
    ):
        first.answer(404)
        handed = journal.consumer("second", Lane.ALARM)
        only_health = frozenset({Kind.HEALTH})
        async with (
            forwarding(
                journal,
                center_sink(second, clock, "second"),
                clock,
                forward=only_health,
                alarms=handed,
            ),
            forwarding(
                journal,
                center_sink(first, clock),
                clock,
                fallback=Fallback(consumer=handed, forward=only_health),
            ) as forwarder,
        ):
            await journal.append([press(f"button-{number}") for number in range(20)])
            await journal.append([alarm(f"alarm-{number}") for number in range(20)])
            await until(lambda: len(second.events("kz.kuzet.event")) == 20)
            await until(lambda: len(second.events("kz.kuzet.alarm")) == 20)
            assert second.duplicates == 0
            first.recover()
            await until(lambda: len(first.events("kz.kuzet.event")) == 20)
            await until(lambda: backlog(forwarder) == 0)


async def test_ten_thousand_undeliverable_alarms_take_little_memory_and_then_all_arrive(
    tmp_path: Path, clock: FastClock
) -> None:
    sink = ScriptedSink(clock)
    sink.judge = lambda lane, ids: Retryable("no connection")

    def alarms(start: int) -> list[Record]:
        return [press(f"button-{n}", note="x" * 2000) for n in range(start, start + 500)]

    async with journal_in(tmp_path, clock) as journal, forwarding(journal, sink, clock) as out:
        await journal.append([press("button-first")])
        await until(lambda: len(sink.tries) > 2)
        tracemalloc.start()
        try:
            for start in range(0, 10_000, 500):
                await journal.append(alarms(start))
            alarm_lane = out._alarms
            await until(lambda: len(alarm_lane._singles.timetable) == 10_001, 60.0)
            await until(lambda: not alarm_lane._shelf._open, 60.0)
            gc.collect()
            ours = tracemalloc.Filter(True, "*/gateway/forward/*")
            taken = tracemalloc.take_snapshot().filter_traces([ours]).statistics("filename")
            # Their bodies alone are 30 MB.
            assert sum(one.size for one in taken) < 10_000_000
        finally:
            tracemalloc.stop()
        before, at = len(sink.tries), clock.monotonic()
        await until(lambda: clock.monotonic() > at + 20.0)
        assert (len(sink.tries) - before) / (clock.monotonic() - at) <= 45
        sink.judge = lambda lane, ids: None
        await until(lambda: backlog(out) == 0, 60.0)
        assert len(set(sink.accepted)) == len(sink.accepted) == 10_001
        assert sink.most_at_once <= 16


async def test_a_poisoned_alarm_holds_up_no_other_after_a_restart_either(
    tmp_path: Path, clock: FastClock
) -> None:
    poison = press("button-bad").record_id
    records = [press("button-bad"), *[press(f"button-{number}") for number in range(10)]]
    sink = ScriptedSink(clock)
    sink.judge = lambda lane, ids: Permanent("400") if poison in ids else None
    async with journal_in(tmp_path, clock) as journal, forwarding(journal, sink, clock):
        await journal.append(records)
        await until(lambda: len(sink.accepted) == 10)
    async with (
        journal_in(tmp_path, clock) as journal,
        forwarding(journal, sink, clock) as forwarder,
    ):
        await journal.append([press("button-new")])
        await until(lambda: press("button-new").record_id in sink.accepted)
        assert backlog(forwarder) == 1
        sink.judge = lambda lane, ids: None
        await until(lambda: poison in sink.accepted)
        await until(lambda: backlog(forwarder) == 0)
