"""The files' schema: numbered steps, newer ones refused, strangers left alone."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gateway.errors import JournalError, JournalNewer
from gateway.journal.schema import connect, lane_path, open_lane, steps, upgrade, version
from gateway.model import Lane
from tests.journal.neighbours import Folder, ids, names, press


def described(path: Path) -> list[tuple[object, ...]]:
    """Everything of the schema, and the header's numbers."""
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute(
            "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"
        ).fetchall()
        for pragma in ("user_version", "application_id", "journal_mode", "auto_vacuum"):
            rows += connection.execute(f"PRAGMA {pragma}").fetchall()
        return rows
    finally:
        connection.close()


def test_the_steps_are_numbered_without_gaps() -> None:
    folder = Path(__file__).parents[2] / "gateway" / "journal" / "schema"
    numbers = [int(path.name[:4]) for path in sorted(folder.glob("*.sql"))]
    assert numbers == list(range(1, len(steps()) + 1))


@pytest.mark.parametrize("known", range(len(steps())))
def test_an_upgraded_schema_equals_a_fresh_one(tmp_path: Path, known: int) -> None:
    fresh, upgraded = tmp_path / "fresh.sqlite", tmp_path / "upgraded.sqlite"
    open_lane(fresh).close()
    upgraded.touch()
    old = connect(upgraded)
    old.execute("PRAGMA auto_vacuum = INCREMENTAL")
    upgrade(old, steps()[:known])
    assert version(old) == known
    old.close()
    open_lane(upgraded).close()
    assert described(upgraded) == described(fresh)


def test_records_of_an_older_schema_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    path.touch()
    old = connect(path)
    upgrade(old, steps()[:1])
    old.execute("INSERT INTO record VALUES (7, 'id', 'type', 'event', 0, NULL, 0, '{}')")
    old.close()
    new = open_lane(path)
    assert new.execute("SELECT sequence, record_id FROM record").fetchall() == [(7, "id")]
    new.close()


def test_a_step_that_fails_leaves_nothing_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "half.sqlite"
    path.touch()
    connection = connect(path)
    broken = "CREATE TABLE half (a); INSERT INTO nowhere VALUES (1);"
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        upgrade(connection, [*steps(), broken])
    assert version(connection) == len(steps())
    assert not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'half'").fetchall()
    connection.close()


async def test_a_newer_file_is_refused_untouched(folder: Folder) -> None:
    async with folder.open() as journal:
        await journal.append([press(1)])
    path = folder.file(Lane.ALARM)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(steps()) + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(JournalNewer, match="newer Kuzet"):
        await folder.open().__aenter__()
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["a table", "text"])
async def test_another_programs_file_is_refused_untouched(folder: Folder, content: str) -> None:
    path = lane_path(folder.path, Lane.TELEMETRY)
    if content == "text":
        path.write_text("not a database at all, but long enough to be looked at" * 20)
    else:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE theirs (a)")
        connection.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match=str(path)):
        await folder.open().__aenter__()
    assert path.read_bytes() == before


async def test_a_refused_journal_can_be_opened_once_the_trouble_is_over(folder: Folder) -> None:
    path = lane_path(folder.path, Lane.TELEMETRY)
    path.write_text("not a database" * 100)
    with pytest.raises(JournalError):
        await folder.open().__aenter__()
    path.unlink()
    async with folder.open() as journal:
        await journal.append([press(1)])
        assert ids([s async for s in journal.read(Lane.ALARM)]) == names(1)


async def test_the_files_are_nobody_elses_business(folder: Folder) -> None:
    async with folder.open(reserve_mb=1) as journal:
        await journal.append([press(1)])
        modes = {path.name: path.stat().st_mode & 0o777 for path in folder.path.iterdir()}
    assert "journal-alarm.sqlite-wal" in modes
    assert set(modes.values()) == {0o600}, modes
