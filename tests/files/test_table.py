from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.files.table import Column, Table
from gateway.files.values import identifier, whole

COLUMNS = {
    "id": Column(identifier, required=True),
    "name": Column(required=True),
    "count": Column(whole(0, 9)),
}


def read(tmp_path: Path, content: bytes) -> Table:
    file = tmp_path / "x.csv"
    file.write_bytes(content)
    return Table(file, COLUMNS, key="id")


def told(table: Table) -> list[tuple[int, int, str]]:
    return [(one.line, one.column, one.message) for one in sorted(table.problems)]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["bare", "mark"])
@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_every_way_a_spreadsheet_saves_is_read(
    tmp_path: Path, mark: bytes, delimiter: str, end: str
) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator=end).writerows(
        [
            ["count", "id", "name", "x_note"],
            ["3", "a", "Вход", "yes"],
            ["4", "b", f'say "hi"{delimiter}{end}then go', ""],
            ["", "", "", ""],
        ]
    )
    table = read(tmp_path, mark + out.getvalue().encode())
    assert told(table) == []
    assert [(row.line, dict(row.values), dict(row.extra)) for row in table.rows] == [
        (2, {"count": 3, "id": "a", "name": "Вход"}, {"x_note": "yes"}),
        (3, {"count": 4, "id": "b", "name": f'say "hi"{delimiter} then go'}, {}),
    ]


def test_blank_lines_are_passed_over_and_counted(tmp_path: Path) -> None:
    table = read(tmp_path, b"\n\nid,name,count\n\n a , A , 1 \n   \n,,\nb,B,x\n")
    assert [row.line for row in table.rows] == [5, 8]
    assert table.rows[0].values == {"id": "a", "name": "A", "count": 1}
    assert told(table) == [(8, 5, "count: 'x' is not a whole number")]


def test_the_column_of_a_mistake_is_counted_in_characters_of_its_own_line(tmp_path: Path) -> None:
    table = read(tmp_path, 'id,name,count\na,"Қүзет, ""№ 1""",99\nb,"x\ny",z\n'.encode())
    assert told(table) == [
        (2, 20, "count: 99 is not between 0 and 9"),
        (4, 4, "count: 'z' is not a whole number"),
    ]


def test_a_field_at_the_very_end_of_the_file_has_a_place(tmp_path: Path) -> None:
    table = read(tmp_path, b"id,count,name\na,1,")
    assert told(table) == [(2, 5, "name: is empty")]


def test_a_malformed_row_does_not_hide_the_mistakes_behind_it(tmp_path: Path) -> None:
    table = read(tmp_path, b'id,name,count\na,"x"y,1\nb,B,x\nc,C\nd,D,1,2\ne,"E,1\nf,F,1\n')
    assert [(line, column) for line, column, _ in told(table)] == [
        (2, 3),
        (3, 5),
        (4, 1),
        (5, 7),
        (6, 3),
    ]
    assert "twice" in told(table)[0][2]
    assert "not closed" in told(table)[4][2]


def test_a_row_that_does_not_fit_is_still_known_by_its_key(tmp_path: Path) -> None:
    table = read(tmp_path, b"name,id,count\nA,a\n")
    assert table.by_key()["a"].values == {"id": "a"}
    assert not table.by_key()["a"].lacks("count")


def test_no_break_spaces_are_spaces_and_unseen_characters_are_told(tmp_path: Path) -> None:
    table = read(tmp_path, "id,name\na,School\u00a0No.\u00a01\nb,\u202egnp.exe\n".encode())
    assert table.rows[0].values["name"] == "School No. 1"
    assert told(table) == [(3, 3, "name: holds a character that cannot be seen (U+202E)")]


def test_a_bad_byte_is_found_behind_a_byte_order_mark(tmp_path: Path) -> None:
    table = read(tmp_path, b"\xef\xbb\xbfid,name\r\na,\xd0\x92\xff\r\n")
    ((line, column, message),) = told(table)
    assert (line, column) == (2, 4)
    assert "CSV UTF-8" in message
    assert not table.readable


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16"])
def test_utf_16_is_refused_with_the_advice(tmp_path: Path, encoding: str) -> None:
    table = read(tmp_path, "id,name\na,A\n".encode(encoding))
    ((line, _, message),) = told(table)
    assert line == 1
    assert "CSV UTF-8" in message


def test_what_is_no_file_is_a_problem(tmp_path: Path) -> None:
    assert "No such file" in Table(tmp_path / "gone.csv", COLUMNS, key="id").problems[0].message
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        assert "regular file" in Table(path, COLUMNS, key="id").problems[0].message


def refuse(text: str) -> object:
    raise ValueError("refused")


@given(st.lists(st.lists(st.text('ab ,;"\n\r№', max_size=6), min_size=3, max_size=3), max_size=4))
def test_every_field_begins_where_it_is_said_to(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    """What the csv module writes is found again; every field is a mistake here, so each is told."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    text = "id,name,count\n" + out.getvalue()
    file = tmp_path_factory.getbasetemp() / "places.csv"
    file.write_bytes(text.encode())
    columns = {name: Column(refuse, required=True) for name in COLUMNS}
    problems = Table(file, columns, key="id").problems
    kept = [
        cell for row in rows if any(cell and not cell.isspace() for cell in row) for cell in row
    ]
    assert len(problems) == len(kept)
    lines = list(io.StringIO(text, newline=""))
    for problem, cell in zip(problems, kept, strict=True):
        first, *others = lines[problem.line - 1 :]
        rest = first[problem.column - 1 :] + "".join(others)
        assert rest.startswith('"' + cell.replace('"', '""') + '"')


@given(st.binary(max_size=60) | st.text('id,name;"\r\n x_', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_told(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.csv"
    file.write_bytes(content)
    table = Table(file, COLUMNS, key="id")
    lines = content.count(b"\n") + content.count(b"\r") + 1
    assert all(1 <= one.line <= lines and one.column >= 1 for one in table.problems)
    assert table.readable or table.problems
