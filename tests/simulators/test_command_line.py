"""`python -m simulators` as a process: what it prints, and that nothing of it stays."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.peers import until
from tests.simulators.mqtt_observer import Observer

ROOT = Path(__file__).parent.parent.parent
STOPS_WITHIN_S = 3.0


class Process:
    """A started `python -m simulators`; `ready` is its line of JSON."""

    def __init__(self, child: asyncio.subprocess.Process, ready: dict[str, Any]) -> None:
        self.child = child
        self.ready = ready
        self.family = [
            psutil.Process(child.pid),
            *psutil.Process(child.pid).children(recursive=True),
        ]

    async def gone(self) -> None:
        """Waits for its end and that of its children."""
        async with asyncio.timeout(STOPS_WITHIN_S):
            await self.child.wait()
        await until(lambda: not any(one.is_running() for one in self.family), STOPS_WITHIN_S)


@asynccontextmanager
async def _simulators(*arguments: str) -> AsyncIterator[Process]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "simulators", *arguments),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        async with asyncio.timeout(60):
            line = await child.stdout.readline()
        yield Process(child, json.loads(line))
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def test_a_district_announces_every_device_and_leaves_no_process(tmp_path: Path) -> None:
    async with _simulators("--sites", "3", "--dir", str(tmp_path)) as process:
        ready = process.ready
        assert ready["ready"] is True
        assert ready["dir"] == str(tmp_path)
        assert len(process.family) == 2, "the district and its broker"
        with (tmp_path / "devices.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == ready["devices"] == 12
        async with Observer(ready["broker"]) as observer:
            for row in rows:
                if row["adapter"] == "mqtt":
                    native = f"kuzet/{row['site_id']}/{row['device_id']}/status"
                    topic = f"{row['topic']}/availability" if row["dialect"] else native
                    (status,) = await observer.see(topic)
                    assert status.body in (
                        {"online": True},
                        {"online": True, "battery": 0.97},
                        {"state": "online"},
                    )
        async with aiohttp.ClientSession() as session:
            for row in rows:
                if row["adapter"] == "onvif":
                    address = f"{row['address']}/onvif/device_service"
                    async with session.post(address, data=b"") as response:
                        assert response.status == 400, "it listens, and wants SOAP"
            async with session.get(ready["opscenter"]) as response:
                assert "Operations center" in await response.text()
        assert process.child.stderr is not None
        assert (await process.child.stderr.readline()).startswith(b"in 20 s: a press at ")
        process.child.terminate()
        await process.gone()
        assert process.child.returncode == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_in_time(how: signal.Signals) -> None:
    async with _simulators("--sites", "2", "--quiet") as process:
        folder = Path(process.ready["dir"])
        assert "gateway.toml" in _names(folder)
        process.child.send_signal(how)
        await process.gone()
        assert not _names(folder), "a folder that nobody named is its own to remove"


async def test_a_quiet_district_plays_its_script_when_it_is_told() -> None:
    async with _simulators("--sites", "1", "--quiet") as process:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{process.ready['control']}/scenario") as response,
        ):
            assert await response.json() == {"begun": True}
        assert process.child.stderr is not None
        async with asyncio.timeout(10):
            assert (await process.child.stderr.readline()).startswith(b"in 20 s: a press at ")
        process.child.terminate()
        await process.gone()


async def test_the_end_of_standard_input_ends_a_child_and_ctrl_c_does_not() -> None:
    async with _simulators("--sites", "1", "--quiet", "--until-stdin-closes") as process:
        process.child.send_signal(signal.SIGINT)
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{process.ready['control']}/devices") as response,
        ):
            assert response.status == 200
        assert process.child.stdin is not None
        process.child.stdin.close()
        await process.gone()


async def test_it_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    parent = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-m', 'simulators', '--sites', '1', '--quiet',"
        " '--until-stdin-closes'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "print(child.stdout.readline().decode(), flush=True)\n"
        "child.wait()\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", parent), cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        await process.stdout.readline()
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) == 2
    process.kill()
    await process.wait()
    await until(lambda: not any(_runs(one) for one in family), STOPS_WITHIN_S)


async def test_a_killed_district_takes_its_broker_along() -> None:
    async with _simulators("--sites", "1", "--quiet") as process:
        process.child.kill()
        await process.gone()


@pytest.mark.parametrize(
    ("device", "action", "type_"),
    [
        ("button", ("--press",), "panic.pressed"),
        ("turnstile", ("--force",), "access.forced"),
        ("turnstile", ("--pass", "--credential", "0012345678"), "access.passed"),
        ("intercom", ("--force-door",), "door.forced"),
    ],
)
async def test_one_device_by_hand_on_a_broker_by_hand(
    device: str, action: tuple[str, ...], type_: str
) -> None:
    async with (
        _simulators("broker") as broker,
        Observer(broker.ready["broker"]) as observer,
    ):
        once = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "simulators", device, "--broker", broker.ready["broker"]),
            *("--site", "school-1", "--device", "d1", *action),
            cwd=ROOT,
        )
        async with asyncio.timeout(30):
            assert await once.wait() == 0
        (seen,) = await observer.see("kuzet/school-1/d1/event")
        assert seen.body["type"] == type_
        broker.child.terminate()
        await broker.gone()


async def test_one_camera_by_hand_with_a_fault() -> None:
    async with _simulators("camera", "--fault", "no_rtsp", "--password", "p") as camera:
        async with (
            aiohttp.ClientSession() as session,
            session.post(camera.ready["onvif"], data=b"") as response,
        ):
            assert response.status == 400
        port = int(camera.ready["rtsp"].split(":")[2].split("/")[0])
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        camera.child.terminate()
        await camera.gone()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--sites", "many"),
        ("camera", "--fault", "dwon"),
        ("camera", "--listen", "nowhere"),
        ("button", "--press"),
    ],
)
def test_wrong_usage_is_told(arguments: tuple[str, ...]) -> None:
    ended = _run(*arguments)
    assert ended.returncode == 2
    assert "error:" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--sites", "1000"), "from 1 to 900 sites"),
        (
            ("button", "--broker", "http://127.0.0.1", "--site", "s", "--device", "d"),
            "a broker is written mqtt://host:port, not http://…",
        ),
    ],
)
def test_what_cannot_start_says_why_in_one_line(arguments: tuple[str, ...], why: str) -> None:
    ended = _run(*arguments)
    assert ended.returncode == 1
    assert ended.stderr == f"simulators: {why}\n"


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "simulators", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def _runs(process: psutil.Process) -> bool:
    return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
