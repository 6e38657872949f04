"""The journal beside a busy event loop: records a second, and how long a single alarm takes.

The peer is what one would write first: a thread that takes what waits, `executemany`, commits. It
keeps less (no hot tail, no cursors, no triggers) and does the same: one sync for what waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

import msgspec
import psutil
import uvloop

from gateway.clock import SystemClock
from gateway.journal import SqliteJournal
from gateway.model import (
    Alarm,
    DeviceKind,
    Event,
    EventType,
    Lane,
    Record,
    Retention,
    Severity,
)

BUSY_TURN_S = 0.001
"""Work that the loop does in one go: some thirty messages decoded and derived. Timers have no finer
grain."""

RECORDS = 60_000
LONGEST_S = 5.0
"""A measurement that crawls ends here, with what it has got done."""
IN_FLIGHT = 16
ALARM_INTERVAL_S = 0.01
ALARMS = 300
BESIDE_RATE = 6000
BESIDE_BATCH = 100

Append = Callable[[Sequence[Record]], Awaitable[object]]


class NoMetrics:
    """`ports.Metrics` that counts nothing."""

    def appended(self, lane: Lane, count: int) -> None: ...

    def dropped(self, lane: Lane, reason: str, count: int = 1) -> None: ...

    def error(self, stage: str, reason: str) -> None: ...

    def check_took(self, kind: DeviceKind, seconds: float) -> None: ...

    def broker_connected(self, broker: str, connected: bool) -> None: ...

    def delivered(self, sink: str, lane: Lane, outcome: str, count: int) -> None: ...

    def press_delivered(self, seconds: float) -> None: ...

    def alarm_raised(self, alarm: Alarm) -> None: ...


class Peer:
    """The plain writer thread with `executemany`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[tuple[Sequence[Record], asyncio.Future[None]] | None] = (
            queue.SimpleQueue()
        )

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Append]:
        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=self._run, args=(loop,))
        thread.start()
        try:
            yield self._append
        finally:
            self._queue.put(None)
            await asyncio.to_thread(thread.join)

    async def _append(self, records: Sequence[Record]) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put((records, done))
        await done

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(
            "CREATE TABLE record (sequence INTEGER PRIMARY KEY, record_id TEXT UNIQUE, body TEXT)"
        )
        while (item := self._queue.get()) is not None:
            group = [item]
            while len(group) < 10 and not self._queue.empty():
                more = self._queue.get()
                if more is None:
                    self._queue.put(None)
                    break
                group.append(more)
            rows = [
                (record.record_id, msgspec.json.encode(record))
                for records, _ in group
                for record in records
            ]
            connection.execute("BEGIN")
            connection.executemany(
                "INSERT OR IGNORE INTO record (record_id, body) VALUES (?, ?)", rows
            )
            connection.execute("COMMIT")
            for _, done in group:
                loop.call_soon_threadsafe(_finish, done)
        connection.close()


def _finish(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


def passes(run: str, first: int, count: int) -> list[Record]:
    """Records of people at turnstiles, as intake makes them."""
    now = datetime.now(UTC)
    return [_pass(f"{run} {number}", number % 900, now) for number in range(first, first + count)]


def _pass(seed: str, place: int, now: datetime) -> Record:
    record_id = blake2b(seed.encode(), digest_size=16).hexdigest()
    return Record(
        record_id=record_id,
        lane=Lane.TELEMETRY,
        retention=Retention.ACCESS,
        type=EventType.ACCESS_PASSED,
        recorded_at=now,
        body=Event(
            record_id=record_id,
            device_id=f"turnstile-{place}",
            site_id=f"school-{place}",
            kind=DeviceKind.TURNSTILE,
            type=EventType.ACCESS_PASSED,
            received_at=now,
            occurred_at=now,
            attributes={"direction": "in", "credential": record_id[:16]},
        ),
    )


def press(run: str, number: int) -> Record:
    now = datetime.now(UTC)
    record_id = blake2b(f"press {run} {number}".encode(), digest_size=16).hexdigest()
    return Record(
        record_id=record_id,
        lane=Lane.ALARM,
        retention=Retention.ALARM,
        type=EventType.PANIC_PRESSED,
        recorded_at=now,
        body=Event(
            record_id=record_id,
            device_id="button-1",
            site_id="school-1",
            kind=DeviceKind.PANIC_BUTTON,
            type=EventType.PANIC_PRESSED,
            severity=Severity.CRITICAL,
            received_at=now,
            attributes={"seq": number},
        ),
    )


@contextlib.asynccontextmanager
async def busy_loop(share: float) -> AsyncIterator[None]:
    """Keeps the event loop's thread busy for that share of the time, in short turns."""

    async def work() -> None:
        while True:
            end = time.perf_counter() + BUSY_TURN_S
            while time.perf_counter() < end:
                pass
            await asyncio.sleep(BUSY_TURN_S * (1 / share - 1))

    if not share:
        yield
        return
    task = asyncio.create_task(work(), name="busy")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def flood(append: Append, run: str, batch: int, total: int) -> tuple[float, float]:
    """Appends `total` passes in batches, IN_FLIGHT at a time: records a second, and microseconds of
    CPU a record in the event loop's thread."""
    waiting = iter([passes(run, first, batch) for first in range(0, total, batch)])
    done = 0

    async def caller() -> None:
        nonlocal done
        for records in waiting:
            await append(records)
            done += batch

    started, cpu = time.perf_counter(), time.thread_time()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LONGEST_S), asyncio.TaskGroup() as tasks:
            for number in range(IN_FLIGHT):
                tasks.create_task(caller(), name=f"caller-{number}")
    took = time.perf_counter() - started
    return done / took, (time.thread_time() - cpu) / max(1, done) * 1e6


