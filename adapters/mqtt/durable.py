"""Small files that survive a crash whole: either as they were or as they were to become."""

from __future__ import annotations

import os
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Replaces the file's content; on disk on return. Blocks. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    rename(beside, path)


def rename(path: Path, to: Path) -> None:
    """Renames within a folder; on disk on return. Blocks. Raises OSError."""
    path.replace(to)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
