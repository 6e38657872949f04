"""Where one consumer stands in a lane: what it has, what it has still before it. No disk here."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter

from gateway.model import Stored
from gateway.ports import Backlog

_sequence = attrgetter("sequence")


class Position:
    """Counts exactly, so that `backlog` never has to ask the disk.

    `settled` ≤ `handed_out`; what lies between is in the consumer's hands. `behind` counts the
    records after `handed_out`, `next_at` is when the first of them was recorded.
    """

    def __init__(self, settled: int, *, behind: int, next_at: datetime | None) -> None:
        self.settled = settled
        self.handed_out = settled
        self.in_use = False
        """Whether this run has such a consumer; a cursor outlives its sink's settings."""
        self.next_at = next_at
        self._behind = behind
        self._open: deque[Sequence[Stored]] = deque()
        self._retrying: dict[int, datetime] = {}

    def rewind(self) -> None:
        """A new life of the consumer: what was handed out and not settled comes again."""
        if self._open:
            self.next_at = self._open[0][0].record.recorded_at
            self._behind += self._open_count()
            self._open.clear()
        self.handed_out = self.settled

    def committed(self, records: Sequence[Stored]) -> None:
        """These came at the lane's end."""
        if not self._behind:
            self.next_at = records[0].record.recorded_at
        self._behind += len(records)

    def hand_out(
        self, records: Sequence[Stored], *, through: int, count: int, next_at: datetime | None
    ) -> None:
        """Everything up to `through` is passed: `count` records, those that could be read among
        them in `records`. `next_at` belongs to the one after it; None says that there is none."""
        if records:
            self._open.append(records)
        self.handed_out = through
        self.next_at = next_at
        # A damaged page hides how many records it held: the end of the lane sets that right.
        self._behind = 0 if next_at is None else max(1, self._behind - count)

    def settle(self, sequence: int) -> bool:
        """Whether this moved the cursor. Never beyond what was handed out."""
        sequence = min(sequence, self.handed_out)
        if sequence <= self.settled:
            return False
        self.settled = sequence
        while self._open and self._open[0][0].sequence <= sequence:
            batch = self._open.popleft()
            if batch[-1].sequence > sequence:
                self._open.appendleft(batch[bisect_right(batch, sequence, key=_sequence) :])
                break
        return True

    def holds(self, sequence: int) -> bool:
        """Whether the record is in the consumer's hands: retention spares it."""
        return self.settled < sequence <= self.handed_out

    def removed(self, sequences: Collection[int]) -> int:
        """Retention took these; how many of them this consumer has not had."""
        unseen = sum(1 for sequence in sequences if sequence > self.handed_out)
        self._behind = max(0, self._behind - unseen)
        if not self._behind:
            self.next_at = None
        return unseen

    def kept(self, unseen: int) -> None:
        """They were not removed after all."""
        self._behind += unseen

    def peeked(self, next_at: datetime | None) -> None:
        """When the first record behind `handed_out` was recorded, read anew."""
        self.next_at = next_at

    def aside(self, records: Iterable[tuple[int, datetime]], *, retried: bool) -> None:
        """These sequences (with when they were recorded) are aside now, with a time or without."""
        for sequence, recorded_at in records:
            if retried:
                self._retrying[sequence] = recorded_at
            else:
                self._retrying.pop(sequence, None)

    def released(self, sequences: Iterable[int]) -> None:
        for sequence in sequences:
            self._retrying.pop(sequence, None)

    def only_aside(self, retrying: Mapping[int, datetime]) -> None:
        """Exactly these are aside with a time: another process may have changed it."""
        self._retrying = dict(retrying)

    def backlog(self) -> Backlog:
        """Each record once: what is aside and not settled yet counts as not settled."""
        aside = sum(1 for sequence in self._retrying if sequence <= self.settled)
        times = list(self._retrying.values())
        if self._open:
            times.append(self._open[0][0].record.recorded_at)
        if self.next_at is not None:
            times.append(self.next_at)
        return Backlog(
            records=self._behind + self._open_count() + aside, oldest=min(times, default=None)
        )

    def _open_count(self) -> int:
        return sum(len(batch) for batch in self._open)
