"""What becomes of a press: the contract's rules, case by case. Pure: no clock, no journal.

In doubt it counts. A press is a repeat only on proof, and identical bytes are no proof: many
buttons send the same bytes each time. A wrong repeat costs a count, a wrong silence costs a child.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from gateway.model import Event, EventType, Finding, FindingCause, Severity, Wire

REPEAT_WITHIN = timedelta(hours=24)
"""The same id with the same time is a repeat this long: the longest that a button buffers."""
OLD_NEWS_AFTER = timedelta(minutes=5)
"""A retained press is news for so long: a gateway may be restarted while a button is pressed."""
FUTURE_TOLERANCE = timedelta(seconds=60)
"""What a clock may run ahead and still be believed."""
FIRST_PLAUSIBLE = datetime(2020, 1, 1, tzinfo=UTC)
"""Before any of these devices was installed: a clock that lost its battery says 1970 or 2000."""
LONGEST_TEST = timedelta(minutes=60)

IDS_PER_DEVICE = 4_096
WIRES_PER_SESSION = 65_535
"""As many as there are packet identifiers (MQTT 5, section 2.2.1)."""
SESSIONS_KEPT = 4
"""Present and past lives of two sessions on the broker."""


class NewPress(Struct, frozen=True, kw_only=True):
    """A press, or the press of a test: to be committed under `event.record_id`.

    `base` and `generation` made the id: should the journal know that id for another press, the next
    generation is taken (`PressLedger.again`).
    """

    event: Event
    base: tuple[str, ...]
    generation: int
    finding: Finding | None = None
    """What a technician is told besides."""


class Repeat(Struct, frozen=True, kw_only=True):
    """Proven to be the press that has this record id."""

    record_id: str


class OldNews(Struct, frozen=True, kw_only=True):
    """A retained press of the past: logged, nothing else."""

    why: str


class Unclear(Struct, frozen=True, kw_only=True):
    """A retained press without id and time: a technician's item."""

    finding: Finding


Verdict = NewPress | Repeat | OldNews | Unclear


class _Known(Struct, frozen=True, kw_only=True):
    occurred_at: datetime | None
    received_at: datetime
    record_id: str


def believed(event: Event) -> datetime | None:
    """The device's time where it is plausible: after 2020 and not in the future."""
    claimed = event.occurred_at
    if claimed is None or not FIRST_PLAUSIBLE <= claimed <= event.received_at + FUTURE_TOLERANCE:
        return None
    return claimed


def hashed(*parts: str) -> str:
    """A record id: 32 hexadecimal digits over the parts."""
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


class _Packet(Struct, frozen=True, kw_only=True):
    digest: str
    record_id: str
    received_at: datetime


class WireLedger:
    """Which committed record each packet identifier of a session on the broker stood for last.

    One message may tell several things: `what` is the type of this one.
    """

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, OrderedDict[tuple[int, str], _Packet]] = OrderedDict()

    def redelivered(self, wire: Wire, what: str) -> str | None:
        """The record id of which this message is the redelivery: DUP is set, and packet id and
        bytes are those of a committed record of the same session. None: no proof."""
        if not wire.dup:
            return None
        packets = self._sessions.get(wire.session)
        packet = None if packets is None else packets.get((wire.packet_id, what))
        if packet is None:
            return None
        return packet.record_id if packet.digest == wire.digest else None

    def learn(self, wire: Wire, what: str, record_id: str, received_at: datetime) -> None:
        """This packet identifier stands for `record_id` now; what it stood for before is over.
        At start the lanes are read one after the other: the later message counts."""
        packets = self._sessions.setdefault(wire.session, OrderedDict())
        self._sessions.move_to_end(wire.session)
        while len(self._sessions) > SESSIONS_KEPT:
            self._sessions.popitem(last=False)
        place = (wire.packet_id, what)
        before = packets.get(place)
        if before is not None and before.received_at > received_at:
            return
        packets[place] = _Packet(digest=wire.digest, record_id=record_id, received_at=received_at)
        packets.move_to_end(place)
        while len(packets) > WIRES_PER_SESSION:
            packets.popitem(last=False)


