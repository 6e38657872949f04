"""The alarms of the gateway: reads both lanes of the journal, writes transitions back as records.

The engine may see a record twice (after a crash). A transition's record id is derived from the
record that caused it, so the journal recognises the second one, and nothing is done twice. An end
that changed nothing at first left no transition: the second time it is known by what came after it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b

from gateway.alarms import lifecycle
from gateway.alarms.causes import cause_of
from gateway.alarms.lifecycle import Step
from gateway.errors import CommandRefused, JournalError, KuzetError, NotFound
from gateway.model import (
    Alarm,
    AlarmState,
    AlarmTransition,
    Audience,
    Command,
    CommandName,
    Condition,
    Lane,
    Record,
    Retention,
    Transition,
)
from gateway.ports import Clock, Consumer, Journal, Metrics

log = logging.getLogger(__name__)

BATCH = 500
COMMIT_RETRY_S = 0.5
CLOSED_KEPT = 5_000
"""Closed alarms kept at hand for the list: about a week of a busy region; the journal has all."""

ALARM_COMMANDS = frozenset(
    (CommandName.ACKNOWLEDGE, CommandName.CLEAR, CommandName.COMMENT, CommandName.SHELVE)
)

Place = tuple[str, Condition]
"""Where an alarm stands: a device and a condition. There is one alarm there until it is closed."""


class _Foreseen:
    """What went out from memory about one alarm: the alarm after it, the transitions by id."""

    __slots__ = ("alarm", "transitions")

    def __init__(self, alarm: Alarm) -> None:
        self.alarm = alarm
        self.transitions: dict[str, Record] = {}


class AlarmEngine:
    """Raises, counts, acknowledges and clears alarms; implements `ports.AlarmDesk`.

    `submit` commits an operator's command through intake and returns its record.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        submit: Callable[[Command], Awaitable[Record]],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._journal = journal
        self._submit = submit
        self._clock = clock
        self._metrics = metrics
        self._standing: dict[Place, Alarm] = {}
        self._by_id: dict[str, Alarm] = {}
        self._closed: OrderedDict[str, Alarm] = OrderedDict()
        self._foreseen: dict[Place, _Foreseen] = {}
        self._followed: dict[Lane, Consumer] = {}
        self._watchers: list[Callable[[Alarm], None]] = []
        self._turn = asyncio.Lock()
        self._started_at = clock.now()
        self._shelved = asyncio.Event()

    async def restore(self) -> None:
        """Takes up every alarm where the journal left it. Before `run` and before any command."""
        async for stored in self._journal.latest("alarm"):
            if isinstance(stored.record.body, AlarmTransition):
                self._remember(stored.record.body.alarm)

    async def run(self) -> None:
        """Follows the journal until cancelled."""
        async with asyncio.TaskGroup() as group:
            for lane in Lane:
                group.create_task(self._follow(lane), name=f"alarms:{lane}")
            group.create_task(self._end_shelving(), name="alarms:shelving")

    # --- AlarmDesk -------------------------------------------------------------------------------

    def alarms(self) -> Sequence[Alarm]:
        known = [*self._by_id.values(), *self._closed.values()]
        return sorted(known, key=lambda alarm: (alarm.raised_at, alarm.alarm_id), reverse=True)

    def alarm(self, alarm_id: str) -> Alarm:
        found = self._by_id.get(alarm_id) or self._closed.get(alarm_id)
        if found is None:
            raise NotFound(f"no alarm {alarm_id}")
        return found

    def active_counts(self) -> Mapping[str, int]:
        """Operators' alarms that are not closed, by severity."""
        counts: dict[str, int] = {}
        for alarm in self._standing.values():
            if alarm.audience is Audience.OPERATOR:
                counts[alarm.severity] = counts.get(alarm.severity, 0) + 1
        return counts

    def behind(self) -> int:
        """Records of the alarm lane that have still to become alarms."""
        consumer = self._followed.get(Lane.ALARM)
        return 0 if consumer is None else consumer.backlog().records

    async def execute(self, command: Command) -> Alarm:
        async with self._turn:
            alarm = self.alarm(command.target)
            if lifecycle.command(alarm, command) is None:
                return alarm
            obeying = asyncio.create_task(self._obey(command), name=f"command:{alarm.alarm_id}")
            try:
                await asyncio.shield(obeying)
            except asyncio.CancelledError:
                # What is begun is finished: else the journal could hold a step not taken here.
                with suppress(KuzetError):
                    await obeying
                raise
            return self.alarm(command.target)

    async def _obey(self, command: Command) -> None:
        await self._take([await self._submit(command)])

    def watch(self, changed: Callable[[Alarm], None]) -> Callable[[], None]:
        self._watchers.append(changed)
        return lambda: self._watchers.remove(changed)

    # --- the memory road -------------------------------------------------------------------------

    def foresee(self, records: Iterable[Record]) -> list[Record]:
        """The transitions that these records will cause, without taking them: for records that
        cannot be committed and go out from memory. Later ones build on earlier ones until those
        are committed; the ids, also of a new alarm, are those of the later transitions."""
        foreseen = []
        for record in records:
            place = self._place(record)
            if place is None:
                continue
            earlier = self._foreseen.get(place)
            known = earlier and earlier.transitions.get(_transition_id(record))
            if known:
                foreseen.append(known)
                continue
            step = self._step(record, earlier.alarm if earlier else self._standing.get(place))
            if step is None:
                continue
            transition = self._transition_record(record, step)
            earlier = self._foreseen.setdefault(place, _Foreseen(step.alarm))
            earlier.alarm = step.alarm
            earlier.transitions[transition.record_id] = transition
            foreseen.append(transition)
        return foreseen

    def _caught_up(self, place: Place, record: Record) -> None:
        foreseen = self._foreseen.get(place)
        if foreseen is None:
            return
        foreseen.transitions.pop(_transition_id(record), None)
        if not foreseen.transitions:
            del self._foreseen[place]

    def _new_alarm_id(self, place: Place, record: Record) -> str:
        """Presses may be committed in another order than they went out from memory: the alarm keeps
        the id that the center knows."""
        foreseen = self._foreseen.get(place)
        if foreseen is None or foreseen.alarm.state is AlarmState.CLOSED:
            return _derived("alarm", record.record_id)
        return foreseen.alarm.alarm_id

    # --- following the journal -------------------------------------------------------------------

    async def _follow(self, lane: Lane) -> None:
        """Trouble of one lane's file must not reach the other: each is followed anew by itself."""
        while True:
            try:
                consumer = self._followed[lane] = self._journal.consumer("alarms", lane)
                await self._follow_from_cursor(consumer)
            except JournalError as error:
                self._metrics.error("alarms", "journal")
                log.warning("lane %s cannot be followed, trying again: %s", lane, error)
                await self._clock.sleep(COMMIT_RETRY_S)

    async def _follow_from_cursor(self, consumer: Consumer) -> None:
        while True:
            batch = await consumer.batch(BATCH)
            async with self._turn:
                await self._take([stored.record for stored in batch])
            await consumer.settle(batch[-1].sequence)

    async def _take(self, records: Sequence[Record]) -> None:
        """Applies records in order. Those about different alarms are committed together; a second
        one about the same alarm waits for the first, for its step depends on it."""
        together: dict[Place, tuple[Record, Step]] = {}
        for record in records:
            place = self._place(record)
            if place is None:
                continue
            if place in together:
                await self._commit(list(together.values()))
                together = {}
            step = self._step(record, self._standing.get(place))
            if step is None or await self._overtaken(record, place):
                self._caught_up(place, record)
            else:
                together[place] = (record, step)
        if together:
            await self._commit(list(together.values()))

    def _place(self, record: Record) -> Place | None:
        """Which alarm the record is about; None: about none."""
        if isinstance(record.body, Command):
            alarm = self._by_id.get(record.body.target)
            return None if alarm is None else (alarm.device_id, alarm.condition)
        cause = cause_of(record.body)
        return None if cause is None else (cause.device_id, cause.rule.condition)

    def _step(self, record: Record, alarm: Alarm | None) -> Step | None:
        if isinstance(record.body, Command):
            # Checked before it was committed; if the alarm moved on since, there is nothing to do.
            if alarm is None or record.body.name not in ALARM_COMMANDS:
                return None
            try:
                return lifecycle.command(alarm, record.body)
            except CommandRefused as error:
                # Committed under another version's rules: it must not stop the alarms behind it.
                log.warning("a committed command is refused: alarm=%s %s", alarm.alarm_id, error)
                return None
        cause = cause_of(record.body)
        if cause is None:
            return None
        if not cause.active:
            return lifecycle.end(alarm, cause.rule, at=cause.at, detail=cause.detail)
        return lifecycle.signal(
            alarm,
            cause.rule,
            alarm_id=self._new_alarm_id((cause.device_id, cause.rule.condition), record),
            device_id=cause.device_id,
            site_id=cause.site_id,
            at=cause.at,
            detail=cause.detail,
        )

    async def _overtaken(self, record: Record, place: Place) -> bool:
        """Whether `record` is an end that came again, after a crash, and would now end what began
        behind it: a later signal of its lane was taken already."""
        cause = cause_of(record.body)
        if cause is None or cause.active or record.recorded_at > self._started_at:
            return False  # what was recorded in this life comes for the first time
        stored = await self._journal.get(record.lane, record.record_id)
        if stored is None:
            return False
        later = [
            _transition_id(behind.record)
            async for behind in self._journal.read(record.lane, after=stored.sequence)
            if (signal := cause_of(behind.record.body)) is not None
            and signal.active
            and (signal.device_id, signal.rule.condition) == place
        ]
        for transition_id in later:
            if await self._journal.get(Lane.ALARM, transition_id) is not None:
                return True
        return False

    def _transition_record(self, cause: Record, step: Step) -> Record:
        command = cause.body if isinstance(cause.body, Command) else None
        return Record(
            record_id=_transition_id(cause),
            lane=Lane.ALARM,
            retention=Retention.ALARM,
            type=f"alarm.{step.transition}",
            key=step.alarm.alarm_id,
            recorded_at=self._clock.now(),
            body=AlarmTransition(
                transition=step.transition,
                alarm=step.alarm,
                caused_by=cause.record_id,
                by=command.by if command else None,
                comment=command.comment if command else None,
            ),
        )

    async def _commit(self, steps: Sequence[tuple[Record, Step]]) -> None:
        records = [self._transition_record(cause, step) for cause, step in steps]
        while True:
            try:
                new = await self._journal.append(records)
                break
            except JournalError as error:
                # The press itself is safe or on the memory road; its alarm must follow.
                self._metrics.error("alarms", "journal")
                log.warning("alarm transitions cannot be committed, trying again: %s", error)
                await self._clock.sleep(COMMIT_RETRY_S)
        for (cause, step), is_new in zip(steps, new, strict=True):
            # A known transition was taken before a crash: the state restored already has it.
            if is_new:
                self._metrics.appended(Lane.ALARM, 1)
                self._apply(step)
            self._caught_up((step.alarm.device_id, step.alarm.condition), cause)

    def _apply(self, step: Step) -> None:
        alarm = step.alarm
        # Not one that is announced again: after an acknowledgement, a clear or a shelving.
        is_first = step.transition is Transition.RAISED and alarm.alarm_id not in self._by_id
        self._remember(alarm)
        if is_first:
            self._metrics.alarm_raised(alarm)
        log.info(
            "alarm %s: alarm=%s device=%s condition=%s state=%s count=%d",
            step.transition,
            alarm.alarm_id,
            alarm.device_id,
            alarm.condition,
            alarm.state,
            alarm.count,
        )
        if alarm.state is AlarmState.SHELVED:
            self._shelved.set()
        for changed in tuple(self._watchers):
            changed(alarm)

    def _remember(self, alarm: Alarm) -> None:
        place = (alarm.device_id, alarm.condition)
        if alarm.state is AlarmState.CLOSED:
            standing = self._standing.get(place)
            if standing is not None and standing.alarm_id == alarm.alarm_id:
                del self._standing[place]
            foreseen = self._foreseen.get(place)
            if foreseen is not None and foreseen.alarm.alarm_id == alarm.alarm_id:
                del self._foreseen[place]
            self._by_id.pop(alarm.alarm_id, None)
            self._closed[alarm.alarm_id] = alarm
            self._closed.move_to_end(alarm.alarm_id)
            while len(self._closed) > CLOSED_KEPT:
                self._closed.popitem(last=False)
        else:
            self._standing[place] = alarm
            self._by_id[alarm.alarm_id] = alarm

    # --- shelving --------------------------------------------------------------------------------

    async def _end_shelving(self) -> None:
        while True:
            self._shelved.clear()
            ends = [
                (alarm.shelved_until, alarm.alarm_id)
                for alarm in self._by_id.values()
                if alarm.shelved_until is not None
            ]
            if not ends:
                await self._shelved.wait()
                continue
            until, alarm_id = min(ends)
            left = (until - self._clock.now()).total_seconds()
            if left > 0:
                # At most a minute at a time: another alarm may be shelved for less meanwhile.
                await self._clock.sleep(min(left, 60.0))
                continue
            async with self._turn:
                await self._unshelve(alarm_id)

    async def _unshelve(self, alarm_id: str) -> None:
        alarm = self._by_id.get(alarm_id)
        if alarm is None or alarm.shelved_until is None:
            return
        step = lifecycle.unshelve(alarm, at=self._clock.now())
        if step is None:
            return
        cause = Record(
            # One end for each shelving, also when it is found again after a crash.
            record_id=_derived("unshelve", alarm_id, alarm.shelved_until.isoformat()),
            lane=Lane.ALARM,
            retention=Retention.ALARM,
            type="alarm.unshelve",
            recorded_at=self._clock.now(),
            body=AlarmTransition(transition=step.transition, alarm=alarm, caused_by=""),
        )
        await self._commit([(cause, step)])


def _transition_id(cause: Record) -> str:
    return _derived("transition", cause.record_id)


def _derived(*parts: str) -> str:
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
