"""The one place where a sink is called: each try is counted, and the lane's state kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum

from msgspec import Struct, structs

from gateway.errors import DeliveryError, EndpointFault, Permanent, Retryable, TooLarge
from gateway.forward.selection import Kind, tells_press
from gateway.forward.troubles import Troubles
from gateway.model import AlarmTransition, Event, Lane, Record, Stored
from gateway.ports import Backlog, Clock, Metrics, Sink

log = logging.getLogger(__name__)


class LaneState(StrEnum):
    """How a lane of a sink fares."""

    OK = "ok"
    RETRYING = "retrying"
    PAUSED = "paused"
    """Telemetry only: the endpoint is at fault and is asked once a minute."""


class LaneHealth(Struct, frozen=True, kw_only=True):
    """The state of a lane, since when it holds, and what the sink said last where it is not ok."""

    state: LaneState
    since: datetime
    error: str = ""


OUTCOMES: Mapping[type[DeliveryError], str] = {
    Retryable: "retryable",
    EndpointFault: "endpoint_fault",
    TooLarge: "too_large",
    Permanent: "refused",
}
"""The `outcome` label of each error; `accepted` is the fifth."""

LOG_EVERY_S = 60.0
"""A failure is logged at most this often: a lane may fail and recover with every second answer."""

_DELIVERY, _HEARTBEAT = "delivery", "heartbeat"


class Outlet:
    """One lane of one sink, as the lane's loops see it.

    A refusal says nothing against the lane: the endpoint answers. Only a success mends it.
    """

    def __init__(
        self,
        *,
        sink: Sink,
        lane: Lane,
        forwarded: frozenset[Kind],
        clock: Clock,
        metrics: Metrics,
        troubles: Troubles,
    ) -> None:
        self._sink = sink
        self._lane = lane
        self._forwarded = forwarded
        self._clock = clock
        self._metrics = metrics
        self._troubles = troubles
        self._health = LaneHealth(state=LaneState.OK, since=clock.now())
        self._accepted = 0
        self._errors: dict[str, DeliveryError] = {}
        self._recovered: Callable[[], None] | None = None
        self._failure_logged = False
        self._log_failure_from = clock.monotonic()

    @property
    def sink(self) -> str:
        return self._sink.name

    @property
    def health(self) -> LaneHealth:
        return self._health

    @property
    def accepted(self) -> int:
        """How many deliveries the sink has accepted."""
        return self._accepted

    def when_recovered(self, call: Callable[[], None]) -> None:
        """Calls `call` at each first delivery that succeeds after one that failed."""
        self._recovered = call

    async def attempt(self, records: Sequence[Stored]) -> DeliveryError | None:
        """Tries once to deliver; returns what went wrong, None when all were accepted."""
        try:
            await self._sink.deliver(self._lane, records)
        except DeliveryError as error:
            self._metrics.delivered(
                self._sink.name, self._lane, OUTCOMES[type(error)], len(records)
            )
            self._failed(_DELIVERY, error)
            return error
        self._metrics.delivered(self._sink.name, self._lane, "accepted", len(records))
        for stored in records:
            if tells_press(stored.record, self._forwarded):
                self._metrics.press_delivered(self._since_press(stored.record))
        self._accepted += 1
        recovered = _DELIVERY in self._errors
        self._succeeded(_DELIVERY, _HEARTBEAT)
        if recovered and self._recovered is not None:
            self._recovered()
        return None

    async def heartbeat(self, backlog: Mapping[Lane, Backlog]) -> None:
        """Tries once to tell that the gateway lives. A failure shows while no alarm is there to
        show it; a success mends only what a heartbeat has shown."""
        try:
            await self._sink.heartbeat(backlog)
        except DeliveryError as error:
            self._failed(_HEARTBEAT, error)
        else:
            self._succeeded(_HEARTBEAT)

    def refusing(self, what: str, *, active: bool, detail: str) -> None:
        """Notes that the sink refuses records of `what` for good, or no longer does."""
        subject = f"{self._sink.name}/refused"
        self._troubles.report(subject, what, active=active, detail=detail)
        if active:
            log.warning("refused: sink=%s what=%s error=%s", self._sink.name, what, detail)

    def _failed(self, what: str, error: DeliveryError) -> None:
        if isinstance(error, EndpointFault):
            cause = f"{self._lane} {what}"
            self._troubles.report(self._sink.name, cause, active=True, detail=str(error))
        elif what is _DELIVERY and not isinstance(error, Retryable):
            return
        self._errors[what] = error
        self._note()

    def _succeeded(self, *whats: str) -> None:
        for what in whats:
            self._troubles.report(self._sink.name, f"{self._lane} {what}", active=False)
            self._errors.pop(what, None)
        self._note()

    def _note(self) -> None:
        """Keeps `health` as the errors are, and logs when it changes."""
        errors = self._errors.values()
        error = "; ".join(dict.fromkeys(str(error) for error in errors))
        state = LaneState.RETRYING if errors else LaneState.OK
        if self._lane is Lane.TELEMETRY and any(isinstance(e, EndpointFault) for e in errors):
            state = LaneState.PAUSED
        if state is self._health.state:
            if error != self._health.error:
                self._health = structs.replace(self._health, error=error)
            return
        self._health = LaneHealth(state=state, since=self._clock.now(), error=error)
        where = f"sink={self._sink.name} lane={self._lane}"
        if state is LaneState.OK:
            if self._failure_logged:
                log.info("deliveries succeed again: %s", where)
            self._failure_logged = False
        elif self._clock.monotonic() >= self._log_failure_from:
            log.warning("deliveries fail: %s state=%s error=%s", where, state, error)
            self._failure_logged = True
            self._log_failure_from = self._clock.monotonic() + LOG_EVERY_S

    def _since_press(self, record: Record) -> float:
        """Seconds since the gateway received the press. Never negative: the wall clock may jump."""
        match record.body:
            case Event(received_at=at):
                pass
            case AlarmTransition(alarm=alarm):
                at = alarm.updated_at
            case _:
                at = record.recorded_at
        return max((self._clock.now() - at).total_seconds(), 0.0)
