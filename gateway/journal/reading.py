"""What is asked of a lane's file, each with as few steps as can be, and how damage is got round.

Every function is called in a thread that may wait for the disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

from gateway.journal.codec import (
    ROW_AS_JSON,
    Damage,
    Damaged,
    Fault,
    decode,
    from_microseconds,
    to_microseconds,
)
from gateway.model import Lane, Retention, Stored
from gateway.ports import Aside

PROBES = 1000
"""Most sequences tried one by one in a call, where pages are damaged: some 20 ms."""

_DAMAGED_PAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_DAMAGED_VALUE = {
    sqlite3.SQLITE_ERROR,  # a text has become a blob, which JSON cannot hold
    sqlite3.SQLITE_TOOBIG,
}

_ROWS = f"""
    SELECT count(*), '[' || group_concat(row) || ']' FROM (
        SELECT {ROW_AS_JSON} AS row FROM record NOT INDEXED
        WHERE %s ORDER BY sequence LIMIT ?
    )
"""  # noqa: S608 -- nothing but constants of this module
_AFTER = _ROWS % "sequence > ? AND recorded_at >= ?"
_THESE = _ROWS % "sequence IN (SELECT value FROM json_each(?))"

_EVER = -(2**62)


class _AsideRow(Struct, frozen=True, array_like=True):
    sequence: int
    reason: str
    attempts: int
    since: int
    retry_at: int | None


_decode_asides = msgspec.json.Decoder(list[_AsideRow]).decode


class Read(Struct, frozen=True, kw_only=True):
    """Records by sequence and the damage met on the way; `through` is the last sequence looked at,
    `complete` says that the lane had no more when it was read."""

    stored: list[Stored]
    damage: list[Damage]
    through: int
    complete: bool


def after(
    connection: sqlite3.Connection,
    lane: Lane,
    sequence: int,
    limit: int,
    since: datetime | None = None,
) -> Read:
    """The next records behind `sequence`, recorded at `since` or later."""
    earliest = _EVER if since is None else to_microseconds(since)
    try:
        stored = _whole(connection, lane, _AFTER, (sequence, earliest, limit))
    except Damaged:
        return _around(connection, lane, sequence, limit, earliest)
    through = stored[-1].sequence if stored else sequence
    return Read(stored=stored, damage=[], through=through, complete=len(stored) < limit)


def these(connection: sqlite3.Connection, lane: Lane, sequences: Sequence[int]) -> Read:
    """The records of these sequences; those that are gone are left out."""
    wanted = msgspec.json.encode(sequences).decode()
    through = max(sequences, default=0)
    try:
        stored = _whole(connection, lane, _THESE, (wanted, -1))
    except Damaged:
        stored, damage = _one_by_one(connection, lane, sorted(sequences))
        return Read(stored=stored, damage=damage, through=through, complete=True)
    return Read(stored=stored, damage=[], through=through, complete=True)


def by_id(connection: sqlite3.Connection, lane: Lane, record_id: str) -> Read:
    """The record of that id, or none."""
    found = connection.execute("SELECT sequence FROM record WHERE record_id = ?", (record_id,))
    return these(connection, lane, [row[0] for row in found.fetchall()])


def first_since(connection: sqlite3.Connection, since: datetime) -> int:
    """The lowest sequence recorded at `since` or later; 0 if there is none. From the index alone:
    a month of passes takes less than a second."""
    found = connection.execute(
        """
        SELECT min(sequence) FROM record INDEXED BY record_age
        WHERE retention IN (SELECT value FROM json_each(?)) AND recorded_at >= ?
        """,
        (msgspec.json.encode(list(Retention)).decode(), to_microseconds(since)),
    )
    return found.fetchone()[0] or 0


def latest(connection: sqlite3.Connection, family: str) -> list[int]:
    """The sequence of the last record of every key of that family of types."""
    found = connection.execute(
        """
        SELECT json_group_array(last) FROM (
            SELECT max(sequence) AS last FROM latest
            WHERE type = ?1 OR (type >= ?1 || '.' AND type < ?1 || '/') -- '/' comes after '.'
            GROUP BY key ORDER BY last
        )
        """,
        (family,),
    )
    return msgspec.json.decode(found.fetchone()[0], type=list[int])


def aside(
    connection: sqlite3.Connection,
    lane: Lane,
    consumer: str,
    *,
    due: datetime | None,
    after: int,
    limit: int,
) -> tuple[list[Aside], list[Damage]]:
    """Records that the consumer set aside, by sequence from behind `after`."""
    found = connection.execute(
        f"""
        SELECT json_group_array(json_array(sequence, reason, attempts, since, retry_at)) FROM (
            SELECT * FROM aside
            WHERE consumer = ? AND sequence > ? {"" if due is None else "AND retry_at <= ?"}
            ORDER BY sequence LIMIT ?
        )
        """,  # noqa: S608 -- one of two constants
        (consumer, after, *(() if due is None else (to_microseconds(due),)), limit),
    )
    rows = {row.sequence: row for row in _decode_asides(found.fetchone()[0])}
    if not rows:
        return [], []
    read = these(connection, lane, list(rows))
    listed = [_aside(stored, rows[stored.sequence]) for stored in read.stored]
    return listed, read.damage


def recorded_after(connection: sqlite3.Connection, sequence: int) -> datetime | None:
    """When the first record behind `sequence` was recorded."""
    row = connection.execute(
        "SELECT recorded_at FROM record WHERE sequence > ? ORDER BY sequence LIMIT 1", (sequence,)
    ).fetchone()
    return from_microseconds(row[0]) if row else None


def _aside(stored: Stored, row: _AsideRow) -> Aside:
    return Aside(
        stored=stored,
        reason=row.reason,
        attempts=row.attempts,
        since=from_microseconds(row.since),
        retry_at=None if row.retry_at is None else from_microseconds(row.retry_at),
    )


def _whole(
    connection: sqlite3.Connection, lane: Lane, query: str, arguments: tuple[object, ...]
) -> list[Stored]:
    """All rows by one step. Raises Damaged when any of them is."""
    try:
        count, rows = connection.execute(query, arguments).fetchone()
    except sqlite3.DatabaseError as error:
        if _is_damage(error):
            raise Damaged(Fault.UNREADABLE_PAGE) from error
        if error.sqlite_errorcode in _DAMAGED_VALUE:
            raise Damaged(Fault.UNDECODABLE) from error
        raise
    if not count:
        return []
    if rows is None:  # some column has become NULL, and with it the whole row
        raise Damaged(Fault.UNDECODABLE)
    stored = decode(lane, rows if isinstance(rows, bytes) else rows.encode())
    if len(stored) != count:  # broken bodies may still make JSON of fewer rows
        raise Damaged(Fault.UNDECODABLE)
    return stored


def _around(
    connection: sqlite3.Connection, lane: Lane, sequence: int, limit: int, earliest: int
) -> Read:
    """As `after`, row by row: what is damaged is named and passed."""
    last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'record'").fetchone()[0]
    candidates = range(sequence + 1, min(last, sequence + max(limit, PROBES)) + 1)
    try:
        listed = connection.execute(
            """
            SELECT json_group_array(sequence) FROM (
                SELECT sequence FROM record NOT INDEXED
                WHERE sequence > ? AND recorded_at >= ? ORDER BY sequence LIMIT ?
            )
            """,
            (sequence, earliest, limit),
        ).fetchone()[0]
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        through, complete = candidates[-1] if candidates else sequence, candidates.stop > last
        sequences: Iterable[int] = candidates
    else:
        known = msgspec.json.decode(listed, type=list[int])
        through, complete = known[-1], len(known) < limit
        sequences = known
    stored, damage = _one_by_one(connection, lane, sequences)
    stored = [s for s in stored if to_microseconds(s.record.recorded_at) >= earliest]
    if len(stored) > limit:
        del stored[limit:]
        through, complete = stored[-1].sequence, False
        damage = [found for found in damage if found.sequence <= through]
    return Read(stored=stored, damage=damage, through=through, complete=complete)


def _one_by_one(
    connection: sqlite3.Connection, lane: Lane, sequences: Iterable[int]
) -> tuple[list[Stored], list[Damage]]:
    stored: list[Stored] = []
    damage: list[Damage] = []
    for sequence in sequences:
        try:
            stored += _whole(connection, lane, _THESE, (f"[{sequence}]", -1))
        except Damaged as damaged:
            damage.append(
                Damage(
                    lane=lane,
                    sequence=sequence,
                    record_id=_record_id(connection, sequence),
                    fault=damaged.fault,
                )
            )
    return stored, damage


def _record_id(connection: sqlite3.Connection, sequence: int) -> str:
    try:
        row = connection.execute(
            "SELECT record_id FROM record WHERE sequence = ?", (sequence,)
        ).fetchone()
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        return ""
    found = row[0] if row else ""
    return found.decode("utf-8", "replace") if isinstance(found, bytes) else str(found)


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    # The low byte is the primary code.
    return error.sqlite_errorcode & 0xFF in _DAMAGED_PAGE
