"""When each device of an adapter is asked next; pure but for the clock it is given.

Starts are spread over the interval by a hash of the device id, at the same seconds of the clock
after every restart: neither a start nor a loop of crashes asks a region all at once, or always the
same devices first.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from enum import StrEnum
from itertools import count

from gateway.ports import Clock

CONFIRM_S = 10.0
"""Between a first failure and the check that confirms it (contract, "Reasons")."""
BACKOFF_MAX_S = 300.0
BACKOFF_MAX_INTERVALS = 5
"""A dead device is asked every five minutes at least, and no rarer than every fifth interval."""
_GRAIN_S = 0.02  # devices due within it are asked in one go: fewer wake-ups at 300 checks a second
_WAKE_S = 0.25  # how late an added device may be noticed; cheaper than waking a sleeper


class Outcome(StrEnum):
    """What became of a check."""

    ANSWERED = "answered"
    FAILED = "failed"
    OPEN = "open"
    """Nothing is decided yet: soon again, and it counts for nothing."""


class Ticket:
    """One device's place in the schedule, in flight from `Schedule.due` until it is settled."""

    __slots__ = ("at", "checked_at", "device_id", "failures", "phase", "scheduled")

    def __init__(self, device_id: str) -> None:
        self.device_id = device_id
        digest = hashlib.blake2b(device_id.encode(), digest_size=8).digest()
        self.phase = int.from_bytes(digest, "big") / 2**64
        self.failures = 0
        """Failed checks in a row."""
        self.at = 0.0
        self.checked_at = float("-inf")
        self.scheduled = 0  # which entry of the heap counts; 0 while in flight or removed


class Schedule:
    """Hands out devices as they become due. Times are of `clock.monotonic()`."""

    def __init__(
        self, *, clock: Clock, interval_s: float, chance: random.Random | None = None
    ) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._confirm_s = min(CONFIRM_S, interval_s)
        self._backoff_max_s = min(BACKOFF_MAX_S, BACKOFF_MAX_INTERVALS * interval_s)
        self._chance = chance or random.Random()  # noqa: S311 -- spreads load, guards nothing
        self._tickets: dict[str, Ticket] = {}
        self._heap: list[tuple[float, int, Ticket]] = []
        self._entries = count(1)

    def add(self, device_id: str, *, soon: bool = False) -> None:
        """A device's first check comes at its place in the interval; `soon`: within seconds, for
        what a person has just changed."""
        ticket = Ticket(device_id)
        self._tickets[device_id] = ticket
        if soon:
            self._put(ticket, self._clock.monotonic() + ticket.phase * self._confirm_s)
        else:
            self._put(ticket, self._clock.monotonic() + self._to_place(ticket))

    def remove(self, device_id: str) -> None:
        """The device is asked no more. A check in flight may still be settled: it does nothing."""
        ticket = self._tickets.pop(device_id, None)
        if ticket is not None:
            ticket.scheduled = 0

    def hasten(self, device_id: str) -> None:
        """The device is due now, unless it is in flight or was asked a moment ago."""
        ticket = self._tickets.get(device_id)
        now = self._clock.monotonic()
        if ticket is None or not ticket.scheduled or now - ticket.checked_at < self._confirm_s:
            return
        if ticket.at > now:
            self._put(ticket, now)

    async def due(self) -> Ticket:
        """Waits until a device is due; it is then in flight until `settle`."""
        while True:
            now = self._clock.monotonic()
            while self._heap and self._heap[0][0] <= now:
                _, entry, ticket = heapq.heappop(self._heap)
                if entry == ticket.scheduled:
                    ticket.scheduled = 0
                    return ticket
            wait = self._heap[0][0] - now if self._heap else _WAKE_S
            await self._clock.sleep(min(max(wait, _GRAIN_S), _WAKE_S))

    def settle(self, ticket: Ticket, outcome: Outcome) -> None:
        """Takes the outcome of a check and decides on the next one."""
        now = self._clock.monotonic()
        ticket.checked_at = now
        if outcome is Outcome.ANSWERED:
            ticket.failures = 0
            wait = self._to_place(ticket)
            if wait < self._interval_s / 10:  # it came a little early, or the clock was set
                wait += self._interval_s
        elif outcome is Outcome.OPEN:
            wait = self._confirm_s
        else:
            ticket.failures += 1
            wait = self._after_failure(ticket.failures)
        if self._tickets.get(ticket.device_id) is ticket:
            self._put(ticket, now + wait)

    def _after_failure(self, failures: int) -> float:
        """Seconds to the next check: a short one to confirm, then doubling, with jitter."""
        if failures == 1:
            return self._confirm_s
        doubled = self._interval_s * 2.0 ** min(failures - 2, 16)
        return min(doubled, self._backoff_max_s) * self._chance.uniform(0.8, 1.0)

    def _to_place(self, ticket: Ticket) -> float:
        """Seconds until the device's own moment of the interval comes round."""
        wall = self._clock.now().timestamp()
        return (ticket.phase * self._interval_s - wall) % self._interval_s

    def _put(self, ticket: Ticket, at: float) -> None:
        ticket.at = at
        ticket.scheduled = next(self._entries)
        heapq.heappush(self._heap, (at, ticket.scheduled, ticket))
