"""Secrets: from a file that only its owner reads, or from the environment. Never in a message."""

from __future__ import annotations

import base64
import os
import re
import secrets
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from gateway.errors import ConfigError, Problem

MAX_SECRET_BYTES = 64 * 1024
"""Far above any password or key, far below a file named by mistake."""

MIN_SIGNING_KEY_BYTES = 24
"""Standard Webhooks: a symmetric signing secret has between 24 and 64 bytes."""

PSEUDONYM_KEY_BYTES = 32
"""As long as the digest that it keys."""


class FromEnvironment(Struct, frozen=True):
    """Stands in for an absent `*_file` key: the variable, and its value where it is set."""

    variable: str
    value: str | None

    def __repr__(self) -> str:
        return f"FromEnvironment({self.variable})"


def variable_name(*parts: str) -> str:
    """`KUZET_` and the parts in capitals; what no variable's name may hold becomes `_`."""
    return "_".join(["KUZET", *(re.sub(r"[^A-Za-z0-9]", "_", part).upper() for part in parts)])


def from_environment(
    table: dict[str, object], key: str, variable: str, environ: Mapping[str, str]
) -> str | None:
    """Lets the variable `KUZET_…` stand in for an absent key of a table, changing the table.

    Returns what is wrong when both are there.
    """
    value = environ.get(variable) or None  # an empty variable is an absent one
    if key not in table:
        table[key] = FromEnvironment(variable, value)
    elif value is not None:
        return f"'{key}' is given here and as {variable} in the environment: keep one of them"
    return None


def read_secret(path: Path) -> str:
    """The secret in a file, without one newline at its end.

    Raises ValueError saying what to do, never repeating the secret, nor the path as it was typed:
    whoever mistakes the key for `password` types the secret there.
    """
    try:
        check_private(path)
        with path.open("rb") as file:
            raw = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise ValueError(f"the file with the secret cannot be read: {error.strerror}") from None
    if len(raw) > MAX_SECRET_BYTES:
        raise ValueError(f"the file is larger than {MAX_SECRET_BYTES // 1024} kB: no secret is")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("the file with the secret is not UTF-8 text") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise ValueError("the file with the secret is empty")
    return secret


def check_private(path: Path) -> None:
    """Raises ValueError unless the file is a regular one that only its owner may read or write.

    Raises OSError where there is none.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("is not a regular file")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ValueError(f"others may read this file: run `chmod 600 {shlex.quote(str(path))}`")


def signing_keys(text: str) -> tuple[bytes, ...]:
    """The keys of a Standard Webhooks signature: `whsec_<base64>` or bare base64, one a line.

    Several at once are for a rotation: each signs. Raises ValueError.
    """
    keys = []
    for number, line in enumerate(text.split(), start=1):
        try:
            key = base64.b64decode(line.removeprefix("whsec_"), validate=True)
        except ValueError:  # binascii.Error, or a letter that is not ASCII
            raise ValueError(f"key {number} is not base64: {_NEW_SIGNING_KEY}") from None
        if len(key) < MIN_SIGNING_KEY_BYTES:
            raise ValueError(
                f"key {number} has {len(key)} bytes, at least {MIN_SIGNING_KEY_BYTES} are needed: "
                f"{_NEW_SIGNING_KEY}"
            )
        keys.append(key)
    if not keys:
        raise ValueError(f"holds no key: {_NEW_SIGNING_KEY}")
    return tuple(keys)


_NEW_SIGNING_KEY = "make one with `openssl rand -base64 32`"


def pseudonym_key(path: Path) -> bytes:
    """The key of the pseudonyms in passes; made on the first call, mode 0600.

    The same key gives the same pseudonyms: losing the file makes every card a stranger. Raises
    ConfigError when the file cannot be read, made or believed.
    """
    try:
        try:
            check_private(path)
        except FileNotFoundError:
            _create(path, secrets.token_bytes(PSEUDONYM_KEY_BYTES))
        with path.open("rb") as file:
            key = file.read(MAX_SECRET_BYTES)
        if len(key) < PSEUDONYM_KEY_BYTES:
            raise ValueError(
                f"holds {len(key)} bytes, a pseudonym key has {PSEUDONYM_KEY_BYTES}: restore it, "
                "or remove it to have a new one made"
            )
    except OSError as error:
        message = f"the pseudonym key can neither be read nor made: {error.strerror}"
        raise ConfigError([Problem(str(path), 1, 1, message)]) from None
    except ValueError as error:
        raise ConfigError([Problem(str(path), 1, 1, str(error))]) from None
    return key


def _create(path: Path, content: bytes) -> None:
    """Writes a private file that is there whole or not at all, whenever the power fails."""
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(unfinished, path)  # refuses to replace a key made meanwhile
    except FileExistsError:
        pass
    finally:
        unfinished.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
