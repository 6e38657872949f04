"""What the rooms promise one another. Each room knows these protocols, never another room.

A docstring here is a contract: what blocks, what order holds, what is dropped, what a stop does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from gateway.model import (
    Alarm,
    Command,
    Condition,
    DeviceKind,
    Inventory,
    Lane,
    Observation,
    Reason,
    Record,
    State,
    Stored,
)

# --- time ----------------------------------------------------------------------------------------


class Clock(Protocol):
    """Time, handed in everywhere, so that a test can simulate it."""

    def now(self) -> datetime:
        """The wall clock, aware UTC: for stamps, never for durations (it may jump)."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow: for durations and deadlines."""
        ...

    async def sleep(self, seconds: float) -> None: ...


# --- adapters ------------------------------------------------------------------------------------


class Emit(Protocol):
    """Takes observations into the gateway.

    Returns once every event among them is committed to the journal: this is the back-pressure, and
    what an adapter waits for before it acknowledges to its source. Never drops. Raises JournalError
    when telemetry could not be committed (none of the call's records is durable then, and the
    caller may drop and count them); a call that holds events of the alarm lane does not raise: it
    returns when they are committed, however long that takes. Safe to call concurrently.
    """

    def __call__(self, observations: Sequence[Observation], /) -> Awaitable[None]: ...


