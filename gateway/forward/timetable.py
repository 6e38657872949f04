"""Which undelivered alarm record may go next: panic first, order within an alarm, own times."""

from __future__ import annotations

import heapq
from bisect import insort
from collections.abc import Sequence
from operator import attrgetter


class Item:
    """One undelivered record of the alarm lane, without its body (some 500 bytes in all)."""

    __slots__ = (
        "accepted", "due", "failures", "handed_over", "key", "others_accepted", "panic", "poison",
        "refused", "sequence", "strikes", "waiting",
    )  # fmt: skip

    def __init__(self, sequence: int, key: str, *, panic: bool) -> None:
        self.sequence = sequence
        self.key = key
        self.panic = panic
        self.failures = 0
        self.due = 0.0
        """When it may go, on the monotonic clock."""
        self.waiting = False
        """False while a delivery of it is under way."""
        self.accepted = False
        """The sink has it; the journal does not know that yet."""
        self.refused = False
        self.poison = False
        """The sink takes others and not this one: it holds back nothing behind it."""
        self.strikes = 0
        """Failures between which the sink accepted others."""
        self.others_accepted = 0
        """How many deliveries the sink had accepted when this one failed last."""
        self.handed_over = False


class Timetable:
    """Every undelivered record and when it may go. Knows no time, does no waiting.

    An item is eligible when it waits and no earlier one with its key is undelivered, poison aside.
    """

    def __init__(self) -> None:
        self._items: dict[int, Item] = {}
        self._queues: dict[str, list[Item]] = {}
        """By key, in order of their sequence; without the poison."""
        # Eligible items by (due, sequence), panic and others apart. An entry is void once its item
        # is under way, done, or due at another time: those are skipped when they come up.
        self._panic: list[tuple[float, int, Item]] = []
        self._other: list[tuple[float, int, Item]] = []
        self._refused = 0

    def __len__(self) -> int:
        return len(self._items)

    def get(self, sequence: int) -> Item | None:
        return self._items.get(sequence)

    @property
    def refused(self) -> int:
        """How many items the sink refused at their last try."""
        return self._refused

    def add(self, item: Item) -> None:
        """Takes up an item, as one that is under way."""
        self._items[item.sequence] = item
        insort(self._queues.setdefault(item.key, []), item, key=attrgetter("sequence"))

    def is_first(self, item: Item) -> bool:
        """Whether nothing undelivered holds it back."""
        return item.poison or self._queues[item.key][0] is item

    def same_key(self, item: Item) -> Sequence[Item]:
        """The item and those that wait with it for one another, by sequence, as they are now."""
        return (item,) if item.poison else tuple(self._queues.get(item.key, ()))

    def wait(self, item: Item, due: float, *, refused: bool = False) -> None:
        """Makes an item wait until `due`; does nothing for one that is done meanwhile."""
        if self._items.get(item.sequence) is not item:
            return
        self._refused += refused - item.refused
        item.refused = refused
        item.due = due
        item.waiting = True
        if self.is_first(item):
            self._enter(item)

    def take(self, now: float) -> Item | None:
        """An eligible item that is due, panic first, then the longest due; it is under way now."""
        for heap in (self._panic, self._other):
            self._drop_void(heap)
            if heap and heap[0][0] <= now:
                item = heapq.heappop(heap)[2]
                item.waiting = False
                return item
        return None

    def next_due(self) -> float | None:
        """When the next eligible item is due; None where none waits."""
        for heap in (self._panic, self._other):
            self._drop_void(heap)
        return min((heap[0][0] for heap in (self._panic, self._other) if heap), default=None)

    def done(self, item: Item) -> None:
        """Forgets an item: delivered, or gone. The next one with its key becomes eligible."""
        if self._items.pop(item.sequence, None) is None:
            return
        self._refused -= item.refused
        if not item.poison:
            self._leave_queue(item)

    def poison(self, item: Item) -> None:
        """From now on the item goes by itself and holds back nothing."""
        if not item.poison and self._items.get(item.sequence) is item:
            item.poison = True
            self._leave_queue(item)

    def resume(self, now: float) -> None:
        """Makes every item wait that a life before this one left under way."""
        for item in tuple(self._items.values()):
            if not item.waiting:
                self.wait(item, now)

    def hurry(self, now: float) -> None:
        """Makes every waiting item due, but for the refused: time does not mend those."""
        self._panic.clear()
        self._other.clear()
        for item in self._items.values():
            if item.waiting:
                if not item.refused:
                    item.due = min(item.due, now)
                if self.is_first(item):
                    self._enter(item)

    def _leave_queue(self, item: Item) -> None:
        queue = self._queues[item.key]
        queue.remove(item)
        if not queue:
            del self._queues[item.key]
        elif queue[0].waiting:
            self._enter(queue[0])

    def _enter(self, item: Item) -> None:
        heap = self._panic if item.panic else self._other
        heapq.heappush(heap, (item.due, item.sequence, item))

    def _drop_void(self, heap: list[tuple[float, int, Item]]) -> None:
        while heap:
            due, sequence, item = heap[0]
            held = self._items.get(sequence) is item
            if held and item.waiting and item.due == due and self.is_first(item):
                return
            heapq.heappop(heap)
