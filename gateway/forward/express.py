"""The memory road: alarm records that the journal does not take in time go out all the same."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import count

from gateway.forward.gate import Gate
from gateway.forward.one_by_one import OneByOne
from gateway.forward.outlet import Outlet
from gateway.forward.selection import Kind, is_panic, kind_of, order_key
from gateway.forward.timetable import Item
from gateway.model import Record, Stored
from gateway.ports import Clock

log = logging.getLogger(__name__)

LIMIT = 2000
"""Records in memory at a time, about 2 kB each. Those beyond it are still with the broker, which
sends them again: they are not acknowledged before they are committed."""

REMEMBERED = 10_000
"""Ids of records delivered from here, so that the journal's road need not deliver them again."""


class Express:
    """Delivers records from memory, each alone, until they are delivered or the journal has them.

    They carry the ids that they will have in the journal, and sequence 0: no place yet.
    """

    def __init__(
        self, *, outlet: Outlet, forwarded: frozenset[Kind], gate: Gate, clock: Clock
    ) -> None:
        self._sink = outlet.sink
        self._forwarded = forwarded
        self._singles = OneByOne(
            "alarms from memory", shelf=self, outlet=outlet, gate=gate, clock=clock
        )
        self._order = count(1)
        self._waiting: dict[int, Record] = {}
        self._items: dict[str, Item] = {}
        self._delivered: dict[str, None] = {}

    async def run(self) -> None:
        """Delivers for ever."""
        self._singles.resume()
        await self._singles.run()

    def hurry(self) -> None:
        """The sink is back: what waits is due at once."""
        self._singles.hurry()

    def accept(self, records: Sequence[Record]) -> None:
        """Takes records to be delivered now; one that is here or was delivered is left out."""
        for record in records:
            known = record.record_id in self._items or record.record_id in self._delivered
            if known or kind_of(record) not in self._forwarded:
                continue
            if len(self._items) >= LIMIT:
                log.error("no room for alarms in memory: sink=%s limit=%d", self._sink, LIMIT)
                return
            item = Item(next(self._order), order_key(record), panic=is_panic(record))
            self._items[record.record_id] = item
            self._waiting[item.sequence] = record
            self._singles.timetable.add(item)
            self._singles.wait(item, 0.0)

    def has_delivered(self, record_id: str) -> bool:
        """Asked when the journal hands a record out: from here on it is the journal's to deliver,
        unless it was delivered already."""
        if (item := self._items.pop(record_id, None)) is not None:
            del self._waiting[item.sequence]
            self._singles.done([item])
        return record_id in self._delivered

    async def fetch(self, sequence: int) -> Stored | None:
        record = self._waiting.get(sequence)
        return None if record is None else Stored(sequence=0, record=record)

    async def delivered(self, sequences: Sequence[int]) -> None:
        for sequence in sequences:
            if (record := self._waiting.pop(sequence, None)) is not None:
                del self._items[record.record_id]
                self._delivered[record.record_id] = None
                if len(self._delivered) > REMEMBERED:
                    del self._delivered[next(iter(self._delivered))]

    async def keep(self, records: Sequence[Stored], reason: str, pause_s: float) -> None:
        """They are in memory and nowhere else."""
