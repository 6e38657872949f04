"""One sink's deliveries as a whole: two lanes, the memory road and the heartbeat."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from msgspec import Struct

from gateway.forward.alarm_lane import AlarmLane, Fallback
from gateway.forward.express import Express
from gateway.forward.gate import Gate
from gateway.forward.heartbeat import heartbeat
from gateway.forward.outlet import LaneHealth, Outlet
from gateway.forward.selection import Kind
from gateway.forward.telemetry_lane import TelemetryLane
from gateway.forward.troubles import Troubles
from gateway.model import Lane, Record
from gateway.ports import Backlog, Clock, Conditions, Consumer, Metrics, Sink

STOP_GRACE_S = 3.0
"""How long a stop waits for deliveries under way: most answers come in milliseconds, and the whole
gateway has 10 s to stop."""


class ForwardSettings(Struct, frozen=True, kw_only=True):
    """What one sink is told: the kinds of records, and telemetry records a request (1 or more)."""

    forward: frozenset[Kind] = frozenset(Kind)
    max_batch: int = 500


class Forwarder:
    """Delivers to one sink what it is to be told, until cancelled.

    `alarms` and `telemetry` are the sink's own consumers of the two lanes. A record that the sink
    is not told is settled unseen. One instance a sink; `run` may be called again after it failed.
    """

    def __init__(
        self,
        *,
        sink: Sink,
        alarms: Consumer,
        telemetry: Consumer,
        settings: ForwardSettings,
        fallback: Fallback | None,
        clock: Clock,
        metrics: Metrics,
        conditions: Conditions,
    ) -> None:
        self._sink = sink
        self._consumers = {Lane.ALARM: alarms, Lane.TELEMETRY: telemetry}
        self._clock = clock
        self._gate = Gate()
        self._troubles = Troubles(conditions, clock)
        self._outlets = {
            lane: Outlet(
                sink=sink,
                lane=lane,
                forwarded=settings.forward,
                clock=clock,
                metrics=metrics,
                troubles=self._troubles,
            )
            for lane in Lane
        }
        self._express = Express(
            outlet=self._outlets[Lane.ALARM],
            forwarded=settings.forward,
            gate=self._gate,
            clock=clock,
        )
        self._alarms = AlarmLane(
            consumer=alarms,
            outlet=self._outlets[Lane.ALARM],
            forwarded=settings.forward,
            express=self._express,
            fallback=fallback,
            gate=self._gate,
            clock=clock,
        )
        self._telemetry = TelemetryLane(
            consumer=telemetry,
            outlet=self._outlets[Lane.TELEMETRY],
            forwarded=settings.forward,
            max_batch=settings.max_batch,
            gate=self._gate,
            clock=clock,
        )
        self._outlets[Lane.ALARM].when_recovered(self._hurry)

    @property
    def name(self) -> str:
        return self._sink.name

    def express(self, records: Sequence[Record]) -> None:
        """Delivers alarm-lane records from memory: those that could not be committed within 1 s.

        Never blocks. They keep their ids, so that a receiver recognises them when the journal's
        road brings them again. Offering a record once more does nothing.
        """
        self._express.accept(records)

    def health(self) -> Mapping[Lane, LaneHealth]:
        """How both lanes fare; never blocks."""
        return {lane: outlet.health for lane, outlet in self._outlets.items()}

    def backlogs(self) -> Mapping[Lane, Backlog]:
        """What the sink has still to accept; never blocks."""
        return {lane: consumer.backlog() for lane, consumer in self._consumers.items()}

    async def run(self) -> None:
        """Runs until cancelled; then lets deliveries under way end, 3 s at most, and closes the
        sink."""
        self._gate.open()
        try:
            async with asyncio.TaskGroup() as tasks:
                for what, running in (
                    ("alarm lane", self._alarms.run()),
                    ("memory road", self._express.run()),
                    ("telemetry lane", self._telemetry.run()),
                    ("heartbeat", heartbeat(self._outlets[Lane.ALARM], self.backlogs, self._clock)),
                    ("troubles", self._troubles.run()),
                ):
                    tasks.create_task(running, name=f"{self.name}: {what}")
                try:
                    await asyncio.get_running_loop().create_future()  # until the stop
                finally:
                    await self._gate.close(STOP_GRACE_S)
        finally:
            await self._sink.close()

    def _hurry(self) -> None:
        self._alarms.hurry()
        self._express.hurry()
