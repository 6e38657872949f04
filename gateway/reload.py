"""Takes over a changed inventory while the gateway runs.

The files are looked at once a second (a network share or a bind mount tells no change by itself),
read once they stand still, and taken over only when there is no mistake in any of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from gateway.errors import ConfigError, Problem
from gateway.model import Inventory
from gateway.ports import Clock, InventoryChange, Metrics

log = logging.getLogger(__name__)

LOOK_INTERVAL_S = 1.0
"""A file is read when two looks in a row saw it the same, so at most 2 s after its last change."""

MAX_LOGGED_PROBLEMS = 20
"""A file saved with the wrong separator has a mistake in each of 17,000 lines."""

OnChange = Callable[[Inventory, InventoryChange], Awaitable[None]]

Stamp = tuple[int, ...] | None
"""What of a file's state changes when it is written, replaced or its mode changed; None: absent."""


class InventoryWatcher:
    """Watches the inventory's files; a mistake in one of them changes nothing and is told once."""

    def __init__(
        self,
        *,
        load: Callable[[], Inventory],
        diff: Callable[[Inventory, Inventory], InventoryChange],
        files: Callable[[], Iterable[Path]],
        settings: Path,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """`load` reads the inventory or raises ConfigError, and `files` names the files that it
        reads (they may change with their content); both block and run in a thread. `settings` is
        the settings file: a change of it is only told, for it needs a restart.
        """
        self._load = load
        self._diff = diff
        self._files = files
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._inventory = Inventory()
        self._problems: tuple[Problem, ...] = ()
        self._read: dict[Path, Stamp] = {}  # the files as they were before they were last read
        self._settings_read: Stamp = None
        self._settings_told = False
        self._asked = False

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the files on disk; empty when they are those in force."""
        return self._problems

    def start(self) -> Inventory:
        """The inventory to start with. Raises ConfigError. Blocks."""
        self._settings_read = _stamp(self._settings)
        self._read = self._stamps()
        self._inventory = self._load()
        return self._inventory

    def ask(self) -> None:
        """Has the files read anew at the next look, changed or not (SIGHUP)."""
        self._asked = True

    async def run(self, on_change: OnChange) -> None:
        """Runs until cancelled, after `start`. Awaits `on_change` with each new inventory; what
        that raises ends the run."""
        seen = self._read
        while True:
            await self._clock.sleep(LOOK_INTERVAL_S)
            await self._look_at_settings()
            before, seen = seen, await asyncio.to_thread(self._stamps)
            if self._asked or (seen != self._read and seen == before):
                self._asked = False
                await self._reload(on_change)
                seen = self._read

    async def _reload(self, on_change: OnChange) -> None:
        self._read = await asyncio.to_thread(self._stamps)
        problems: tuple[Problem, ...] = ()
        try:
            inventory = await asyncio.to_thread(self._load)
        except ConfigError as error:
            problems = error.problems
        if await asyncio.to_thread(self._stamps) != self._read:
            return  # written while it was read: a later look sees that too
        self._problems = problems
        if problems:
            self._metrics.error("inventory", "reload")
            _log_problems(problems)
            return
        if inventory == self._inventory:
            log.info("inventory read again: nothing changed")
            return
        change = self._diff(self._inventory, inventory)
        self._asked = True  # until it is taken over: whoever fails at that is given it again
        await on_change(inventory, change)
        self._asked = False
        self._inventory = inventory
        log.info(
            "inventory changed sites=%d devices=%d added=%d removed=%d changed=%d",
            len(inventory.sites),
            len(inventory.devices),
            len(change.added),
            len(change.removed),
            len(change.changed),
        )

    async def _look_at_settings(self) -> None:
        if self._settings_told:
            return
        if await asyncio.to_thread(_stamp, self._settings) != self._settings_read:
            self._settings_told = True
            log.warning("settings changed file=%s: restart to apply them", self._settings)

    def _stamps(self) -> dict[Path, Stamp]:
        return {path: _stamp(path) for path in self._files()}


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    # The mode: `chmod 600` mends a mistake without touching the content. The change time: tools
    # that copy a file set its time of writing back to the original's.
    return (
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_size,
        status.st_ino,
        status.st_mode,
    )


def _log_problems(problems: tuple[Problem, ...]) -> None:
    log.error("inventory not changed: %d mistakes in its files", len(problems))
    for problem in problems[:MAX_LOGGED_PROBLEMS]:
        log.error("inventory %s", problem)
    if len(problems) > MAX_LOGGED_PROBLEMS:
        more = len(problems) - MAX_LOGGED_PROBLEMS
        log.error("inventory and %d more: `kuzet check` lists them all", more)
