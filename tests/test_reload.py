"""The inventory is taken over while the gateway runs, and a mistake in it changes nothing.

Real files, and a clock that a test moves on by one look at a time.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.inventory import diff, inventory_files, load_inventory
from gateway.model import Alarm, DeviceKind, Inventory, Lane
from gateway.ports import InventoryChange
from gateway.reload import InventoryWatcher
from tests.examples import copy_good
from tests.peers import until

HEADER = "device_id,site_id,kind,name,adapter,address,credentials\n"
CAMERA = "cam-1,school-1,camera,Gate,onvif,http://10.0.0.1,cameras\n"
SECOND = "cam-2,school-1,camera,Yard,onvif,http://10.0.0.2,cameras\n"


class Looks:
    """A clock whose every sleep lasts until the test asks for the next look."""

    def __init__(self) -> None:
        self._next = asyncio.Event()
        self.waiting = False

    def now(self) -> datetime:
        return datetime(2026, 9, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.waiting = True
        await self._next.wait()
        self._next.clear()
        self.waiting = False

    async def look(self, times: int = 1) -> None:
        """Lets the watcher look, and returns when it has done all that it saw to do."""
        for _ in range(times):
            await until(lambda: self.waiting)
            self.waiting = False
            self._next.set()
            await until(lambda: self.waiting)


class Counted:
    """Metrics, of which only errors are of interest here."""

    def __init__(self) -> None:
        self.errors: list[tuple[str, str]] = []

    def error(self, stage: str, reason: str) -> None:
        self.errors.append((stage, reason))

    def appended(self, lane: Lane, count: int) -> None: ...

    def dropped(self, lane: Lane, reason: str, count: int = 1) -> None: ...

    def check_took(self, kind: DeviceKind, seconds: float) -> None: ...

    def broker_connected(self, broker: str, connected: bool) -> None: ...

    def delivered(self, sink: str, lane: Lane, outcome: str, count: int) -> None: ...

    def press_delivered(self, seconds: float) -> None: ...

    def alarm_raised(self, alarm: Alarm) -> None: ...


class Watched:
    """A running watcher of a folder, and what it told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Looks()
        self.metrics = Counted()
        self.changes: list[tuple[Inventory, InventoryChange]] = []
        self.loads = 0
        self.while_loading: Callable[[], None] | None = None
        files = (folder / "sites.csv", folder / "devices.csv", folder / "credentials.toml")
        self._load = partial(load_inventory, *files, mqtt_configured=False, environ={})
        self.watcher = InventoryWatcher(
            load=self.load,
            diff=diff,
            files=partial(inventory_files, *files),
            settings=folder / "gateway.toml",
            clock=self.clock,
            metrics=self.metrics,
        )

    def load(self) -> Inventory:
        self.loads += 1
        if self.while_loading is not None:
            self.while_loading()
        return self._load()

    async def on_change(self, inventory: Inventory, change: InventoryChange) -> None:
        self.changes.append((inventory, change))

    def write(self, devices: str, name: str = "devices.csv") -> None:
        (self.folder / name).write_text(devices)


@asynccontextmanager
async def watching(tmp_path: Path) -> AsyncIterator[Watched]:
    watched = Watched(copy_good(tmp_path))
    watched.watcher.start()
    task = asyncio.create_task(watched.watcher.run(watched.on_change), name="watcher")
    try:
        yield watched
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_new_device_is_taken_over_once_the_file_stands_still(tmp_path: Path) -> None:
    async with watching(tmp_path) as watched:
        watched.write(HEADER + CAMERA + SECOND)
        await watched.clock.look()
        assert watched.changes == [], "it may still be written"
        await watched.clock.look()
        ((inventory, change),) = watched.changes
        assert change == InventoryChange(added=frozenset({"cam-2"}))
        assert set(inventory.devices) == {"cam-1", "cam-2"}
        await watched.clock.look(3)
        assert len(watched.changes) == 1
        assert watched.loads == 2


async def test_a_file_that_grows_is_not_read_until_it_stands_still(tmp_path: Path) -> None:
    async with watching(tmp_path) as watched:
        text = HEADER + CAMERA + SECOND
        for end in range(len(HEADER), len(text), 20):
            watched.write(text[:end])
            await watched.clock.look()
        assert watched.loads == 1
        watched.write(text)
        await watched.clock.look(2)
        assert [change.added for _, change in watched.changes] == [frozenset({"cam-2"})]
        assert watched.metrics.errors == []


async def test_a_file_that_is_written_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    async with watching(tmp_path) as watched:
        watched.write(HEADER + CAMERA + SECOND)
        later = iter([HEADER + CAMERA + SECOND + SECOND.replace("cam-2", "cam-3")])

        def more() -> None:
            if text := next(later, None):
                watched.write(text)

        watched.while_loading = more
        await watched.clock.look(2)
        assert watched.changes == []
        await watched.clock.look(2)
        ((_, change),) = watched.changes
        assert change.added == {"cam-2", "cam-3"}


