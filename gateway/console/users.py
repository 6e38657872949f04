"""Console accounts: `users.json`, readable by the gateway's user only."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import stat
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.errors import CommandRefused, ConfigError, Problem

log = logging.getLogger(__name__)


class Role(StrEnum):
    """What a person or a program may do here; see `access.py` for what each allows."""

    VIEWER = "viewer"
    TECHNICIAN = "technician"
    OPERATOR = "operator"
    ADMIN = "admin"


class User(Struct, frozen=True, kw_only=True):
    """One account. `hash` is in the PHC string format: `$scrypt$ln=15,r=8,p=3$salt$key`."""

    name: str
    role: Role
    hash: str

    def __repr__(self) -> str:
        return f"User(name={self.name!r}, role={self.role!r}, hash=***)"


class _Accounts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    users: tuple[User, ...] = ()


# OWASP Password Storage Cheat Sheet, "scrypt": N=2^15, r=8, p=3 is one of its equal choices, the
# one that takes 32 MiB: a gateway beside a broker has better uses for the 128 MiB of N=2^17.
LOG2_N, BLOCK_SIZE, PARALLEL = 15, 8, 3
SALT_BYTES, KEY_BYTES = 16, 32
MAX_MEMORY_BYTES = 64 * 2**20

NAME_LENGTH = 64
PASSWORD_LENGTHS = range(8, 257)
"""ASVS 5.0, 6.2.1: at least 8 characters; the upper bound keeps a body from costing time."""

PRIVATE = 0o600


class UserStore:
    """Accounts in one file, which another process (`kuzet user add`) may change at any time.

    Reading notices a changed file by itself. The first reading raises ConfigError when the file
    cannot be read as accounts, or when others than its owner may read it; a later one that fails is
    logged and changes nothing: a slip of the editor must not sign every operator out.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._users: Mapping[str, User] | None = None

    def list(self) -> Sequence[User]:
        """Every account, by name."""
        return tuple(self._current().values())

    def get(self, name: str) -> User | None:
        return self._current().get(name)

    def add(self, name: str, role: Role, password: str) -> None:
        """Adds an account; one of that name gets the role and password anew, and its sign-ins end.

        Durable on return. Raises CommandRefused for a name or a password that will not do.
        """
        if not 0 < len(name) <= NAME_LENGTH or not name.isprintable() or " " in name:
            raise CommandRefused(f"a name has 1 to {NAME_LENGTH} characters and no spaces")
        if len(password) not in PASSWORD_LENGTHS:
            shortest, longest = PASSWORD_LENGTHS.start, PASSWORD_LENGTHS.stop - 1
            raise CommandRefused(f"a password has {shortest} to {longest} characters")
        users = {**self._current(), name: User(name=name, role=role, hash=_hashed(password))}
        self._write(_Accounts(users=tuple(users[name] for name in sorted(users))))

    def verify(self, name: str, password: str) -> User | None:
        """The account if the password is its own. Blocks for about 0.2 s and takes 32 MiB, just so
        for an unknown name: call it in a thread, one at a time."""
        user = self.get(name)
        if len(password) not in PASSWORD_LENGTHS:
            return None
        matches = _matches(password, _NOBODY if user is None else user.hash)
        return user if matches else None

    def _current(self) -> Mapping[str, User]:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._seen, self._users = None, {}
            return self._users
        now = (found.st_ino, found.st_mtime_ns, found.st_size)
        if self._users is None or now != self._seen:
            self._seen = now
            try:
                self._users = self._read(stat.S_IMODE(found.st_mode))
            except ConfigError as error:
                if self._users is None:
                    raise
                log.error("accounts changed and cannot be read, keeping those before: %s", error)
        return self._users

    def _read(self, mode: int) -> Mapping[str, User]:
        if mode & 0o077:
            raise self._problem("others may read the accounts: chmod 600 this file")
        try:
            accounts = msgspec.json.decode(self._path.read_bytes(), type=_Accounts)
        except (msgspec.DecodeError, OSError) as error:
            raise self._problem(f"cannot be read as accounts: {error}") from error
        return {user.name: user for user in accounts.users}

    def _problem(self, message: str) -> ConfigError:
        return ConfigError([Problem(file=str(self._path), line=1, column=1, message=message)])

    def _write(self, accounts: _Accounts) -> None:
        """Replaces the file in one step: a reader sees the old one or the new one, never a half."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(accounts), indent=2) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _hashed(password: str) -> str:
    salt = secrets.token_bytes(SALT_BYTES)
    key = _key(password, salt, LOG2_N, BLOCK_SIZE, PARALLEL)
    cost = f"ln={LOG2_N},r={BLOCK_SIZE},p={PARALLEL}"
    return f"$scrypt${cost}${b64encode(salt).decode()}${b64encode(key).decode()}"


def _matches(password: str, hashed: str) -> bool:
    try:
        _, name, cost, salt, key = hashed.split("$")
        numbers = dict(part.split("=") for part in cost.split(","))
        if name != "scrypt":
            return False
        made = _key(
            password, b64decode(salt), int(numbers["ln"]), int(numbers["r"]), int(numbers["p"])
        )
    except (ValueError, KeyError):
        return False
    return hmac.compare_digest(made, b64decode(key))


def _key(password: str, salt: bytes, log2_n: int, block_size: int, parallel: int) -> bytes:
    return hashlib.scrypt(
        password.encode(),
        salt=salt,
        n=2**log2_n,
        r=block_size,
        p=parallel,
        maxmem=MAX_MEMORY_BYTES,
        dklen=KEY_BYTES,
    )


_NOBODY = (
    f"$scrypt$ln={LOG2_N},r={BLOCK_SIZE},p={PARALLEL}"
    f"${b64encode(bytes(SALT_BYTES)).decode()}${b64encode(bytes(KEY_BYTES)).decode()}"
)
"""What an unknown name is checked against, so that its answer takes as long as a wrong password."""
