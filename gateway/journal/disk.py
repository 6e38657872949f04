"""The disk beneath the journal: who may use it, what is left of it, and what is kept for alarms."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from gateway.errors import JournalError

log = logging.getLogger(__name__)

LOW_RATIO = 0.05
"""Below this part of the disk, telemetry is no longer taken (architecture, promise 3)."""
ENOUGH_RATIO = 0.06
"""Above this it is taken again: a point more, so that it does not flutter."""

LOCK_FILE = "journal.lock"
RESERVE_FILE = "journal-alarm.reserve"


class DirectoryLock:
    """One gateway for a folder: two would give the same sequences to different records. Other
    processes that only look, or change what is aside, need no lock."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK_FILE
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Raises JournalError when another process has it. The kernel ends it with the process."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            msg = f"{self._path.parent} is in use by another gateway (process {holder})"
            raise JournalError(msg) from error
        self._descriptor = descriptor
        with contextlib.suppress(OSError):  # a full disk: the lock holds without a name in it
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Reserve:
    """A file that holds room for alarms: given up when the disk is full, made again when there is
    room for it twice. Its methods wait for the disk."""

    def __init__(self, directory: Path, size_bytes: int) -> None:
        self._directory = directory
        self._path = directory / RESERVE_FILE
        self._size = size_bytes
        self._turn = threading.Lock()
        self.held = False
        """False while it is given up: what is free then belongs to the alarm lane alone."""

    def restore(self) -> bool:
        """Makes the file if it is not there and the disk has room; whether it is there."""
        with self._turn:
            if self.held:
                return True
            if not self._size or self._stands():
                self.held = True
            elif _free_bytes(self._directory) >= 2 * self._size:
                self.held = self._allocate()
            if self.held:
                log.info("reserve for alarms held: mb=%d", self._size // 2**20)
            return self.held

    def give_up(self) -> bool:
        """Frees the room; False when there was none to free."""
        with self._turn:
            if not self.held or not self._size:
                return False
            self.held = False
            self._path.unlink(missing_ok=True)
            # Some file systems (ext4) give the blocks back with their next commit only.
            _sync_directory(self._directory)
            log.error("the disk is full: the reserve for alarms is in use")
            return True

    def _stands(self) -> bool:
        try:
            return self._path.stat().st_blocks * 512 >= self._size
        except FileNotFoundError:
            return False

    def _allocate(self) -> bool:
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._size)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._path.unlink(missing_ok=True)
            if error.errno != errno.ENOSPC:
                log.warning("no reserve for alarms: error=%s", error)
            return False
        return True


class DiskWatch:
    """Whether the disk is low: then it takes alarms only."""

    def __init__(
        self, directory: Path, reserve: Reserve, free_ratio: Callable[[], float] | None = None
    ) -> None:
        self._reserve = reserve
        self._free_ratio = free_ratio or (lambda: _free_ratio(directory))
        self._below = False
        self._told = False

    @property
    def low(self) -> bool:
        """Never waits: true from the moment the reserve is given up."""
        return self._below or not self._reserve.held

    def look(self) -> None:
        """Looks at the disk, and makes the reserve again where there is room. Waits for it."""
        self._reserve.restore()
        ratio = self._free_ratio()
        self._below = ratio < (ENOUGH_RATIO if self._below else LOW_RATIO)
        if self.low and not self._told:
            log.error("the disk is low, only alarms are taken: free=%.1f %%", ratio * 100)
        elif self._told and not self.low:
            log.info("the disk has room again: free=%.1f %%", ratio * 100)
        self._told = self.low


def _free_bytes(directory: Path) -> int:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def _free_ratio(directory: Path) -> float:
    found = os.statvfs(directory)
    # What is left to a plain user: the blocks reserved for root are not ours.
    return found.f_bavail / max(1, found.f_blocks)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