async def test_a_mistake_changes_nothing_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(tmp_path) as watched:
        watched.write(HEADER + CAMERA + SECOND.replace("school-1", "school-9"))
        await watched.clock.look(6)
        assert watched.changes == []
        assert [(one.line, one.column) for one in watched.watcher.problems] == [(3, 7)]
        assert watched.metrics.errors == [("inventory", "reload")]
        told = [line for line in caplog.messages if "devices.csv:3:7: site_id" in line]
        assert len(told) == 1
        watched.write(HEADER + CAMERA + SECOND)
        await watched.clock.look(2)
        assert watched.watcher.problems == ()
        assert [change.added for _, change in watched.changes] == [frozenset({"cam-2"})]


async def test_a_file_full_of_mistakes_does_not_fill_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(tmp_path) as watched:
        watched.write(HEADER + SECOND.replace("school-1", "school-9") * 500)
        await watched.clock.look(2)
        assert len(watched.watcher.problems) == 999
        assert len(caplog.messages) < 30
        assert "979 more" in caplog.text


async def test_a_mended_mistake_that_leaves_all_as_it_was_touches_nothing(tmp_path: Path) -> None:
    async with watching(tmp_path) as watched:
        good = (watched.folder / "devices.csv").read_text()
        watched.write("nonsense\n")
        await watched.clock.look(2)
        assert watched.watcher.problems
        watched.write(good)
        await watched.clock.look(2)
        assert watched.watcher.problems == ()
        assert watched.changes == []


async def test_a_file_that_is_replaced_or_gone_for_a_while_is_followed(tmp_path: Path) -> None:
    """Editors write another file and rename it; some remove the old one first."""
    async with watching(tmp_path) as watched:
        devices = watched.folder / "devices.csv"
        devices.unlink()
        await watched.clock.look()
        (watched.folder / "new").write_text(HEADER + CAMERA + SECOND)
        (watched.folder / "new").rename(devices)
        await watched.clock.look(2)
        assert [change.added for _, change in watched.changes] == [frozenset({"cam-2"})]
        assert watched.metrics.errors == []


async def test_a_changed_password_touches_its_devices(tmp_path: Path) -> None:
    async with watching(tmp_path) as watched:
        watched.write("another one\n", "good.secret")
        await watched.clock.look(2)
        ((inventory, change),) = watched.changes
        assert change == InventoryChange(changed=frozenset({"cam-1"}))
        assert inventory.credentials["cameras"].password == "another one"


async def test_a_new_mode_is_a_change(tmp_path: Path) -> None:
    """`chmod 600` mends a mistake and changes neither the time of writing nor the size."""
    async with watching(tmp_path) as watched:
        (watched.folder / "credentials.toml").chmod(0o644)
        await watched.clock.look(2)
        assert "chmod 600" in watched.watcher.problems[0].message
        (watched.folder / "credentials.toml").chmod(0o600)
        await watched.clock.look(2)
        assert watched.watcher.problems == ()


async def test_a_new_site_without_devices_is_told_too(tmp_path: Path) -> None:
    async with watching(tmp_path) as watched:
        sites = watched.folder / "sites.csv"
        sites.write_text(sites.read_text() + "school-3,School No. 3,school\n")
        await watched.clock.look(2)
        ((inventory, change),) = watched.changes
        assert "school-3" in inventory.sites
        assert not change


async def test_when_asked_the_files_are_read_at_the_next_look(tmp_path: Path) -> None:
    async with watching(tmp_path) as watched:
        watched.watcher.ask()
        await watched.clock.look()
        assert watched.loads == 2
        assert watched.changes == []
        watched.write(HEADER + CAMERA + SECOND)
        watched.watcher.ask()
        await watched.clock.look()
        assert len(watched.changes) == 1
        await watched.clock.look(3)
        assert watched.loads == 3


async def test_what_changes_between_start_and_run_is_seen(tmp_path: Path) -> None:
    watched = Watched(copy_good(tmp_path))
    watched.watcher.start()
    watched.write(HEADER + CAMERA + SECOND)
    task = asyncio.create_task(watched.watcher.run(watched.on_change), name="watcher")
    await watched.clock.look(2)
    task.cancel()
    await asyncio.wait([task])
    assert len(watched.changes) == 1


def test_a_start_with_mistakes_is_refused(tmp_path: Path) -> None:
    watched = Watched(copy_good(tmp_path))
    watched.write("nonsense\n")
    with pytest.raises(ConfigError, match="unknown column 'nonsense'"):
        watched.watcher.start()


async def test_changed_settings_are_told_once_and_not_applied(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(tmp_path) as watched:
        for name in ("one", "two"):
            watched.write(f'[gateway]\nname = "{name}"\n', "gateway.toml")
            os.utime(watched.folder / "gateway.toml", ns=(1, len(name)))
            await watched.clock.look(2)
        told = [line for line in caplog.messages if "restart" in line]
        assert len(told) == 1
        assert watched.loads == 1


async def test_a_change_is_told_with_its_size(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with watching(tmp_path) as watched:
        watched.write(HEADER + SECOND)
        await watched.clock.look(2)
    assert "inventory changed sites=2 devices=1 added=1 removed=1 changed=0" in caplog.messages
