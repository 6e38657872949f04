"""Text files of administrators: UTF-8, of bounded size, read whole."""

from __future__ import annotations

import stat
from pathlib import Path

from gateway.errors import ConfigError, Problem

MAX_FILE_BYTES = 64 * 2**20
"""A region of 17,432 cameras is 3 MB of CSV: what is larger than this is another kind of file."""


def read_text(path: Path, *, advice: str) -> str:
    """The file's text without a byte-order mark. `advice` says how to save it as UTF-8.

    Raises ConfigError with the place of the first byte that is no UTF-8.
    """
    raw = _read_bytes(path)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # `error.object` is what was decoded: the file without its byte-order mark.
        before = bytes(error.object)[: error.start]
        line_start = before.rfind(b"\n") + 1
        line = before.count(b"\n") + 1
        column = len(before[line_start:].decode("utf-8")) + 1
        raise _refused(path, line, column, f"this is not UTF-8: {advice}") from None
    zero = text.find("\0")  # UTF-16 without a mark decodes as Latin letters between zeros
    if zero >= 0:
        line_start = text.rfind("\n", 0, zero) + 1
        line = text.count("\n", 0, zero) + 1
        raise _refused(path, line, zero - line_start + 1, f"this is not UTF-8: {advice}")
    return text


def _read_bytes(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a named pipe would block for ever
            raise _refused(path, 1, 1, "this is not a regular file")
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _refused(path, 1, 1, f"cannot be read: {error.strerror}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise _refused(path, 1, 1, f"is larger than {MAX_FILE_BYTES // 2**20} MB")
    return raw


def _refused(path: Path, line: int, column: int, message: str) -> ConfigError:
    return ConfigError([Problem(str(path), line, column, message)])
