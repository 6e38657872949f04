"""One session's road into the gateway, from the broker to the acknowledgement.

There are two of them, which share nothing but what they know of the devices: neither queue, nor
task, nor connection. So the road of the panic devices stays free whatever happens on the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

from adapters.mqtt.backlog import Backlog
from adapters.mqtt.message import Message, acknowledge
from adapters.mqtt.reader import Reader
from adapters.mqtt.session import Session
from adapters.mqtt.standing import Standing
from adapters.mqtt.twins import Twins
from adapters.mqtt.urgent import Urgent, urgent
from gateway.model import Observation
from gateway.ports import Clock, Emit, Metrics

MESSAGES_A_TURN = 100
"""Messages read before others of the loop have their turn: about 1 ms."""
SWEEP_S = 1.0


class Road:
    """A session, its reader, and the two ways behind them: `urgent` and the `backlog`."""

    def __init__(
        self,
        *,
        session: Session,
        reader: Reader,
        standing: Standing,
        twins: Twins,
        keep: Callable[[], Awaitable[None]],
        panic: bool,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """`keep` makes durable what `standing` learnt. `panic`: whether this is the road of the
        panic devices. The other one waits for the journal when it is catching up, and looks after
        copies of what comes here."""
        self.session = session
        self.reader = reader
        self._acknowledge = twins.done if panic else acknowledge
        self.backlog = Backlog(clock, metrics, self._acknowledge)
        self._standing = standing
        self._twins = twins
        self._keep = keep
        self._panic = panic
        self._clock = clock

    async def run(self, emit: Emit, name: str) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            presses = Urgent(emit, tasks, self._standing, self._keep, self._acknowledge)
            tasks.create_task(self.session.run(), name=f"{name} session")
            tasks.create_task(self.backlog.run(emit), name=f"{name} backlog")
            tasks.create_task(self._sweep(presses), name=f"{name} sweep")
            tasks.create_task(self._listen(presses), name=f"{name} listener")

    async def _listen(self, presses: Urgent) -> NoReturn:
        while True:
            await presses.room()
            if not self._panic:
                await self.backlog.room(MESSAGES_A_TURN)
            for message in await self.session.inbox.take(MESSAGES_A_TURN):
                observations = self.reader.read(message)
                if observations is not None:
                    self._take(message, observations, presses)
                elif self._panic:
                    acknowledge((message,))
                else:
                    self._twins.wait(message)
            await asyncio.sleep(0)

    async def _sweep(self, presses: Urgent) -> NoReturn:
        while True:
            await self._clock.sleep(SWEEP_S)
            self.backlog.expire()
            if not self._panic:
                for copy in self._twins.orphans():
                    observations = self.reader.read(copy, in_its_place=True)
                    self._take(copy, observations or (), presses)

    def _take(self, message: Message, observations: Sequence[Observation], presses: Urgent) -> None:
        pressing = [one for one in observations if urgent(one)]
        if pressing:
            presses.take(message, pressing)
            rest = [one for one in observations if not urgent(one)]
            if rest:
                self.backlog.put(rest, None)
        elif observations:
            self.backlog.put(observations, message)
        else:
            self._acknowledge((message,))
