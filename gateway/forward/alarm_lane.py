"""The alarm lane: what is there goes at once, and nothing that fails holds up anything else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from msgspec import Struct

from gateway.errors import DeliveryError, EndpointFault, JournalError, Permanent, TooLarge
from gateway.forward.express import Express
from gateway.forward.gate import Gate
from gateway.forward.lane_shelf import LaneShelf, patience
from gateway.forward.one_by_one import OneByOne
from gateway.forward.outlet import Outlet
from gateway.forward.pace import alarm_pause
from gateway.forward.selection import Kind, is_panic, kind_of, order_key
from gateway.forward.timetable import Item
from gateway.model import Stored
from gateway.ports import Aside, Clock, Consumer

log = logging.getLogger(__name__)

BATCH = 100
"""Records a request: small, so that one that is refused or slow drags few others with it."""

BATCHES_AT_ONCE = 8
"""Batches under way at a time. While the center hangs, a new press then waits at most until the
oldest of eight tries gives up, and takes the place of that one."""

LOOK_S = 1.0
"""How often to look for records that others set aside for us: the sink whose fallback we are, or a
person who wants a record tried again."""

PAGE = 200
"""Records aside that are read at a time."""

WAITING_LIMIT = 20_000
"""Undelivered records whose times are kept in memory (some 10 MB). Those beyond it are durable in
the journal and come up as room appears; order within an alarm is not kept with them."""

JOURNAL_AGAIN_S = 1.0
"""Pause after the journal failed to give the next records."""

START_PAUSE_S = 1.0
"""A start makes everything that waits due, but after this pause: the cursor first hands out again
what was not settled, and among that may be an earlier record of an alarm that waits aside."""


class Fallback(Struct, frozen=True, kw_only=True):
    """The sink that gets what this one cannot take: its consumer of the alarm lane, and what it
    is told anyway."""

    consumer: Consumer
    forward: frozenset[Kind]


Load = list[tuple[Item, Stored]]


class Batch:
    """What was read at once, parted by what becomes of it."""

    def __init__(self) -> None:
        self.free: Load = []
        """Goes now, panic first."""
        self.behind: Load = []
        """An earlier record of its alarm is not delivered yet."""
        self.passed: list[int] = []
        """Sequences that this cursor need not care for."""


class AlarmLane:
    """Delivers one consumer's records to one outlet; nothing ends or pauses it.

    Each batch is a task of its own. One that fails is tried once more; then its records are set
    aside durably, the cursor moves on, and each goes alone on a timer of its own.
    """

    def __init__(
        self,
        *,
        consumer: Consumer,
        outlet: Outlet,
        forwarded: frozenset[Kind],
        express: Express,
        fallback: Fallback | None,
        gate: Gate,
        clock: Clock,
    ) -> None:
        self._outlet = outlet
        self._forwarded = forwarded
        self._express = express
        self._fallback = fallback
        self._gate = gate
        self._clock = clock
        self._shelf = LaneShelf(consumer, clock)
        self._singles = OneByOne(
            "waiting alarms",
            shelf=self._shelf,
            outlet=outlet,
            gate=gate,
            clock=clock,
            at_fault=self._hand_over,
        )

    def hurry(self) -> None:
        """The sink is back: what waits is due at once."""
        self._singles.hurry()

    async def run(self) -> None:
        """Delivers for ever."""
        self._singles.resume()
        await self._load()
        slots = asyncio.Semaphore(BATCHES_AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            sink = self._outlet.sink
            tasks.create_task(self._singles.run(), name=f"{sink}: waiting alarms")
            tasks.create_task(self._look(), name=f"{sink}: alarms set aside by others")
            while True:
                await slots.acquire()
                batch = self._sort(await self._read())
                if batch.free:
                    carrying = self._carry(batch.free, slots)
                    tasks.create_task(carrying, name=f"{sink}: alarm batch")
                else:
                    slots.release()
                if batch.behind:
                    tasks.create_task(self._queue_up(batch.behind), name=f"{sink}: alarms behind")
                if batch.passed:
                    await self._shelf.close(batch.passed)

    async def _read(self) -> Sequence[Stored]:
        failing = False
        while True:
            try:
                return await self._shelf.read(BATCH)
            except JournalError as error:
                if not failing:
                    log.warning("alarms not read: sink=%s error=%s", self._outlet.sink, error)
                failing = True
                await self._clock.sleep(JOURNAL_AGAIN_S)

    def _sort(self, records: Sequence[Stored]) -> Batch:
        """Parts what was read, and notes in the timetable what is now undelivered."""
        batch = Batch()
        table = self._singles.timetable
        going: set[str] = set()  # alarms all of whose undelivered records are in this batch
        for stored in records:
            record = stored.record
            aside = table.get(stored.sequence) is not None  # the cursor comes by after a crash
            unwanted = kind_of(record) not in self._forwarded
            if aside or unwanted or self._express.has_delivered(record.record_id):
                batch.passed.append(stored.sequence)
                continue
            item = Item(stored.sequence, order_key(record), panic=is_panic(record))
            table.add(item)
            if item.key in going or table.is_first(item):
                going.add(item.key)
                batch.free.append((item, stored))
            else:
                batch.behind.append((item, stored))
        batch.free.sort(key=lambda pair: not pair[0].panic)  # stable: else by sequence
        return batch

    async def _carry(self, load: Load, slots: asyncio.Semaphore) -> None:
        """Tries a batch twice; then each of its records goes alone. Holds one of `slots` while a
        try is under way, not while it waits."""
        try:
            error = await self._attempt(load)
        finally:
            slots.release()
        if error is None:
            return
        if not isinstance(error, Permanent | TooLarge):
            items = [item for item, _ in load]
            for item in items:
                item.failures = 1
            if isinstance(error, EndpointFault):
                await self._hand_over(items, str(error))
            await self._clock.sleep(alarm_pause(error, 1))
            async with slots:
                error = await self._attempt(load)
        if error is not None:
            await self._singles.failed(
                [item for item, _ in load], [stored for _, stored in load], error
            )

    async def _attempt(self, load: Load) -> DeliveryError | None:
        async with self._gate:
            error = await self._outlet.attempt([stored for _, stored in load])
            if error is None:
                self._singles.done([item for item, _ in load])
                await self._shelf.delivered([stored.sequence for _, stored in load])
        return error

    async def _queue_up(self, load: Load) -> None:
        """Sets aside what has to wait for an earlier record of its alarm."""
        records = [stored for _, stored in load]
        await self._shelf.keep(records, "waits for an earlier record of its alarm", 0.0)
        for item, _ in load:
            self._singles.wait(item, 0.0)
        same = self._singles.timetable.same_key
        late = [item for item, _ in load if any(other.handed_over for other in same(item))]
        if late:
            await self._hand_over(late, "an earlier record of its alarm was handed over")

    async def _hand_over(self, items: Sequence[Item], why: str) -> None:
        """Gives these alarms' undelivered records to the fallback sink, each once a life."""
        if self._fallback is None:
            return
        alarms = {item.key: item for item in items}
        waiting = [
            item
            for alarm in alarms.values()
            for item in self._singles.timetable.same_key(alarm)
            if not item.handed_over
        ][:PAGE]
        for item in waiting:
            item.handed_over = True
        try:
            bodies = [await self._shelf.fetch(item.sequence) for item in waiting]
            records = [
                stored
                for stored in bodies
                if stored is not None and kind_of(stored.record) not in self._fallback.forward
            ]
            if records:
                reason = f"handed over by {self._outlet.sink}: {why}"
                async with patience():
                    await self._fallback.consumer.set_aside(records, reason, self._clock.now())
        except JournalError as error:
            log.debug("not handed over: sink=%s error=%s", self._outlet.sink, error)
            for item in waiting:  # the next failing try hands over again
                item.handed_over = False

    async def _load(self) -> None:
        """Takes up what an earlier life left aside."""
        after, page = 0, PAGE
        while page == PAGE:
            try:
                asides = await self._shelf.page(after=after, limit=PAGE)
            except JournalError as error:  # looking will find them
                log.warning("alarms aside not read: sink=%s error=%s", self._outlet.sink, error)
                return
            for aside in asides:
                if aside.retry_at is not None:
                    self._take_up(aside, START_PAUSE_S)
                after = aside.stored.sequence
            page = len(asides)

    async def _look(self) -> None:
        """Takes up what others set aside for us, page after page, round and round."""
        after = 0
        while True:
            await self._clock.sleep(LOOK_S)
            try:
                asides = await self._shelf.page(after=after, limit=PAGE, due=self._clock.now())
            except JournalError as error:
                log.debug("alarms aside not read: sink=%s error=%s", self._outlet.sink, error)
                continue
            for aside in asides:
                self._take_up(aside, 0.0)
            after = asides[-1].stored.sequence if len(asides) == PAGE else 0

    def _take_up(self, aside: Aside, pause_s: float) -> None:
        table = self._singles.timetable
        record, sequence = aside.stored.record, aside.stored.sequence
        if (known := table.get(sequence)) is not None:
            if known.waiting:  # a person brought its time forward
                self._singles.hurry_one(known)
            return
        if len(table) >= WAITING_LIMIT:
            return
        item = Item(sequence, order_key(record), panic=is_panic(record))
        item.failures = aside.attempts
        table.add(item)
        self._singles.wait(item, pause_s)