class InventoryChange(Struct, frozen=True, kw_only=True):
    """What a reload changed: ids by what became of them. Unchanged devices are in none of them."""

    added: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    """Devices whose own row, credentials or site row differ."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


class Adapter(Protocol):
    """Speaks with one family of devices."""

    async def run(self, emit: Emit) -> None:
        """Runs until cancelled. Raises AdapterError when it cannot go on; never retries itself
        from the start: the supervisor does. On cancellation it leaves the wire tidy (unsubscribes,
        disconnects) within 3 s and returns every resource."""
        ...

    async def apply(self, inventory: Inventory, change: InventoryChange) -> None:
        """Takes over a changed inventory while running: only devices named in `change` are
        touched. May be called while `run` is between two lives; the next one then starts with
        `inventory`."""
        ...

    def ready(self) -> bool:
        """Whether `run` is past its start. An absent broker makes no adapter unready."""
        ...


# --- the journal ---------------------------------------------------------------------------------


class Backlog(Struct, frozen=True, kw_only=True):
    """What a consumer has still before it: how many records, and when the oldest was recorded."""

    records: int
    oldest: datetime | None


class Aside(Struct, frozen=True, kw_only=True):
    """A record that a consumer set aside: why, how often it was tried, and when to try again.

    `retry_at` None means that only a person brings it back (quarantine).
    """

    stored: Stored
    reason: str
    attempts: int
    since: datetime
    retry_at: datetime | None


class Consumer(Protocol):
    """One reader of one lane, with a durable cursor of its own.

    Records come in the order of their sequence. Delivery is at least once: after a crash a record
    may come again, with the same id.
    """

    @property
    def name(self) -> str: ...

    @property
    def lane(self) -> Lane: ...

    async def batch(self, limit: int) -> Sequence[Stored]:
        """Waits for at least one record behind those already handed out; at most `limit`."""
        ...

    async def settle(self, sequence: int) -> None:
        """All records up to `sequence` are done. The cursor becomes durable soon, not at once
        (losing the last moves costs repeats, never losses)."""
        ...

    async def set_aside(
        self, records: Sequence[Stored], reason: str, retry_at: datetime | None
    ) -> None:
        """Keeps records durably beside the cursor, which may then move on past them. Retention
        spares them. Durable on return. A record already aside gets `reason` and `retry_at` anew and
        its `attempts` counted up."""
        ...

    async def aside(
        self, *, due: datetime | None = None, after: int = 0, limit: int = 1000
    ) -> Sequence[Aside]:
        """Records set aside, by sequence, from behind `after`; only those with `retry_at` ≤ `due`
        where it is given. So they can be read page by page, or one alone."""
        ...

    async def release(self, sequences: Sequence[int]) -> None:
        """These records are no longer aside: delivered, or dropped by a person."""
        ...

    def backlog(self) -> Backlog:
        """Unsettled records of the lane and those aside with a `retry_at`; never blocks."""
        ...


class Journal(Protocol):
    """The durable, ordered memory of the gateway; the one source of truth.

    Two lanes, independent down to their files: trouble of one never delays the other.
    """

    async def append(self, records: Sequence[Record]) -> Sequence[bool]:
        """Commits records of one lane; durable on return, in the order given and of the calls.

        Idempotent by `record_id`: the result says for each record whether it is new; of a known one
        the first form stays. Concurrent calls share one sync. Raises JournalFull or JournalError:
        then none of them is durable.
        """
        ...

    def consumer(self, name: str, lane: Lane, *, from_start: bool = True) -> Consumer:
        """The consumer of that name and lane; a new one begins at the first record kept, or with
        `from_start` false behind the last. One instance a name and lane at a time."""
        ...

    def latest(self, family: str) -> AsyncIterator[Stored]:
        """The last record of every `key` among records whose `type` is `family` or begins with
        `family` and a dot; by sequence. For rebuilding a state at start."""
        ...

    def read(
        self, lane: Lane, *, after: int = 0, since: datetime | None = None
    ) -> AsyncIterator[Stored]:
        """Records of a lane by sequence, from behind `after`, recorded at `since` or later."""
        ...

    async def get(self, lane: Lane, record_id: str) -> Stored | None: ...

    def writable(self) -> bool:
        """Whether the last attempt to commit to the alarm lane succeeded."""
        ...

    def size_bytes(self) -> int: ...


# --- sinks ---------------------------------------------------------------------------------------


class Sink(Protocol):
    """One receiver outside. Knows its protocol, nothing of cursors and retries."""

    @property
    def name(self) -> str: ...

    async def deliver(self, lane: Lane, records: Sequence[Stored]) -> None:
        """Returns when the receiver accepted all. Raises Retryable, EndpointFault, TooLarge or
        Permanent; then nothing of the batch counts as accepted. Never retries, never waits longer
        than its own limits (alarm lane 5 s, telemetry 30 s)."""
        ...

    async def heartbeat(self, backlog: Mapping[Lane, Backlog]) -> None:
        """Tells the receiver that the gateway lives. Raises as `deliver` does."""
        ...

    async def close(self) -> None: ...


# --- what the console asks -----------------------------------------------------------------------


class DeviceHealth(Struct, frozen=True, kw_only=True):
    """The current health of a device as the API shows it."""

    device_id: str
    site_id: str
    kind: DeviceKind
    name: str
    state: State
    reason: Reason | None
    since: datetime | None
    last_seen: datetime | None
    details: Mapping[str, object] = {}


class FleetView(Protocol):
    """Current health of every device of the inventory; never blocks."""

    def devices(self) -> Sequence[DeviceHealth]:
        """Every device, by id."""
        ...

    def device(self, device_id: str) -> DeviceHealth:
        """Raises NotFound."""
        ...

    def watch(self, changed: Callable[[DeviceHealth], None]) -> Callable[[], None]:
        """Calls `changed` on each change of state; returns what ends that."""
        ...


class AlarmDesk(Protocol):
    """The alarms and what an operator does to them."""

    def alarms(self) -> Sequence[Alarm]:
        """Every alarm that is not closed, and the last closed ones; newest first."""
        ...

    def alarm(self, alarm_id: str) -> Alarm:
        """Raises NotFound."""
        ...

    async def execute(self, command: Command) -> Alarm:
        """Commits the command, applies it and returns the alarm after it. Raises NotFound, or
        CommandRefused when the alarm's state does not allow it."""
        ...

    def watch(self, changed: Callable[[Alarm], None]) -> Callable[[], None]:
        """Calls `changed` after each transition; returns what ends that."""
        ...


# --- telling about the gateway itself ------------------------------------------------------------


class Conditions(Protocol):
    """Tells a trouble of the gateway itself: it becomes (or ends) a local alarm."""

    async def tell(
        self, condition: Condition, subject: str, *, active: bool, detail: str = ""
    ) -> None:
        """Repeating the present state of a condition and subject does nothing."""
        ...


class Metrics(Protocol):
    """What is counted while working; `gateway/metrics.py` names each series. Never blocks."""

    def appended(self, lane: Lane, count: int) -> None: ...

    def dropped(self, lane: Lane, reason: str, count: int = 1) -> None: ...

    def error(self, stage: str, reason: str) -> None: ...

    def check_took(self, kind: DeviceKind, seconds: float) -> None: ...

    def broker_connected(self, broker: str, connected: bool) -> None: ...

    def delivered(self, sink: str, lane: Lane, outcome: str, count: int) -> None: ...

    def press_delivered(self, seconds: float) -> None: ...

    def alarm_raised(self, alarm: Alarm) -> None: ...