async def alarms_beside(telemetry: Append, alarm: Append, run: str) -> list[float]:
    """How long single alarms took, in milliseconds, while passes come at BESIDE_RATE."""
    pending: set[asyncio.Task[object]] = set()

    async def one(records: Sequence[Record]) -> None:
        await telemetry(records)

    async def stream() -> None:
        loop = asyncio.get_running_loop()
        due, first = loop.time(), 0
        while True:
            task: asyncio.Task[object] = asyncio.create_task(one(passes(run, first, BESIDE_BATCH)))
            pending.add(task)
            task.add_done_callback(pending.discard)
            first += BESIDE_BATCH
            due += BESIDE_BATCH / BESIDE_RATE
            await asyncio.sleep(due - loop.time())

    flow = asyncio.create_task(stream(), name="stream")
    took = []
    end = time.perf_counter() + LONGEST_S
    for number in range(ALARMS):
        started = time.perf_counter()
        await alarm([press(run, number)])
        took.append((time.perf_counter() - started) * 1e3)
        if time.perf_counter() > end:
            break
        await asyncio.sleep(ALARM_INTERVAL_S)
    flow.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await flow
    if pending:
        await asyncio.wait(pending)
    return sorted(took)


def told(name: str, share: float, what: str) -> None:
    memory = psutil.Process().memory_info().rss / 1e6
    print(f"{name:12} loop busy {share:4.0%}: {what} ({memory:.0f} MB)", flush=True)


def _loop_cost(share: float, cpu: float) -> str:
    # Beside other work it is not the journal's alone.
    return "" if share else f", {cpu:.1f} µs a record of the loop's time"


def quantiles(took: list[float]) -> str:
    return (
        f"an alarm beside {BESIDE_RATE}/s p50 {took[len(took) // 2]:.2f} ms, "
        f"p99 {took[int(len(took) * 0.99)]:.2f} ms, max {took[-1]:.2f} ms"
    )


async def measure_peer(folder: Path) -> None:
    async with Peer(folder / "peer.sqlite").open() as append:
        for share in (0.0, 0.5, 0.8):
            async with busy_loop(share):
                rate, _ = await flood(append, f"{share}", 200, RECORDS)
            told("executemany", share, f"{rate:.0f} records/s in batches of 200")
    async with (
        Peer(folder / "peer-telemetry.sqlite").open() as telemetry,
        Peer(folder / "peer-alarm.sqlite").open() as alarm,
    ):
        for share in (0.5, 0.8):
            async with busy_loop(share):
                took = await alarms_beside(telemetry, alarm, f"peer {share}")
            told("executemany", share, quantiles(took))


async def measure_journal(folder: Path) -> None:
    async with SqliteJournal(
        folder / "journal",
        clock=SystemClock(),
        metrics=NoMetrics(),
        retention_days={},
        max_size_mb=4096,
    ) as journal:
        for share, batch in ((0.0, 100), (0.0, 500), (0.5, 100), (0.5, 500), (0.8, 100)):
            async with busy_loop(share):
                rate, cpu = await flood(journal.append, f"{share} {batch}", batch, RECORDS)
            told(
                "journal",
                share,
                f"{rate:.0f} records/s in batches of {batch}" + _loop_cost(share, cpu),
            )
        for share in (0.0, 0.5, 0.8):
            async with busy_loop(share):
                took = await alarms_beside(journal.append, journal.append, f"beside {share}")
            told("journal", share, quantiles(took))


async def main() -> None:
    print("journal: goals: 30000 records/s, an alarm's p99 5 ms beside 6000/s, loop 8 µs a record")
    with tempfile.TemporaryDirectory() as name:
        await measure_journal(Path(name))
        await measure_peer(Path(name))


if __name__ == "__main__":
    uvloop.run(main())
