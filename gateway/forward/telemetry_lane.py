"""The telemetry lane: batch after batch, in order; what the sink refuses for good is set apart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from gateway.errors import DeliveryError, JournalError, Permanent, TooLarge
from gateway.forward.gate import Gate
from gateway.forward.outlet import Outlet
from gateway.forward.pace import telemetry_pause
from gateway.forward.selection import Kind, kind_of
from gateway.model import Stored
from gateway.ports import Clock, Consumer

log = logging.getLogger(__name__)

GATHER_S = 0.05
"""Pause after a batch that was not full. At 6,000 records a second each request then carries some
300 of them instead of the ten or twenty that come during one round trip; nobody waits for these."""

QUARANTINE_LOOK_S = 5.0
"""How often to look for quarantined records that a person wants tried again."""

JOURNAL_AGAIN_S = 1.0
"""Pause after the journal failed to give or to take something."""

TELL_QUARANTINE_S = 60.0
"""At most one log line a minute: a receiver with a mistaken schema refuses everything."""


class TelemetryLane:
    """Delivers one consumer's records to one outlet.

    A batch that fails is tried until it is accepted; only then comes the next. A batch that is
    refused or too large is halved until its parts are accepted or the culprit is alone: that one
    goes to quarantine (set aside without a time), and the cursor moves on.
    """

    def __init__(
        self,
        *,
        consumer: Consumer,
        outlet: Outlet,
        forwarded: frozenset[Kind],
        max_batch: int,
        gate: Gate,
        clock: Clock,
    ) -> None:
        self._consumer = consumer
        self._outlet = outlet
        self._forwarded = forwarded
        self._max_batch = max_batch
        self._gate = gate
        self._clock = clock
        self._turn = asyncio.Lock()
        self._open: Sequence[Stored] = ()
        self._quarantined = 0
        self._quarantine_told = -TELL_QUARANTINE_S

    async def run(self) -> None:
        """Delivers for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                self._retry_quarantined(), name=f"{self._outlet.sink}: telemetry quarantine"
            )
            while True:
                if not self._open:  # else a life before this one has left it
                    self._open = await self._next()
                await self._forward(self._open)
                filled = len(self._open) >= self._max_batch
                self._open = ()
                if not filled:
                    await self._clock.sleep(GATHER_S)

    async def _next(self) -> Sequence[Stored]:
        failing = False
        while True:
            try:
                return await self._consumer.batch(self._max_batch)
            except JournalError as error:
                if not failing:
                    log.warning("telemetry not read: sink=%s error=%s", self._outlet.sink, error)
                failing = True
                await self._clock.sleep(JOURNAL_AGAIN_S)

    async def _forward(self, batch: Sequence[Stored]) -> None:
        """Returns when every record of the batch is delivered or in quarantine."""
        wanted = [s for s in batch if kind_of(s.record) in self._forwarded]
        if wanted:
            async with self._turn:
                await self._carry(wanted, self._settle)
        await self._consumer.settle(batch[-1].sequence)

    async def _settle(self, part: Sequence[Stored]) -> None:
        await self._consumer.settle(part[-1].sequence)

    async def _carry(
        self, records: Sequence[Stored], done: Callable[[Sequence[Stored]], Awaitable[None]]
    ) -> None:
        """Delivers in order; calls `done` for each part that was accepted."""
        parts = [records]
        failures = 0
        while parts:
            part = parts.pop()
            async with self._gate:
                error = await self._outlet.attempt(part)
                if error is None:
                    await done(part)
                    failures = 0
                    continue
            if not isinstance(error, Permanent | TooLarge):
                failures += 1
                parts.append(part)
                await self._clock.sleep(telemetry_pause(error, failures))
            elif len(part) > 1:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
            else:
                await self._quarantine(part[0], error)

    async def _quarantine(self, stored: Stored, error: DeliveryError) -> None:
        failing = False
        while True:
            try:
                await self._consumer.set_aside([stored], str(error), None)
                break
            except JournalError as failure:
                if not failing:
                    log.warning("not quarantined: sink=%s error=%s", self._outlet.sink, failure)
                failing = True
                await self._clock.sleep(JOURNAL_AGAIN_S)
        self._quarantined += 1
        now = self._clock.monotonic()
        if now >= self._quarantine_told + TELL_QUARANTINE_S:
            log.warning(
                "quarantined: sink=%s records=%d last=%s type=%s error=%s",
                self._outlet.sink,
                self._quarantined,
                stored.record.record_id,
                stored.record.type,
                error,
            )
            self._quarantine_told, self._quarantined = now, 0

    async def _retry_quarantined(self) -> None:
        """Takes up what a person gave a time again: `kuzet quarantine retry`."""
        while True:
            await self._clock.sleep(QUARANTINE_LOOK_S)
            try:
                due = await self._consumer.aside(due=self._clock.now(), limit=self._max_batch)
            except JournalError as error:
                log.debug("quarantine not read: sink=%s error=%s", self._outlet.sink, error)
                continue
            if due:
                async with self._turn:
                    await self._carry([aside.stored for aside in due], self._release)

    async def _release(self, part: Sequence[Stored]) -> None:
        try:
            await self._consumer.release([stored.sequence for stored in part])
        except JournalError as error:  # they go out again at the next look, with the same ids
            log.debug("quarantine not released: sink=%s error=%s", self._outlet.sink, error)