class PressLedger:
    """Remembers the presses of the last 24 hours, and judges the next one by them."""

    def __init__(self, wires: WireLedger) -> None:
        self._wires = wires
        self._ids: dict[str, OrderedDict[str, deque[_Known]]] = {}
        self._generations: OrderedDict[tuple[str, ...], int] = OrderedDict()
        self._tests: dict[str, tuple[datetime, datetime]] = {}

    # --- test mode --------------------------------------------------------------------------------

    def start_test(self, device_id: str, *, start: datetime, end: datetime) -> None:
        """The first press of the button in this time is the test."""
        self._tests[device_id] = (start, min(end, start + LONGEST_TEST))

    def end_test(self, device_id: str) -> None:
        self._tests.pop(device_id, None)

    def in_test(self, now: datetime) -> Mapping[str, datetime]:
        """The buttons whose next press is a test, and until when."""
        return {device: end for device, (_, end) in self._tests.items() if end > now}

    # --- judging ----------------------------------------------------------------------------------

    def judge(self, event: Event) -> Verdict:
        """What becomes of a `panic.pressed` as an adapter emitted it (site and kind stamped).

        A NewPress is remembered at once, so that a second delivery while the first is being
        committed is a repeat; the caller has to see to it that it is committed.
        """
        known = self._known(event)
        if known is not None:
            return Repeat(record_id=known)
        finding: Finding | None = None
        late = False
        if event.wire is not None and event.wire.retained:
            verdict = self._judge_retained(event)
            if isinstance(verdict, OldNews):
                return verdict
            if isinstance(verdict, Unclear):
                if not event.wire.session_lost:
                    return verdict
                finding = verdict.finding
            # Nobody can tell when it was pressed: it counts, and the operator is told.
            late = believed(event) is None
        return self._new(event, late=late, finding=finding)

    def again(self, press: NewPress) -> NewPress:
        """The same press under the next id of its base."""
        generation = press.generation + 1
        event = replace(press.event, record_id=hashed(*press.base, str(generation)))
        self._remember(event, press.base, generation)
        return replace(press, event=event, generation=generation)

    def learn(self, event: Event) -> None:
        """A committed press or test, read back from the journal at start; in their order."""
        base = _base(event)
        # The count of a base is what its next generation is; collisions are found at commit.
        self._remember(event, base, self._generations.get(base, -1) + 1)
        if event.type is EventType.PANIC_TEST:
            start, _ = self._tests.get(event.device_id, (event.received_at, None))
            if start <= event.received_at:
                self.end_test(event.device_id)

    def _known(self, event: Event) -> str | None:
        if event.wire is not None and not event.wire.retained:
            record_id = self._wires.redelivered(event.wire, EventType.PANIC_PRESSED)
            if record_id is not None:
                return record_id
        if event.native_id is None or event.occurred_at is None:
            return None
        for known in self._ids_of(event):
            same = known.occurred_at == event.occurred_at
            if same and abs(event.received_at - known.received_at) < REPEAT_WITHIN:
                return known.record_id
        return None

    def _judge_retained(self, event: Event) -> OldNews | Unclear | None:
        """None: it counts."""
        if event.native_id is not None and self._ids_of(event):
            return OldNews(why="its id is known")
        pressed_at = believed(event)
        if pressed_at is not None:
            age = event.received_at - pressed_at
            return OldNews(why=f"{age} old") if age > OLD_NEWS_AFTER else None
        if event.native_id is not None:
            return None
        return Unclear(
            finding=Finding(
                device_id=event.device_id,
                site_id=event.site_id,
                cause=FindingCause.RETAINED,
                received_at=event.received_at,
                topic="",
                excerpt="",
                detail="a retained press without id and time: publish presses without retain",
                wire=event.wire,
            )
        )

    def _new(self, event: Event, *, late: bool, finding: Finding | None) -> NewPress:
        marks: dict[str, Any] = {}
        if event.native_id is not None and self._ids_of(event):
            marks["id_reused"] = True
        pressed_at = believed(event)
        if pressed_at is not None:
            late = event.received_at - pressed_at > OLD_NEWS_AFTER
        elif late or event.occurred_at is not None or "device_time" in event.attributes:
            marks["clock_suspect"] = True
        if late:
            marks["late"] = True
        base = _base(event)
        generation = self._generations.get(base, -1) + 1
        test = not late and self._takes_test(event)
        judged = replace(
            event,
            record_id=hashed(*base, str(generation)),
            type=EventType.PANIC_TEST if test else EventType.PANIC_PRESSED,
            severity=Severity.INFO if test else Severity.CRITICAL,
            exercise=test,
            attributes={**event.attributes, **marks} if marks else event.attributes,
        )
        self._remember(judged, base, generation)
        return NewPress(event=judged, base=base, generation=generation, finding=finding)

    def _takes_test(self, event: Event) -> bool:
        """Whether the press is the test that was announced; a test is taken once."""
        window = self._tests.get(event.device_id)
        if window is None or not window[0] <= event.received_at <= window[1]:
            return False
        pressed_at = believed(event)
        if pressed_at is not None and pressed_at < window[0] - FUTURE_TOLERANCE:
            return False  # pressed before the test began: real
        self.end_test(event.device_id)
        return True

    # --- memory -----------------------------------------------------------------------------------

    def _ids_of(self, event: Event) -> deque[_Known]:
        """What is known of the event's own id, of the last 24 hours."""
        ids = self._ids.get(event.device_id)
        found = ids.get(event.native_id or "") if ids is not None else None
        if found is None:
            return deque()
        while found and event.received_at - found[0].received_at >= REPEAT_WITHIN:
            found.popleft()
        return found

    def _remember(self, event: Event, base: tuple[str, ...], generation: int) -> None:
        self._generations[base] = generation
        self._generations.move_to_end(base)
        while len(self._generations) > WIRES_PER_SESSION:
            self._generations.popitem(last=False)
        if event.wire is not None and not event.wire.retained:
            self._wires.learn(
                event.wire, EventType.PANIC_PRESSED, event.record_id, event.received_at
            )
        if event.native_id is None:
            return
        ids = self._ids.setdefault(event.device_id, OrderedDict())
        known = ids.setdefault(event.native_id, deque(maxlen=16))
        ids.move_to_end(event.native_id)
        known.append(
            _Known(
                occurred_at=event.occurred_at,
                received_at=event.received_at,
                record_id=event.record_id,
            )
        )
        while len(ids) > IDS_PER_DEVICE:
            ids.popitem(last=False)


def _base(event: Event) -> tuple[str, ...]:
    """What makes the press this one, as far as the message itself tells: so the id is the same
    whether it goes out from memory, is committed, or comes again after a crash."""
    if event.native_id is not None and event.occurred_at is not None:
        return ("press", event.device_id, event.native_id, event.occurred_at.isoformat())
    if event.wire is not None and event.wire.packet_id:
        wire = event.wire
        return ("press", event.device_id, wire.session, str(wire.packet_id), wire.digest)
    return ("press", event.device_id, event.native_id or "", event.received_at.isoformat())
