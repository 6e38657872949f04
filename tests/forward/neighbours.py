"""What stands around the forwarder in its tests, each as its port promises it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from msgspec import Struct

from gateway.errors import DeliveryError, JournalError
from gateway.forward import Fallback, Forwarder, ForwardSettings, Kind
from gateway.model import Alarm, Condition, DeviceKind, Lane, Stored
from gateway.ports import Aside, Backlog, Clock, Consumer, Sink
from tests.memory_journal import MemoryJournal
from tests.simulated_clock import SimulatedClock

Judge = Callable[[Lane, Sequence[str]], DeliveryError | None]


class Try(Struct, frozen=True, kw_only=True):
    at: float
    lane: Lane
    ids: tuple[str, ...]
    error: DeliveryError | None


class ScriptedSink:
    """`ports.Sink` that answers what `judge` says, after `takes_s` of the clock."""

    def __init__(self, clock: Clock, name: str = "opscenter") -> None:
        self._clock = clock
        self._name = name
        self.judge: Judge = lambda lane, ids: None
        self.takes_s = 0.0
        self.tries: list[Try] = []
        self.heartbeats: list[tuple[float, Mapping[Lane, Backlog]]] = []
        self.heartbeat_error: DeliveryError | None = None
        self.under_way = 0
        self.most_at_once = 0
        self.closed = False

    @property
    def name(self) -> str:
        return self._name

    async def deliver(self, lane: Lane, records: Sequence[Stored]) -> None:
        ids = tuple(stored.record.record_id for stored in records)
        error = self.judge(lane, ids)
        self.tries.append(Try(at=self._clock.monotonic(), lane=lane, ids=ids, error=error))
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            await self._clock.sleep(self.takes_s)
        finally:
            self.under_way -= 1
        if error is not None:
            raise error

    async def heartbeat(self, backlog: Mapping[Lane, Backlog]) -> None:
        self.heartbeats.append((self._clock.monotonic(), backlog))
        if self.heartbeat_error is not None:
            raise self.heartbeat_error

    async def close(self) -> None:
        self.closed = True

    @property
    def accepted(self) -> list[str]:
        """Ids in the order of their acceptance, repeats too."""
        return [one for trial in self.tries if trial.error is None for one in trial.ids]

    def tries_of(self, record_id: str) -> list[Try]:
        return [trial for trial in self.tries if record_id in trial.ids]


class NotedMetrics:
    """`ports.Metrics` that counts what the forwarder counts."""

    def __init__(self) -> None:
        self.deliveries: Counter[tuple[str, Lane, str]] = Counter()
        self.presses: list[float] = []

    def delivered(self, sink: str, lane: Lane, outcome: str, count: int) -> None:
        self.deliveries[sink, lane, outcome] += count

    def press_delivered(self, seconds: float) -> None:
        self.presses.append(seconds)

    def appended(self, lane: Lane, count: int) -> None: ...

    def dropped(self, lane: Lane, reason: str, count: int = 1) -> None: ...

    def error(self, stage: str, reason: str) -> None: ...

    def check_took(self, kind: DeviceKind, seconds: float) -> None: ...

    def broker_connected(self, broker: str, connected: bool) -> None: ...

    def alarm_raised(self, alarm: Alarm) -> None: ...


class NotedConditions:
    """`ports.Conditions` that remembers what it was told; `hold` makes telling hang."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bool]] = []
        self.details: list[str] = []
        self.open = asyncio.Event()
        self.open.set()

    async def tell(
        self, condition: Condition, subject: str, *, active: bool, detail: str = ""
    ) -> None:
        await self.open.wait()
        assert condition is Condition.DELIVERY_FAILED
        self.told.append((subject, active))
        self.details.append(detail)

    def active(self, subject: str) -> bool:
        return ([False] + [active for of, active in self.told if of == subject])[-1]


class IllConsumer:
    """A consumer whose journal sometimes takes nothing (`ill`) or hangs (`hangs`)."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self.ill = False
        self.hangs = False
        self.settled = 0

    @property
    def name(self) -> str:
        return self._consumer.name

    @property
    def lane(self) -> Lane:
        return self._consumer.lane

    async def batch(self, limit: int) -> Sequence[Stored]:
        return await self._consumer.batch(limit)

    async def settle(self, sequence: int) -> None:
        self.settled = sequence
        await self._consumer.settle(sequence)

    async def set_aside(
        self, records: Sequence[Stored], reason: str, retry_at: datetime | None
    ) -> None:
        await self._trouble()
        await self._consumer.set_aside(records, reason, retry_at)

    async def aside(
        self, *, due: datetime | None = None, after: int = 0, limit: int = 1000
    ) -> Sequence[Aside]:
        await self._trouble()
        return await self._consumer.aside(due=due, after=after, limit=limit)

    async def release(self, sequences: Sequence[int]) -> None:
        await self._trouble()
        await self._consumer.release(sequences)

    def backlog(self) -> Backlog:
        return self._consumer.backlog()

    async def _trouble(self) -> None:
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        if self.ill:
            raise JournalError("the disk is ill")


class Rig:
    """A forwarder between a memory journal and a sink, in simulated time."""

    def __init__(
        self,
        *,
        clock: SimulatedClock | None = None,
        journal: MemoryJournal | None = None,
        sink: Sink | None = None,
        forward: frozenset[Kind] = frozenset(Kind),
        max_batch: int = 500,
        fallback: frozenset[Kind] | None = None,
    ) -> None:
        self.clock = clock or SimulatedClock()
        self.journal = journal or MemoryJournal(self.clock)
        self.scripted = ScriptedSink(self.clock)
        self.sink: Sink = sink or self.scripted
        self.metrics = NotedMetrics()
        self.conditions = NotedConditions()
        self.alarms = IllConsumer(self.journal.consumer(self.sink.name, Lane.ALARM))
        self.telemetry = IllConsumer(self.journal.consumer(self.sink.name, Lane.TELEMETRY))
        self.fallback = self.journal.consumer("second-center", Lane.ALARM)
        self.forwarder = Forwarder(
            sink=self.sink,
            alarms=self.alarms,
            telemetry=self.telemetry,
            settings=ForwardSettings(forward=forward, max_batch=max_batch),
            fallback=None
            if fallback is None
            else Fallback(consumer=self.fallback, forward=fallback),
            clock=self.clock,
            metrics=self.metrics,
            conditions=self.conditions,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The forwarder runs within; at the end it is stopped as the gateway stops it."""
        task = asyncio.create_task(self.forwarder.run(), name="forwarder")
        try:
            await self.clock.advance()
            yield
        finally:
            task.cancel()
            await self.clock.advance(10.0)  # what is under way in simulated time may end
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled() or task.exception() is None, task.exception()

    def after_crash(self) -> Rig:
        """The next process: what the journal kept, and nothing else."""
        rig = Rig(clock=self.clock, journal=self.journal.restart())
        rig.scripted.judge = self.scripted.judge
        return rig
