"""One session's road into the gateway, from the broker to the acknowledgement.

There are two of them, which share nothing but what they know of the devices: neither queue, nor
task, nor connection. So the road of the panic devices stays free whatever happens on the other.
"""

from __future__ import annotations

import asyncio
from typing import NoReturn

from adapters.mqtt.backlog import Backlog
from adapters.mqtt.message import acknowledge
from adapters.mqtt.reader import Reader
from adapters.mqtt.session import Session
from adapters.mqtt.standing import Standing
from adapters.mqtt.urgent import Urgent, urgent
from gateway.ports import Clock, Emit, Metrics

MESSAGES_A_TURN = 100
"""Messages read before others of the loop have their turn: about 1 ms."""
SWEEP_S = 1.0


class Road:
    """A session, its reader, and the two ways behind them: `urgent` and the `backlog`."""

    def __init__(
        self, session: Session, reader: Reader, standing: Standing, clock: Clock, metrics: Metrics
    ) -> None:
        self.session = session
        self.reader = reader
        self.backlog = Backlog(clock, metrics)
        self._standing = standing
        self._clock = clock

    async def run(self, emit: Emit, name: str) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.session.run(), name=f"{name} session")
            tasks.create_task(self.backlog.run(emit), name=f"{name} backlog")
            tasks.create_task(self._expire(), name=f"{name} expiry")
            tasks.create_task(
                self._listen(Urgent(emit, tasks, self._standing)), name=f"{name} listener"
            )

    async def _listen(self, presses: Urgent) -> NoReturn:
        while True:
            await presses.room()
            for message in await self.session.inbox.take(MESSAGES_A_TURN):
                observations = self.reader.read(message)
                pressing = [one for one in observations if urgent(one)]
                if pressing:
                    presses.take(message, pressing)
                    rest = [one for one in observations if not urgent(one)]
                    if rest:
                        self.backlog.put(rest, None)
                elif observations:
                    self.backlog.put(observations, message)
                else:
                    acknowledge((message,))
            await asyncio.sleep(0)

    async def _expire(self) -> NoReturn:
        while True:
            await self._clock.sleep(SWEEP_S)
            self.backlog.expire()
