"""Opening a lane's file: numbered steps bring it up to date, a newer one is refused untouched."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from gateway.errors import JournalError, JournalNewer
from gateway.model import Lane

STEPS = Path(__file__).parent / "schema"

APPLICATION_ID = 0x4B555A54
"""`KUZT` in the file's header: another program's database is refused."""

BUSY_S = 5.0
"""Longest wait for another process (`kuzet quarantine`), which writes for milliseconds."""

CACHE_KIB = 16_384
"""Pages that the writer keeps. Ids are random, so each insert meets another page of their index:
with SQLite's 2 MiB a record took 18 µs, with this 14."""

WAL_KEPT_BYTES = 16 * 1024 * 1024
"""What remains of the WAL file after a burst."""


def lane_path(directory: Path, lane: Lane) -> Path:
    return directory / f"journal-{lane}.sqlite"


def steps() -> list[str]:
    """The scripts in the order of their numbers; step n is the (n-1)th."""
    return [path.read_text("utf-8") for path in sorted(STEPS.glob("*.sql"))]


def open_lane(path: Path) -> sqlite3.Connection:
    """The lane's file, made where absent and brought up to date. Raises JournalNewer when a newer
    Kuzet wrote it, JournalError when it is no journal; then nothing is changed."""
    # Whose passes are in it is nobody's business; SQLite gives its other files the same mode.
    path.touch(0o600)
    connection = connect(path)
    try:
        _recognise(connection, path)
        # Only a file without tables takes this: what retention frees can go back to the disk.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        # WAL is a property of the file. Each commit syncs the WAL: the promise of `append`.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        # Not in a commit: see reader.py.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        # Freed passes are overwritten where that costs no further page.
        connection.execute("PRAGMA secure_delete = FAST")
        upgrade(connection, steps())
    except BaseException:
        connection.close()
        raise
    return connection


def connect(path: Path) -> sqlite3.Connection:
    """A connection to a file that is there. It begins no transaction by itself, and nothing of the
    file is read or written yet."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_S,
        isolation_level=None,
    )
    # A full disk must not fail a statement for want of a temporary file.
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def require_current(connection: sqlite3.Connection, path: Path) -> None:
    """Raises JournalNewer or JournalError unless the file is exactly what this Kuzet writes."""
    _recognise(connection, path)
    if version(connection) < len(steps()):
        msg = f"{path} is of an older Kuzet: start the gateway once, it brings it up to date"
        raise JournalError(msg)


def version(connection: sqlite3.Connection) -> int:
    return _number(connection, "PRAGMA user_version")


def upgrade(connection: sqlite3.Connection, scripts: list[str]) -> None:
    """Applies the steps that the file lacks, each in a transaction of its own."""
    for number in range(version(connection) + 1, len(scripts) + 1):
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{scripts[number - 1]}\n"
                f"PRAGMA application_id = {APPLICATION_ID};\n"
                f"PRAGMA user_version = {number};\nCOMMIT;"
            )
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _recognise(connection: sqlite3.Connection, path: Path) -> None:
    try:
        application = _number(connection, "PRAGMA application_id")
        found = version(connection)
        tables = _number(connection, "SELECT count(*) FROM sqlite_schema")
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        msg = f"{path} is no journal: {error}"
        raise JournalError(msg) from error
    if application != APPLICATION_ID and (application or found or tables):
        msg = f"{path} is another program's database"
        raise JournalError(msg)
    if found > len(steps()):
        msg = f"{path} was written by a newer Kuzet: its schema is {found}, we know {len(steps())}"
        raise JournalNewer(msg)


def _number(connection: sqlite3.Connection, query: str) -> int:
    number: int = connection.execute(query).fetchone()[0]
    return number
