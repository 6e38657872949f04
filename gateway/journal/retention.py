"""What may go: by age and class, or the oldest telemetry when the file is too large. In chunks."""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import timedelta

import msgspec
from msgspec import Struct

from gateway.journal import statements
from gateway.journal.codec import to_microseconds
from gateway.journal.lane import LaneFile
from gateway.model import Lane, Retention
from gateway.ports import Clock, Metrics

log = logging.getLogger(__name__)

CHUNK = 500
"""Records removed in one commit. Each touches a page of its own in the index of ids: the lane's
next group waits some 10 ms for a chunk."""

FREE_PART_KEPT = 0.25
"""Part of a file that may lie free, for the records to come. More goes back to the disk, so that a
file which once filled it does not keep it full."""

_KEPT = """
    EXISTS (SELECT 1 FROM aside WHERE aside.sequence = record.sequence)
    OR EXISTS (SELECT 1 FROM damaged WHERE damaged.sequence = record.sequence)
"""
_PRESENT = """
    record.key IS NOT NULL
    AND EXISTS (SELECT 1 FROM latest WHERE latest.key = record.key
                AND latest.type = record.type AND latest.sequence = record.sequence)
    AND NOT (SELECT closed FROM latest WHERE latest.key = record.key
             ORDER BY latest.sequence DESC LIMIT 1)
"""
"""It tells the present state of something that is not over."""

_EXPIRED = f"""
    SELECT json_group_array(json_array(recorded_at, sequence)) FROM (
        SELECT recorded_at, sequence FROM record INDEXED BY record_age
        WHERE retention = ? AND recorded_at < ? AND (recorded_at, sequence) > (?, ?)
          AND sequence <= ? AND NOT ({_KEPT}) AND NOT ({_PRESENT})
        ORDER BY recorded_at, sequence LIMIT ?
    )
"""  # noqa: S608 -- nothing but constants
_OLDEST = f"""
    SELECT json_group_array(sequence) FROM (
        SELECT sequence FROM record
        WHERE sequence > ? AND (? OR NOT ({_KEPT})) AND NOT ({_PRESENT})
        ORDER BY sequence LIMIT ?
    )
"""  # noqa: S608 -- nothing but constants

_EVERY = 2**62

Place = tuple[int, int]
_decode_places = msgspec.json.Decoder(list[Place]).decode


class Sweeper:
    """Removes what has outlived its class; telemetry also when its file is too large.

    Never removed: an alarm that any consumer has still to settle, what a consumer has in its hands,
    the last word on something that is not over. What is aside or damaged has no age; of telemetry
    it goes when nothing else is left to keep the file within its size.
    """

    def __init__(
        self,
        files: Sequence[LaneFile],
        *,
        clock: Clock,
        metrics: Metrics,
        retention_days: Mapping[Retention, int],
        max_bytes: int,
    ) -> None:
        self._files = files
        self._clock = clock
        self._metrics = metrics
        self._retention_days = retention_days
        self._max_bytes = max_bytes

    async def chunks(self) -> AsyncGenerator[int, None]:
        """Removes chunk after chunk, until nothing is left to go; each time how many went."""
        for file in self._files:
            for retention, days in self._retention_days.items():
                async for removed in self._by_age(file, retention, timedelta(days=days)):
                    yield removed
            if file.lane is Lane.TELEMETRY:
                for kept_too in (False, True):
                    async for removed in self._by_size(file, kept_too=kept_too):
                        yield removed
            free = 0
            while (found := await file.ask(pages)).wasted and found.free != free:
                free = found.free
                await file.change(statements.give_back)
                yield 0

    async def _by_age(
        self, file: LaneFile, retention: Retention, age: timedelta
    ) -> AsyncGenerator[int, None]:
        before = to_microseconds(self._clock.now() - age)
        place: Place = (-_EVERY, 0)
        while True:
            async with file.still:
                answer = await file.ask(
                    _value, _EXPIRED, retention, before, *place, _removable_to(file), CHUNK
                )
                places = _decode_places(answer)
                if not places:
                    return
                place = places[-1]
                removed = await self._remove(file, [s for _, s in places], "retention")
            if removed:
                yield removed

    async def _by_size(self, file: LaneFile, *, kept_too: bool) -> AsyncGenerator[int, None]:
        sequence = 0
        while (used := (await file.ask(pages)).used_bytes) > self._max_bytes:
            too_many = math.ceil((1 - self._max_bytes / used) * file.count)
            async with file.still:
                answer = await file.ask(_value, _OLDEST, sequence, kept_too, min(too_many, CHUNK))
                sequences = msgspec.json.decode(answer, type=list[int])
                if not sequences:
                    return
                sequence = sequences[-1]
                removed = await self._remove(file, sequences, "size")
            if removed:
                yield removed

    async def _remove(self, file: LaneFile, sequences: Sequence[int], why: str) -> int:
        positions = list(file.positions.values())
        free = [s for s in sequences if not any(p.holds(s) for p in positions)]
        if not free:
            return 0
        unseen = await file.remove(free)
        if unseen:
            self._metrics.dropped(file.lane, why, unseen)
        return len(free)


class Pages(Struct, frozen=True, kw_only=True):
    """How a file's pages are used."""

    size: int
    all: int
    free: int

    @property
    def used_bytes(self) -> int:
        """What the records and their indexes take."""
        return (self.all - self.free) * self.size

    @property
    def wasted(self) -> bool:
        """Whether more lies free than the records to come need."""
        return self.free > FREE_PART_KEPT * self.all


def pages(connection: sqlite3.Connection) -> Pages:
    size, all_, free = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_size", "page_count", "freelist_count")
    )
    return Pages(size=size, all=all_, free=free)


def _removable_to(file: LaneFile) -> int:
    if file.lane is Lane.TELEMETRY:
        return _EVERY
    # Those of sinks that are out of the settings count too: they may come back.
    return min((p.settled for p in file.positions.values()), default=_EVERY)


def _value(connection: sqlite3.Connection, query: str, *arguments: object) -> bytes:
    value: bytes = connection.execute(query, arguments).fetchone()[0]
    return value
