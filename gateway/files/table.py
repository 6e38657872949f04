"""CSV as spreadsheet programs save it, checked column by column, each mistake with its place.

UTF-8 with or without a byte-order mark, comma or semicolon (told by the header), any line ends,
quoted fields (RFC 4180; they may hold line breaks). Rows without any value are passed over.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gateway.errors import ConfigError, Problem
from gateway.files.text import read_text
from gateway.files.values import quoted, suggestion

ADVICE = "save it from the spreadsheet program as 'CSV UTF-8'"

FREE_PREFIX = "x_"
"""Columns that begin so are kept as they are."""


class Column(NamedTuple):
    """How to read a column's texts: `read` raises ValueError for one that cannot be."""

    read: Callable[[str], object] = str
    required: bool = False


class Row(NamedTuple):
    """One row: the values that were given and could be read, and the free columns' texts.

    `wrong` has the columns whose text could not be read, and every column of a row with too few or
    too many fields: they are told of already.
    """

    line: int
    values: Mapping[str, Any]
    extra: Mapping[str, str]
    wrong: Collection[str]

    def lacks(self, column: str) -> bool:
        """Whether nothing was given there."""
        return column not in self.values and column not in self.wrong


class Table:
    """The rows of a file, and every problem found with it so far."""

    def __init__(self, path: Path, columns: Mapping[str, Column], *, key: str) -> None:
        """Reads the file. Never raises: a file that cannot be read is a problem and has no rows.

        `key` is the column whose values name the rows: no two may be the same.
        """
        self.path = path
        self.readable = False
        self.problems: list[Problem] = []
        self.rows: list[Row] = []
        self._columns = columns
        self._key = key
        self._header: list[str] = []
        self._lines: list[str] = []
        self._delimiter = ","
        try:
            text = read_text(path, advice=ADVICE)
        except ConfigError as error:
            self.problems += error.problems
            return
        self._lines = list(io.StringIO(text, newline=""))
        self._delimiter = _delimiter(self._lines)
        self._read()

    def by_key(self) -> dict[str, Row]:
        """The rows by the value of their key; of two with the same, the first."""
        rows: dict[str, Row] = {}
        for row in self.rows:
            if self._key in row.values:
                rows.setdefault(row.values[self._key], row)
        return rows

    def complain(self, row: Row, column: str, message: str) -> None:
        """Adds a problem at the row's field of that column, or at the row if it has none."""
        index = self._header.index(column) if column in self._header else -1
        self._complain(row.line, index, f"{column}: {message}")

    # --- reading ---------------------------------------------------------------------------------

    def _read(self) -> None:
        records = self._records()
        first = next(records, None)
        if first is None:
            self.problems.append(Problem(str(self.path), 1, 1, "is empty: the header is missing"))
            return
        line, header = first
        self._header = [name.strip() for name in header]
        self._check_header(line)
        self.readable = self._key in self._header
        lines_of_keys: dict[object, int] = {}
        for line, cells in records:
            row = self._row(line, cells)
            self.rows.append(row)
            value = row.values.get(self._key)
            if value is None:
                continue
            if value in lines_of_keys:
                self.complain(row, self._key, f"'{value}' is in line {lines_of_keys[value]} too")
            lines_of_keys.setdefault(value, line)

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Each record that is not blank, with the line that it begins in."""
        reader = csv.reader(self._lines, delimiter=self._delimiter, strict=True)
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                self._malformed(line, str(error))
                continue
            if any(cell and not cell.isspace() for cell in cells):
                yield line, cells

    def _malformed(self, line: int, error: str) -> None:
        place = list(self._places(line))[-1]
        what = "is not closed" if "unexpected end" in error else f"cannot be read ({error})"
        message = f"this field {what}: a quote within a quoted field is written twice"
        self.problems.append(Problem(str(self.path), *place, message))

    def _check_header(self, line: int) -> None:
        seen: set[str] = set()
        for index, name in enumerate(self._header):
            if name in seen:
                self._complain(line, index, f"the column {quoted(name)} is there twice")
            seen.add(name)
            if not name:
                self._complain(line, index, "a column without a name: name it or remove it")
            elif name not in self._columns and not name.startswith(FREE_PREFIX):
                near = suggestion(name, self._columns)
                self._complain(
                    line,
                    index,
                    f"unknown column {quoted(name)}{near or ' (x_… would be kept, unused)'}",
                )
        for name, column in self._columns.items():
            if column.required and name not in seen:
                self._complain(line, -1, f"the column '{name}' is missing")

    def _row(self, line: int, cells: Sequence[str]) -> Row:
        if len(cells) != len(self._header):
            return self._misfit(line, cells)
        values: dict[str, Any] = {}
        extra: dict[str, str] = {}
        wrong: list[str] = []
        for index, (name, cell) in enumerate(zip(self._header, cells, strict=True)):
            column = self._columns.get(name)
            try:
                text = _clean(cell)
                if column is None:
                    if text:
                        extra[name] = text
                elif text:
                    values[name] = column.read(text)
                elif column.required:
                    raise ValueError("is empty")
            except ValueError as error:
                wrong.append(name)
                self._complain(line, index, f"{name}: {error}")
        return Row(line, values, extra, wrong)

    def _misfit(self, line: int, cells: Sequence[str]) -> Row:
        count, expected = len(cells), len(self._header)
        self._complain(
            line,
            expected if count > expected else -1,
            f"the row has {count} fields, the header has {expected}",
        )
        index = self._header.index(self._key) if self._key in self._header else count
        key = cells[index].strip() if index < count else ""
        return Row(line, {self._key: key} if key else {}, {}, self._columns)

    # --- places ----------------------------------------------------------------------------------

    def _complain(self, line: int, index: int, message: str) -> None:
        """`index` is that of the field; -1 for the row as a whole."""
        place = (line, 1)
        if index >= 0:
            places = list(self._places(line))
            place = places[min(index, len(places) - 1)]
        self.problems.append(Problem(str(self.path), *place, message))

    def _places(self, line: int) -> Iterator[tuple[int, int]]:
        """Line and column at which each field of the record that begins in `line` begins.

        The csv module does not tell them; so this reads the record again, only for a problem.
        """
        in_quotes = is_quoted = False
        for number in range(line, len(self._lines) + 1):
            text = self._lines[number - 1]
            at_start = number == line
            for column, character in enumerate(text, start=1):
                if at_start:
                    yield number, column
                    is_quoted = character == '"'
                if character == '"' and is_quoted:
                    in_quotes = not in_quotes  # a doubled quote closes and opens again
                elif is_quoted and not in_quotes and character not in f"{self._delimiter}\r\n":
                    return  # the field is malformed
                at_start = character == self._delimiter and not in_quotes
            if at_start:  # the file ends behind a delimiter
                yield number, len(text) + 1
            if not in_quotes:
                return


def _delimiter(lines: Sequence[str]) -> str:
    header = next((line for line in lines if not line.isspace()), "")
    return ";" if header.count(";") > header.count(",") else ","


def _clean(cell: str) -> str:
    """A field's text on one line. Raises ValueError for what could be there only by mistake."""
    text = cell.strip()
    if text.isprintable():
        return text
    text = " ".join(text.split())  # line breaks and no-break spaces become spaces
    if found := _UNSEEN.search(text):
        raise ValueError(f"holds a character that cannot be seen (U+{ord(found.group()):04X})")
    return text


_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b\u202a-\u202e\ufeff]")
"""Controls, zero-width marks, and the marks that turn the direction of a line."""
