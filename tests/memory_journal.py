"""The journal as its port promises it, in memory, with the troubles that a test orders."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import msgspec

from gateway.errors import JournalError
from gateway.model import Lane, Record, Stored
from gateway.ports import Aside, Backlog, Clock


class _Lane:
    """One lane: what survives a restart, and what wakes its readers."""

    def __init__(self) -> None:
        self.records: list[Stored] = []
        self.by_id: dict[str, Stored] = {}
        self.bytes = 0
        self.cursors: dict[str, int] = {}
        self.asides: dict[str, dict[int, Aside]] = {}
        self.turn = asyncio.Lock()
        self.open = asyncio.Event()
        self.open.set()
        self.grown = asyncio.Condition()

    def copy(self) -> _Lane:
        copy = _Lane()
        copy.records = list(self.records)
        copy.by_id = dict(self.by_id)
        copy.bytes = self.bytes
        copy.cursors = dict(self.cursors)
        copy.asides = {name: dict(aside) for name, aside in self.asides.items()}
        return copy

    @property
    def last(self) -> int:
        return len(self.records)

    def after(self, sequence: int) -> Sequence[Stored]:
        # Sequences have no gaps here: the record of sequence n stands at n - 1.
        return self.records[sequence:]


class MemoryJournal:
    """`ports.Journal` without a disk. `fail[lane]` makes appends raise; `hold` makes them hang.

    Records come back through JSON, as from a file.
    """

    def __init__(self, clock: Clock) -> None:
        self.fail: dict[Lane, JournalError | None] = dict.fromkeys(Lane)
        self._clock = clock
        self._lanes = {lane: _Lane() for lane in Lane}
        self._writable = True

    def hold(self, lane: Lane) -> None:
        """Appends of the lane hang until `release`."""
        self._lanes[lane].open.clear()

    def release(self, lane: Lane) -> None:
        self._lanes[lane].open.set()

    def restart(self) -> MemoryJournal:
        """What the next process finds: records, settled cursors and asides; no ordered trouble.
        An append that still hangs is not in it."""
        fresh = MemoryJournal(self._clock)
        fresh._lanes = {lane: kept.copy() for lane, kept in self._lanes.items()}
        return fresh

    async def append(self, records: Sequence[Record]) -> Sequence[bool]:
        if not records:
            return []
        (name,) = {record.lane for record in records}
        lane = self._lanes[name]
        async with lane.turn:
            await lane.open.wait()
            await asyncio.sleep(0)
            failure = self.fail[name]
            if name is Lane.ALARM:
                self._writable = failure is None
            if failure is not None:
                raise failure
            new = [self._add(lane, record) for record in records]
        async with lane.grown:
            lane.grown.notify_all()
        return new

    def _add(self, lane: _Lane, record: Record) -> bool:
        if record.record_id in lane.by_id:
            return False
        encoded = msgspec.json.encode(record)
        stored = Stored(sequence=lane.last + 1, record=msgspec.json.decode(encoded, type=Record))
        lane.records.append(stored)
        lane.by_id[record.record_id] = stored
        lane.bytes += len(encoded)
        return True

    def consumer(self, name: str, lane: Lane, *, from_start: bool = True) -> MemoryConsumer:
        return MemoryConsumer(name, lane, self._lanes[lane], self._clock, from_start=from_start)

    async def latest(self, family: str) -> AsyncIterator[Stored]:
        for lane in self._lanes.values():
            last: dict[str, Stored] = {}
            for stored in lane.records:
                record = stored.record
                if record.key is None:
                    continue
                if record.type == family or record.type.startswith(f"{family}."):
                    last[record.key] = stored
            for stored in sorted(last.values(), key=lambda stored: stored.sequence):
                yield stored

    async def read(
        self, lane: Lane, *, after: int = 0, since: datetime | None = None
    ) -> AsyncIterator[Stored]:
        for stored in self._lanes[lane].after(after):
            if since is None or stored.record.recorded_at >= since:
                yield stored

    async def get(self, lane: Lane, record_id: str) -> Stored | None:
        return self._lanes[lane].by_id.get(record_id)

    def writable(self) -> bool:
        return self._writable

    def size_bytes(self) -> int:
        return sum(lane.bytes for lane in self._lanes.values())


class MemoryConsumer:
    """`ports.Consumer` on a lane of a `MemoryJournal`."""

    def __init__(
        self, name: str, lane: Lane, kept: _Lane, clock: Clock, *, from_start: bool
    ) -> None:
        self._name = name
        self._lane = lane
        self._kept = kept
        self._clock = clock
        self._handed_out = kept.cursors.setdefault(name, 0 if from_start else kept.last)
        self._asides = kept.asides.setdefault(name, {})

    @property
    def name(self) -> str:
        return self._name

    @property
    def lane(self) -> Lane:
        return self._lane

    async def batch(self, limit: int) -> Sequence[Stored]:
        async with self._kept.grown:
            await self._kept.grown.wait_for(lambda: self._kept.last > self._handed_out)
        batch = self._kept.after(self._handed_out)[:limit]
        self._handed_out = batch[-1].sequence
        return batch

    async def settle(self, sequence: int) -> None:
        self._kept.cursors[self._name] = max(sequence, self._cursor)

    async def set_aside(
        self, records: Sequence[Stored], reason: str, retry_at: datetime | None
    ) -> None:
        for stored in records:
            known = self._asides.get(stored.sequence)
            self._asides[stored.sequence] = Aside(
                stored=stored,
                reason=reason,
                attempts=known.attempts + 1 if known else 1,
                since=known.since if known else self._clock.now(),
                retry_at=retry_at,
            )

    async def aside(
        self, *, due: datetime | None = None, after: int = 0, limit: int = 1000
    ) -> Sequence[Aside]:
        found = [
            aside
            for sequence, aside in sorted(self._asides.items())
            if sequence > after
            and (due is None or (aside.retry_at is not None and aside.retry_at <= due))
        ]
        return found[:limit]

    async def release(self, sequences: Sequence[int]) -> None:
        for sequence in sequences:
            self._asides.pop(sequence, None)

    def backlog(self) -> Backlog:
        before = {stored.sequence: stored for stored in self._kept.after(self._cursor)}
        for sequence, aside in self._asides.items():
            if aside.retry_at is not None:
                before[sequence] = aside.stored
        return Backlog(
            records=len(before),
            oldest=min((stored.record.recorded_at for stored in before.values()), default=None),
        )

    @property
    def _cursor(self) -> int:
        return self._kept.cursors[self._name]
