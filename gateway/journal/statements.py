"""What is kept in a lane's file besides the records: cursors, what is aside, what is damaged.

Every change is called in the writer's thread, within the transaction of a group.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

from gateway.journal.codec import Damage, from_microseconds
from gateway.journal.reading import recorded_after

VACUUM_PAGES = 16
"""Pages given back in one commit. Each is a step of the writer's thread (see writer.py), so it is a
few; at a commit every 50 ms that makes 4 GB an hour."""


class Found(Struct, frozen=True, kw_only=True):
    """What a lane's file knows when it is opened."""

    last: int
    count: int
    first_at: datetime | None
    cursors: Mapping[str, tuple[int, int, datetime | None]]
    """By consumer: its cursor, how many records are behind it, when the first was recorded."""
    retrying: Mapping[str, Mapping[int, datetime]]
    damaged: Collection[int]


def load(connection: sqlite3.Connection) -> Found:
    """What stands in the file. Nine million records are counted in about a second."""
    last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'record'").fetchone()
    cursors = dict(connection.execute("SELECT consumer, sequence FROM cursor").fetchall())
    # The index is a tenth of the table: bodies are not read for counting.
    behind = connection.execute(
        f"SELECT count(*) {', total(sequence > ?)' * len(cursors)} "  # noqa: S608
        "FROM record INDEXED BY record_age",
        tuple(cursors.values()),
    ).fetchone()
    damaged = connection.execute("SELECT sequence FROM damaged").fetchall()
    return Found(
        last=last[0] if last else 0,
        count=behind[0],
        first_at=recorded_after(connection, 0),
        cursors={
            name: (sequence, int(count), recorded_after(connection, sequence))
            for (name, sequence), count in zip(cursors.items(), behind[1:], strict=True)
        },
        retrying=retrying(connection),
        damaged=frozenset(row[0] for row in damaged),
    )


def retrying(connection: sqlite3.Connection) -> dict[str, dict[int, datetime]]:
    """By consumer, what is aside with a time: sequences, and when they were recorded."""
    found: dict[str, dict[int, datetime]] = {}
    rows = connection.execute(
        """
        SELECT consumer, sequence, recorded_at FROM aside JOIN record USING (sequence)
        WHERE retry_at IS NOT NULL
        """
    )
    for consumer, sequence, recorded_at in rows.fetchall():
        found.setdefault(consumer, {})[sequence] = from_microseconds(recorded_at)
    return found


def save_cursors(connection: sqlite3.Connection, cursors: Sequence[tuple[str, int]]) -> None:
    connection.execute(
        """
        INSERT INTO cursor (consumer, sequence)
        SELECT value ->> 0, value ->> 1 FROM json_each(?) WHERE true
        ON CONFLICT (consumer) DO UPDATE SET sequence = excluded.sequence
        """,
        (_json(cursors),),
    )


def set_aside(
    connection: sqlite3.Connection,
    consumer: str,
    sequences: Sequence[int],
    reason: str,
    now: int,
    retry_at: int | None,
) -> None:
    """Sets these aside, or counts one more attempt. Times are microseconds since 1970."""
    connection.execute(
        """
        INSERT INTO aside (consumer, sequence, reason, attempts, since, retry_at)
        SELECT ?1, value, ?3, 1, ?4, ?5 FROM json_each(?2) WHERE true
        ON CONFLICT (consumer, sequence) DO UPDATE
        SET reason = excluded.reason, retry_at = excluded.retry_at, attempts = attempts + 1
        """,
        (consumer, _json(sequences), reason, now, retry_at),
    )


def release(connection: sqlite3.Connection, consumer: str, sequences: Sequence[int]) -> int:
    """How many of these were aside, and are no longer."""
    return connection.execute(
        """
        DELETE FROM aside
        WHERE consumer = ? AND sequence IN (SELECT value FROM json_each(?))
        """,
        (consumer, _json(sequences)),
    ).rowcount


def consumers_with_asides(connection: sqlite3.Connection) -> list[str]:
    """By name."""
    found = connection.execute("SELECT json_group_array(DISTINCT consumer) FROM aside").fetchone()
    return sorted(msgspec.json.decode(found[0], type=list[str]))


def retry(
    connection: sqlite3.Connection, consumer: str, at: int, sequences: Sequence[int] | None
) -> int:
    """These, or all that the consumer has aside, are to be tried again at `at`; how many."""
    return connection.execute(
        """
        UPDATE aside SET retry_at = ?1
        WHERE consumer = ?2
          AND (?3 IS NULL OR sequence IN (SELECT value FROM json_each(?3)))
        """,
        (at, consumer, None if sequences is None else _json(sequences)),
    ).rowcount


def note_damage(connection: sqlite3.Connection, damage: Sequence[Damage], found_at: int) -> None:
    """Writes down what is damaged; nobody tries to deliver it any more."""
    rows = _json([(found.sequence, found.record_id, found.fault) for found in damage])
    connection.execute(
        """
        INSERT INTO damaged (sequence, record_id, fault, found_at)
        SELECT value ->> 0, value ->> 1, value ->> 2, ?2 FROM json_each(?1) WHERE true
        ON CONFLICT (sequence) DO NOTHING
        """,
        (rows, found_at),
    )
    connection.execute(
        "DELETE FROM aside WHERE sequence IN (SELECT value ->> 0 FROM json_each(?))", (rows,)
    )


def remove(
    connection: sqlite3.Connection, sequences: Collection[int], standing: Sequence[int]
) -> list[datetime | None]:
    """Takes records out of the lane, wherever they are named; when the first record behind each
    of `standing` was recorded, now that they are gone."""
    gone = (_json(sequences),)
    for table in ("record", "aside", "damaged"):
        connection.execute(
            f"DELETE FROM {table} WHERE sequence IN (SELECT value FROM json_each(?))",  # noqa: S608
            gone,
        )
    return [recorded_after(connection, sequence) for sequence in standing]


def give_back(connection: sqlite3.Connection) -> None:
    """Gives some pages that lie free back to the disk."""
    for _ in range(VACUUM_PAGES):  # with a greater number, sqlite3 stops after the first one
        connection.execute("PRAGMA incremental_vacuum(1)")


def touch(connection: sqlite3.Connection) -> None:
    """Writes the header as it is: whether a commit succeeds again."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {version}")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
