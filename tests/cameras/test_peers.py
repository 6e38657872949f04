"""Cameras that nobody here wrote: GStreamer's RTSP server and the emulator ipycam.

Each is watched by the real adapters: `online` while it runs, `offline` with the right reason within
two intervals after it stops or hangs, and `online` again.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from adapters.watch import CameraSettings
from gateway.clock import SystemClock
from gateway.model import AdapterName, Credentials, Device
from tests.cameras.neighbours import Cameras, Listener, device, inventory
from tests.peers import free_port, missing, peers_python, until

INTERVAL_S = 2.0
SETTINGS = CameraSettings(health_interval_s=INTERVAL_S, deadline_s=1.0, connect_s=1.0)
TWO_INTERVALS_S = 2 * INTERVAL_S + 2 * SETTINGS.deadline_s
"""With the time that the checks themselves may take."""
START_S = 30.0
SYSTEM_PYTHON = "/usr/bin/python3"
FOLDER = Path(__file__).parent


class Peer:
    """A server in a process of its own; it ends with its standard input at the latest."""

    def __init__(self, *command: str) -> None:
        self._command = command
        self._process: subprocess.Popen[str]

    async def start(self) -> str:
        """The first line that it says, once it is ready."""
        self._process = subprocess.Popen(  # noqa: ASYNC220 -- returns at once
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(START_S):
            return (await asyncio.to_thread(self._process.stdout.readline)).strip()

    def hang(self) -> None:
        """Its ports stay open and nobody answers."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()


@asynccontextmanager
async def watching(
    folder: Path, *devices: Device, credentials: Credentials | None
) -> AsyncIterator[Listener]:
    """Both adapters on these devices."""
    listener = Listener()
    cameras = Cameras(folder, SystemClock(), inventory(*devices, credentials=credentials), SETTINGS)
    tasks = [asyncio.create_task(one.run(listener)) for one in (cameras.onvif, cameras.rtsp)]
    try:
        yield listener
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert not cameras.metrics.errors


# --- GStreamer -----------------------------------------------------------------------------------


def gstreamer(*user: str) -> Peer:
    probe = "import gi; gi.require_version('GstRtspServer', '1.0')"
    if (
        not Path(SYSTEM_PYTHON).exists()
        or subprocess.run([SYSTEM_PYTHON, "-c", probe], check=False, capture_output=True).returncode
    ):
        missing("GStreamer's RTSP server (gir1.2-gst-rtsp-server-1.0)")
    return Peer(SYSTEM_PYTHON, str(FOLDER / "gst_server.py"), *user)


def stream(port: str, path: str, device_id: str = "camera-1") -> Device:
    return device(f"rtsp://127.0.0.1:{port}{path}", device_id=device_id, adapter=AdapterName.RTSP)


@pytest.mark.parametrize("user", [(), ("operator", "Right-1")], ids=["open", "digest"])
async def test_gstreamer_is_online_and_offline_when_it_stops(
    tmp_path: Path, user: tuple[str, ...]
) -> None:
    credentials = Credentials(username=user[0], password=user[1]) if user else None
    async with gstreamer(*user) as server:
        port = await server.start()
        devices = [
            stream(port, "/live", "h264"),
            stream(port, "/jpeg", "jpeg"),
            stream(port, "/nothing", "unknown-path"),
        ]
        async with watching(tmp_path, *devices, credentials=credentials) as listener:
            # The encoder starts at the first DESCRIBE, which takes its time on a busy machine.
            await until(lambda: listener.shows("h264", "online"), START_S)
            await until(lambda: listener.shows("jpeg", "online"), START_S)
            await until(
                lambda: listener.shows("unknown-path", "offline", "stream_not_found"), START_S
            )
            codecs = {one.device_id: one.details.get("codec") for one in listener.reports}
            assert (codecs["h264"], codecs["jpeg"]) == ("H264", "JPEG")
            server.kill()
            await until(lambda: listener.shows("h264", "offline", "refused"), TWO_INTERVALS_S)


async def test_gstreamer_refuses_a_wrong_password(tmp_path: Path) -> None:
    async with gstreamer("operator", "Right-1") as server:
        camera = stream(await server.start(), "/live")
        wrong = Credentials(username="operator", password="Wrong-1")
        async with watching(tmp_path, camera, credentials=wrong) as listener:
            await until(lambda: listener.shows("camera-1", "offline", "auth_failed"), START_S)
            await until(lambda: len(listener.reports) > 2, START_S)
            last = listener.last("camera-1")
            assert last is not None
            assert "not tried before" in str(last.details["finding"])


# --- ipycam --------------------------------------------------------------------------------------


class Ipycam(Peer):
    """Keeps its ports over restarts."""

    def __init__(self, *user: str) -> None:
        self.port, rtsp_port = free_port(), free_port()
        script = str(FOLDER / "ipycam_server.py")
        super().__init__(peers_python(), script, str(self.port), str(rtsp_port), *user)

    @property
    def device(self) -> Device:
        return device(f"http://127.0.0.1:{self.port}")


@pytest.mark.parametrize("user", [(), ("operator", "Right-1")], ids=["open", "ws-security"])
async def test_ipycam_is_online_and_offline_when_it_stops_or_hangs(
    tmp_path: Path, user: tuple[str, ...]
) -> None:
    """It demands credentials even for its clock, and names a host of another network."""
    credentials = Credentials(username=user[0], password=user[1]) if user else None
    async with Ipycam(*user) as camera:
        assert await camera.start() == "ready"
        async with watching(tmp_path, camera.device, credentials=credentials) as listener:
            await until(lambda: listener.shows("camera-1", "online"), START_S)
            last = listener.last("camera-1")
            assert last is not None
            assert last.details["maker"] == "PythonCam"
            assert last.details["codec"] == "H264"
            assert abs(float(str(last.details["clock_skew_s"]))) < 5
            camera.hang()
            await until(lambda: listener.shows("camera-1", "offline", "timeout"), TWO_INTERVALS_S)
            camera.go_on()
            await until(lambda: listener.shows("camera-1", "online"), START_S)
            camera.kill()
            await until(lambda: listener.shows("camera-1", "offline", "refused"), TWO_INTERVALS_S)
            assert await camera.start() == "ready"
            await until(lambda: listener.shows("camera-1", "online"), START_S)


async def test_ipycam_refuses_a_wrong_password(tmp_path: Path) -> None:
    async with Ipycam("operator", "Right-1") as camera:
        assert await camera.start() == "ready"
        wrong = Credentials(username="operator", password="Wrong-1")
        async with watching(tmp_path, camera.device, credentials=wrong) as listener:
            await until(lambda: listener.shows("camera-1", "offline", "auth_failed"), START_S)
