"""TOML with places: tomllib tells what a file says, the scanner here tells where it says it.

tomllib keeps no positions, and neither does tomlkit. So tomllib reads the file and decides what is
valid, and a light scanner then walks the same, known to be valid text (TOML 1.0) for the places.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct

from gateway.errors import ConfigError, Problem
from gateway.files.text import read_text

KeyPath = tuple[str | int, ...]
"""The way to a value: keys of tables, and indices (from 0) of arrays and of `[[tables]]`."""


class Place(NamedTuple):
    """Where something begins. Lines and columns (in characters) count from 1."""

    line: int
    column: int


START = Place(1, 1)

MAX_DEPTH = 32
"""Far more than any setting needs, far less than what exhausts the stack of whoever walks it."""


class Toml(Struct, frozen=True, kw_only=True):
    """A TOML file: what it says, and where it says it."""

    file: str
    document: dict[str, Any]
    keys: Mapping[KeyPath, Place]
    values: Mapping[KeyPath, Place]

    def key(self, path: KeyPath) -> Place:
        """Where the key or the table's header stands; of an absent one, the table it belongs in."""
        while path and path not in self.keys:
            path = path[:-1]
        return self.keys.get(path, START)

    def value(self, path: KeyPath) -> Place:
        """Where the value stands; of an absent one, the table it belongs in."""
        return self.values.get(path) or self.key(path)


def read_toml(path: Path) -> Toml:
    """Raises ConfigError with the place of what is no TOML (the first one: TOML ends there)."""
    return parse_toml(read_text(path, advice="save it with the encoding UTF-8"), file=str(path))


def parse_toml(text: str, *, file: str) -> Toml:
    """As `read_toml`, of a text; `file` names it in problems."""
    scanner = _Scanner(text)
    try:
        document = tomllib.loads(text)
        scanner.scan()
    except tomllib.TOMLDecodeError as error:
        place, message = _syntax_error(text, str(error))
        raise ConfigError([Problem(file, *place, f"this is not TOML: {message}")]) from None
    except (RecursionError, _TooDeep):
        message = "tables or lists are nested too deep"
        raise ConfigError([Problem(file, *scanner.place(), message)]) from None
    return Toml(file=file, document=document, keys=scanner.keys, values=scanner.values)


_SYNTAX_ERROR = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)


def _syntax_error(text: str, error: str) -> tuple[Place, str]:
    """tomllib's message apart from the place, which it gives only as words."""
    found = _SYNTAX_ERROR.fullmatch(error)
    if found is None:
        return START, error
    message, line, column = found.groups()
    if message == "Cannot overwrite a value":
        message = "the same key stands above already"
    if line is None:
        lines = text.split("\n")
        return Place(len(lines), len(lines[-1]) + 1), f"{message} at the end of the file"
    return Place(int(line), int(column)), message


_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}\n#]+")  # a date may hold a space
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{1,2})?'  # up to two quotes may stand before the closing three
    r"|'''.*?'''(?:'{1,2})?"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'",
    re.DOTALL,
)


class _TooDeep(Exception):
    """A value is nested deeper than MAX_DEPTH."""


class _Scanner:
    """Walks a valid TOML text once and notes where each key and value begins."""

    def __init__(self, text: str) -> None:
        self.keys: dict[KeyPath, Place] = {}
        self.values: dict[KeyPath, Place] = {}
        self._text = text
        self._at = 0
        self._line_starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self._last_index: dict[KeyPath, int] = {}  # of each [[array of tables]] so far

    def scan(self) -> None:
        table: KeyPath = ()
        while self._skip_blank():
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._key_and_value(table)

    def place(self) -> Place:
        """Where the scanner stands."""
        line = bisect_right(self._line_starts, self._at)
        return Place(line, self._at - self._line_starts[line - 1] + 1)

    def _header(self) -> KeyPath:
        place = self.place()
        is_array = self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        path: KeyPath = ()
        names = self._dotted_key()
        self._at += 2 if is_array else 1
        for depth, name in enumerate(names, start=1):
            path = _below(path, name)
            self._note(path, place)
            if is_array and depth == len(names):
                self._last_index[path] = self._last_index.get(path, -1) + 1
            if path in self._last_index:
                path = _below(path, self._last_index[path])
                self._note(path, place)
        return path

    def _key_and_value(self, table: KeyPath) -> None:
        place = self.place()
        path = table
        for name in self._dotted_key():
            path = _below(path, name)
            self.keys.setdefault(path, place)
        self._at += 1  # =
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        self._skip_blank()
        self.values[path] = self.place()
        self.keys.setdefault(path, self.values[path])
        match self._text[self._at]:
            case "[":
                self._array(path)
            case "{":
                self._inline_table(path)
            case '"' | "'":
                self._take(_STRING)
            case _:
                self._take(_BARE_VALUE)

    def _array(self, path: KeyPath) -> None:
        self._at += 1
        index = 0
        while not self._closed("]"):
            self._value(_below(path, index))
            index += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while not self._closed("}"):
            self._key_and_value(path)

    def _closed(self, bracket: str) -> bool:
        """Passes blanks and a comma; true once it has passed the bracket as well."""
        self._skip_blank()
        if self._text[self._at] == ",":
            self._at += 1
            self._skip_blank()
        if self._text[self._at] != bracket:
            return False
        self._at += 1
        return True

    def _dotted_key(self) -> list[str]:
        names = []
        while True:
            self._skip_blank()
            if self._text[self._at] in "\"'":
                quoted = self._take(_STRING)
                names.append(str(tomllib.loads(f"key = {quoted}")["key"]))
            else:
                names.append(self._take(_BARE_KEY))
            self._skip_blank()
            if self._text[self._at] != ".":
                return names
            self._at += 1

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        assert found is not None, "tomllib found the text to be valid"  # noqa: S101 -- an invariant
        self._at = found.end()
        return found.group()

    def _skip_blank(self) -> bool:
        """Passes blanks and comments; false at the end of the text."""
        found = _BLANK.match(self._text, self._at)
        assert found is not None, "the pattern may be empty"  # noqa: S101 -- an invariant
        self._at = found.end()
        return self._at < len(self._text)

    def _note(self, path: KeyPath, place: Place) -> None:
        self.keys.setdefault(path, place)
        self.values.setdefault(path, place)


def _below(path: KeyPath, part: str | int) -> KeyPath:
    if len(path) >= MAX_DEPTH:
        raise _TooDeep
    return (*path, part)
