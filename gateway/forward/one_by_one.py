"""Single alarms on timers of their own, for ever: what a batch could not bring to the sink."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from gateway.errors import DeliveryError, JournalError, Permanent, Retryable, TooLarge
from gateway.forward.gate import Gate
from gateway.forward.outlet import Outlet
from gateway.forward.pace import alarm_pause, sleep_or_woken
from gateway.forward.timetable import Item, Timetable
from gateway.model import Stored
from gateway.ports import Clock

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Single deliveries under way at a time: a center that has come back gets thousands of waiting
alarms in seconds, and no more than eight requests at once."""

REST_S = 0.2
"""Pause of a slot after a failure: at most 40 failing tries a second, however many alarms wait."""

HURRY_EVERY_S = 15.0
"""A recovery makes every waiting alarm due, but not again within this time: a center that accepts
one kind of record and fails on another recovers with every second answer."""

STRIKES = 3
"""So many failures while others are accepted say that the center fails on this very record: it then
holds back nothing that comes behind it. An outage of the center gives no strike, so that order
within an alarm holds over any outage."""

JOURNAL_AGAIN_S = 1.0
"""Pause after the journal failed to give a record that is due."""


class Shelf(Protocol):
    """Where the bodies of waiting records lie."""

    async def fetch(self, sequence: int) -> Stored | None:
        """None: a person dropped it. Raises JournalError."""
        ...

    async def delivered(self, sequences: Sequence[int]) -> None:
        """The records need to be kept no longer. Raises JournalError."""
        ...

    async def keep(self, records: Sequence[Stored], reason: str, pause_s: float) -> None:
        """Keeps records for another try after `pause_s`. Raises nothing: what the journal does not
        take stays in memory."""
        ...


AtFault = Callable[[Sequence[Item], str], Awaitable[None]]
"""Awaited, with what the sink said, after items were refused or showed the endpoint at fault."""


class OneByOne:
    """Delivers the waiting items of its timetable, each alone, each at its time."""

    def __init__(
        self,
        name: str,
        *,
        shelf: Shelf,
        outlet: Outlet,
        gate: Gate,
        clock: Clock,
        at_fault: AtFault | None = None,
    ) -> None:
        """`name` says which alarms these are, for tasks and people."""
        self.timetable = Timetable()
        self._name = name
        self._shelf = shelf
        self._outlet = outlet
        self._gate = gate
        self._clock = clock
        self._at_fault = at_fault
        self._woken = asyncio.Event()
        self._hurried = -HURRY_EVERY_S
        self._refusing = False

    async def run(self) -> None:
        """Delivers for ever."""
        slots = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tries:
            while True:
                await slots.acquire()
                item = await self._next()
                trial = tries.create_task(
                    self._try(item), name=f"{self._outlet.sink}: {self._name}"
                )
                trial.add_done_callback(lambda _: slots.release())

    def resume(self) -> None:
        """Takes up what a life before this one left under way; to be called before `run`."""
        self.timetable.resume(self._clock.monotonic())

    def wait(self, item: Item, pause_s: float, *, refused: bool = False) -> None:
        """Makes an item due in `pause_s`."""
        self.timetable.wait(item, self._clock.monotonic() + pause_s, refused=refused)
        self._woken.set()

    def hurry_one(self, item: Item) -> None:
        """Makes a waiting item due now, if it is not."""
        now = self._clock.monotonic()
        if item.due > now:
            self.timetable.wait(item, now, refused=item.refused)
            self._woken.set()

    def done(self, items: Sequence[Item]) -> None:
        """Items are delivered or gone: the next ones of their alarms may go."""
        for item in items:
            self.timetable.done(item)
        self._woken.set()
        self._tell_refused("")

    async def failed(
        self, items: Sequence[Item], records: Sequence[Stored], error: DeliveryError
    ) -> None:
        """Keeps what one try did not deliver; from now on each of them goes alone."""
        refused = isinstance(error, Permanent | TooLarge)
        if refused and len(items) > 1:  # whose fault it was shows when each goes alone
            await self._shelf.keep(records, str(error), 0.0)
            for item in items:
                self.wait(item, 0.0)
            return
        for item in items:
            item.failures += 1
            self._judge(item, refused=refused)
        pause = alarm_pause(error, max(item.failures for item in items))
        await self._shelf.keep(records, str(error), pause)
        for item in items:
            self.wait(item, pause, refused=refused)
        self._tell_refused(str(error))
        if self._at_fault is not None and not isinstance(error, Retryable):
            await self._at_fault(items, str(error))

    def hurry(self) -> None:
        """The sink is back: what waits for it is due at once."""
        now = self._clock.monotonic()
        if now >= self._hurried + HURRY_EVERY_S:
            self._hurried = now
            self.timetable.hurry(now)
            self._woken.set()

    async def _next(self) -> Item:
        while True:
            now = self._clock.monotonic()
            if (item := self.timetable.take(now)) is not None:
                return item
            due = self.timetable.next_due()
            if due is None:
                await self._woken.wait()
                self._woken.clear()
            else:
                await sleep_or_woken(self._clock, due - now, self._woken)

    async def _try(self, item: Item) -> None:
        async with self._gate:
            fine = await self._deliver(item)
        if not fine:
            await self._clock.sleep(REST_S)

    async def _deliver(self, item: Item) -> bool:
        """One try of one item; whether nothing was wrong with it."""
        try:
            stored = await self._shelf.fetch(item.sequence)
            if stored is None:
                self.done([item])
                return True
            if not item.accepted:
                error = await self._outlet.attempt([stored])
                if error is not None:
                    await self.failed([item], [stored], error)
                    return False
                item.accepted = True
            await self._shelf.delivered([item.sequence])
        except JournalError as error:
            log.debug("alarm held up: sink=%s error=%s", self._outlet.sink, error)
            self.wait(item, JOURNAL_AGAIN_S)
            return False
        self.done([item])
        return True

    def _judge(self, item: Item, *, refused: bool) -> None:
        """Decides whether the sink fails on this very record."""
        if item.failures > 1 and self._outlet.accepted > item.others_accepted:
            item.strikes += 1
        item.others_accepted = self._outlet.accepted
        if refused or item.strikes >= STRIKES:
            self.timetable.poison(item)

    def _tell_refused(self, detail: str) -> None:
        """Says so when the first alarm is refused and when none is any longer."""
        refusing = self.timetable.refused > 0
        if refusing is not self._refusing or not self.timetable:
            self._refusing = refusing
            self._outlet.refusing(self._name, active=refusing, detail=detail)
