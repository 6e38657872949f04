"""The hot end of a lane: its last committed records in memory, for consumers that keep up."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter

from gateway.model import Stored

TAIL_RECORDS = 10_000
"""About two seconds of the greatest flood, some 15 MB: a sink's slow answer does not send its
consumer back to the disk."""

_sequence = attrgetter("sequence")


class Tail:
    """Holds every record of the lane behind `floor`; who is before it reads from disk."""

    def __init__(self, floor: int, limit: int = TAIL_RECORDS) -> None:
        self.floor = floor
        self._limit = limit
        self._records: list[Stored] = []

    def extend(self, records: Sequence[Stored]) -> None:
        """Takes what was committed behind all others."""
        self._records += records
        cut = len(self._records) - self._limit
        if cut > 0:
            self.floor = self._records[cut - 1].sequence
            del self._records[:cut]

    def after(self, sequence: int, limit: int) -> Sequence[Stored]:
        """The next records behind `sequence`, which must not lie before `floor`."""
        first = bisect_right(self._records, sequence, key=_sequence)
        return self._records[first : first + limit]

    def remove(self, sequences: frozenset[int]) -> None:
        """Retention takes these out of the lane."""
        if self._records and max(sequences, default=0) >= self._records[0].sequence:
            self._records = [s for s in self._records if s.sequence not in sequences]

    def forget(self, floor: int) -> None:
        """Nothing here is sure any more: everything up to `floor` is to be read from disk."""
        self._records.clear()
        self.floor = floor
