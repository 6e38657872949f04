"""What the command line does with a journal beside a running gateway, or without one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from gateway.config import load_config
from gateway.errors import NotFound
from gateway.journal import JournalFiles
from gateway.model import AlarmTransition, Command, Event, Lane, Stored


def quarantine_list(settings: Path) -> Iterator[str]:
    """A line for each record that is set aside."""
    with _journal(settings) as files:
        for entry in files.aside():
            aside, record = entry.aside, entry.aside.stored.record
            when = "for a person" if aside.retry_at is None else f"next {_time(aside.retry_at)}"
            yield (
                f"{entry.consumer} {entry.lane} {aside.stored.sequence} {record.type} "
                f"since {_time(aside.since)}, {aside.attempts} tries, {when}: {aside.reason}"
            )


def quarantine_retry(settings: Path, sink: str, sequences: Sequence[int]) -> int:
    """Has a sink's records tried again now: these, or all. How many."""
    with _journal(settings) as files:
        now = datetime.now(UTC)
        return sum(files.retry(sink, lane, now, sequences or None) for lane in Lane)


def quarantine_drop(settings: Path, sink: str, lane: Lane, sequences: Sequence[int]) -> int:
    """Gives a sink's records of one lane up; they stay in the journal. How many."""
    with _journal(settings) as files:
        return files.drop(sink, lane, sequences)


def journal_verify(settings: Path) -> tuple[int, Sequence[str]]:
    """How many records were checked, and a line for each that is not as it was written."""
    faults: list[str] = []
    checked = 0
    with _journal(settings) as files:
        for lane in Lane:
            checked += files.verify(
                lane,
                lambda hurt: faults.append(
                    f"{hurt.lane} {hurt.sequence} {hurt.record_id or 'unknown id'}: damaged"
                ),
            )
    return checked, faults


def alarm_story(settings: Path, alarm_id: str) -> Iterator[str]:
    """An alarm's transitions with what caused them, as lines. Raises NotFound."""
    with _journal(settings) as files:
        found = False
        for stored in files.records(Lane.ALARM):
            body = stored.record.body
            if not isinstance(body, AlarmTransition) or body.alarm.alarm_id != alarm_id:
                continue
            if not found:
                alarm = body.alarm
                yield (
                    f"{alarm.condition} at {alarm.device_id}, site {alarm.site_id}, "
                    f"severity {alarm.severity}"
                )
            found = True
            cause = files.get(Lane.ALARM, body.caused_by)
            if cause is None:
                cause = files.get(Lane.TELEMETRY, body.caused_by)
            yield (
                f"{_time(stored.record.recorded_at)} {body.transition}: "
                f"{body.alarm.state}, count {body.alarm.count}; {_cause(cause)}"
            )
        if not found:
            raise NotFound(f"the journal knows no alarm {alarm_id}")


def _cause(stored: Stored | None) -> str:
    if stored is None:
        return "its cause is no longer kept"
    record = stored.record
    match record.body:
        case Command() as command:
            said = f" ({command.comment})" if command.comment else ""
            return f"{command.name} by {command.by}{said}"
        case Event() as event:
            claimed = f", its clock said {_time(event.occurred_at)}" if event.occurred_at else ""
            return f"{event.type} received {_time(event.received_at)}{claimed}"
        case _:
            return f"{record.type} recorded {_time(record.recorded_at)}"


def _time(at: datetime) -> str:
    return at.astimezone().isoformat(sep=" ", timespec="milliseconds")


def _journal(settings: Path) -> JournalFiles:
    return JournalFiles(load_config(settings).gateway.data_dir)
