"""The example files of administrators in `tests/config/`: a good set, and one for each mistake."""

from __future__ import annotations

import shutil
from pathlib import Path

FOLDER = Path(__file__).parent / "config"
READABLE_BY_ALL = ("public.secret", "credentials-public.toml")


def copy_good(into: Path) -> Path:
    """A folder with valid settings and inventory, the secrets in files of mode 0600."""
    folder = into / "kuzet"
    shutil.copytree(FOLDER / "good", folder)
    for file in folder.iterdir():
        set_mode(file)
    return folder


def set_mode(file: Path) -> None:
    """Git does not keep modes: 0600 for all but the examples of what must not be."""
    file.chmod(0o644 if file.name in READABLE_BY_ALL else 0o600)


def mistakes(kind: str) -> list[Path]:
    """The files with mistakes: of `settings` or of `inventory`."""
    return sorted((FOLDER / kind).iterdir())


def expected_problems(file: Path, folder: Path) -> list[str]:
    """What `tests/config/expected.txt` says that a file's mistakes are told as."""
    lines = (FOLDER / "expected.txt").read_text().splitlines()
    return [
        line.replace("{folder}", str(folder)) for line in lines if line.startswith(f"{file.name}:")
    ]
