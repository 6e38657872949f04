"""The whole gateway as a process between a real broker and a real receiver, for tests and proofs.

Nothing of the product runs in here: the gateway is started by its command line and seen from
outside, over MQTT and HTTP, as its users see it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import psutil

from tests.peers import free_port, require, until

SECRET = "whsec_" + base64.b64encode(b"a secret of the tests, 32 bytes!").decode()
TOKEN = "token-of-the-tests"

ALARM_CONF = """
user root
allow_anonymous true
persistence true
persistence_location {folder}/
autosave_on_changes true
autosave_interval 1
max_queued_messages 0
set_tcp_nodelay true
listener {port} 127.0.0.1
"""
"""What `config/mosquitto/alarm.conf` asks for, on a free port: every change is saved."""

TELEMETRY_CONF = """
user root
allow_anonymous true
persistence true
persistence_location {folder}/
autosave_interval 60
max_queued_messages 0
set_tcp_nodelay true
max_inflight_messages 0
listener {port} 127.0.0.1
"""


class Mosquitto:
    """A mosquitto of its own, on a port that stays the same over restarts."""

    def __init__(self, folder: Path, conf: str = ALARM_CONF) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._conf = folder / "mosquitto.conf"
        self._conf.write_text(conf.format(folder=folder, port=self.port))
        self._log = folder / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 -- returns at once
                [require("mosquitto"), "-c", str(self._conf)], stdout=log, stderr=log
            )
        await _listening(self.port)

    def kill(self) -> None:
        """As a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(10)
            self._process = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class Kuzet:
    """`kuzet run` on a folder of its own, with `panels` panic buttons and `turnstiles`."""

    def __init__(
        self,
        folder: Path,
        *,
        broker: str,
        center: str,
        panels: int = 4,
        turnstiles: int = 4,
        alarm_broker: str | None = None,
        extra: str = "",
        devices: Iterable[str] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.console = f"http://127.0.0.1:{free_port()}"
        self.buttons = [f"button-{number}" for number in range(panels)]
        self.turnstiles = [f"turnstile-{number}" for number in range(turnstiles)]
        self._process: subprocess.Popen[bytes] | None = None
        self._wrapped = False
        alarm_url = f'alarm_url = "{alarm_broker}"\n' if alarm_broker else ""
        (folder / "gateway.toml").write_text(
            f"""
[gateway]
name = "rig"
data_dir = "var"

[inventory]
sites = "sites.csv"
devices = "devices.csv"
credentials = "credentials.toml"

[cameras]
health_interval_s = 2
events = false
picture_interval_s = 0

[mqtt]
url = "{broker}"
{alarm_url}client_id = "rig"

[[sink]]
type = "opscenter"
name = "opscenter"
url = "{center}"
signing_secret_file = "opscenter.secret"
max_batch = 500
forward = ["alarm", "event", "health"]

[console]
listen = "{self.console.removeprefix("http://")}"

[[console.token]]
role = "admin"
token_file = "api.token"
{extra}
"""
        )
        for name, text in (("opscenter.secret", SECRET), ("api.token", TOKEN)):
            (folder / name).write_text(text)
            (folder / name).chmod(0o600)
        (folder / "credentials.toml").write_text("")
        (folder / "credentials.toml").chmod(0o600)
        (folder / "sites.csv").write_text(
            "site_id,name,kind,district\nschool-1,School No. 1,school,Taraz\n"
        )
        rows = ["device_id,site_id,kind,name,adapter,address"]
        rows += [f"{name},school-1,panic_button,{name},mqtt," for name in self.buttons]
        rows += [f"{name},school-1,turnstile,{name},mqtt," for name in self.turnstiles]
        rows += devices
        (folder / "devices.csv").write_text("\n".join(rows) + "\n")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def spawn(self, wrapper: Sequence[str] = ()) -> None:
        self._wrapped = bool(wrapper)
        with (self.folder / "kuzet.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*wrapper, sys.executable, "-m", "gateway", "run", "-c", "gateway.toml"],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
            )

    async def start(self, wrapper: Sequence[str] = ()) -> None:
        """Starts the gateway and waits until it is ready and its sessions stand."""
        self.spawn(wrapper)
        await self.ready()

    async def ready(self, timeout_s: float = 30.0) -> None:
        async with aiohttp.ClientSession() as http, asyncio.timeout(timeout_s):
            while True:
                assert self._process is not None
                if self._process.poll() is not None:
                    raise AssertionError(f"kuzet ended: {self.log()[-2000:]}")
                try:
                    async with http.get(f"{self.console}/metrics") as answer:
                        text = await answer.text()
                    connected = [
                        line for line in text.splitlines() if line.startswith("kuzet_mqtt_conn")
                    ]
                    async with http.get(f"{self.console}/readyz") as answer:
                        up = answer.status == 200
                    if up and len(connected) >= 2 and all(c.endswith(" 1.0") for c in connected):
                        return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.02)

    def log(self) -> str:
        return (self.folder / "kuzet.log").read_text(errors="replace")

    async def kill(self) -> None:
        await self._end(signal.SIGKILL)

    async def stop(self, timeout_s: float = 15.0) -> int:
        """Ends it in order; its exit code."""
        return await self._end(signal.SIGTERM, timeout_s)

    async def _end(self, how: signal.Signals, timeout_s: float = 15.0) -> int:
        if self._process is None:
            return 0
        process, self._process = self._process, None
        # Behind a wrapper such as strace the gateway is its child.
        below = psutil.Process(process.pid).children() if self._wrapped else []
        for target in below or [process]:
            target.send_signal(how)
        try:
            return await asyncio.to_thread(process.wait, timeout_s)
        except subprocess.TimeoutExpired:
            for target in [*below, process]:
                target.kill()
            await asyncio.to_thread(process.wait, 5)
            raise AssertionError(f"kuzet did not stop: {self.log()[-2000:]}") from None

    async def get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.get(f"{self.console}{path}") as answer,
        ):
            assert answer.status == 200, (answer.status, await answer.text())
            if "json" in answer.content_type:
                return await answer.json()
            return await answer.text()

    async def shows(self, path: str, wanted: Callable[[Any], bool], timeout_s: float = 10.0) -> Any:
        """Asks until the answer is as wanted, and returns it; the last one after `timeout_s`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        while True:
            answer = await self.get(path)
            if wanted(answer) or loop.time() > end:
                return answer
            await asyncio.sleep(0.05)

    async def post(self, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.post(f"{self.console}{path}", json=body) as answer,
        ):
            return answer.status, await answer.json()

    async def metric(self, name: str) -> float:
        """The sum of a metric's series whose line begins with `name`."""
        text: str = await self.get("/metrics")
        lines = [line for line in text.splitlines() if line.startswith(name)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await (self.stop() if kind is None else self.kill())


class Publisher:
    """Publishes with QoS 1 (MQTT 3.1.1, section 4.3.2) and knows what the broker has taken.

    `acked` maps what was sent (its `id`) to the loop time of its PUBACK.
    """

    def __init__(self, port: int, client_id: str) -> None:
        self._port = port
        self._client_id = client_id.encode()
        self._next = 0
        self._open: dict[int, str] = {}
        self.acked: dict[str, float] = {}
        self.window = asyncio.Semaphore(1000)

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        variable = b"\x00\x04MQTT\x04\x02\x00\x00" + _string(self._client_id)
        self._writer.write(b"\x10" + _length(len(variable)) + variable)
        answer = await self._reader.readexactly(4)
        assert answer == b"\x20\x02\x00\x00", answer
        self._reading = asyncio.create_task(self._read(), name="publisher")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def send(self, topic: str, payload: bytes, ident: str, *, retain: bool = False) -> None:
        """Hands one message to the broker; `acked` tells when it has taken it."""
        await self.window.acquire()
        self._next = self._next % 65535 + 1
        self._open[self._next] = ident
        variable = _string(topic.encode()) + self._next.to_bytes(2, "big") + payload
        head = 0x32 | int(retain)
        self._writer.write(bytes([head]) + _length(len(variable)) + variable)
        await self._writer.drain()

    async def settled(self, timeout_s: float = 30.0) -> None:
        """All that was sent is taken."""
        await until(lambda: not self._open, timeout_s)

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            head = await self._reader.readexactly(2)
            body = await self._reader.readexactly(head[1])
            if head[0] == 0x40:
                ident = self._open.pop(int.from_bytes(body[:2], "big"))
                self.acked[ident] = loop.time()
                self.window.release()


def press(ident: str) -> bytes:
    return _event("panic.pressed", ident)


def passed(ident: str) -> bytes:
    return _event("access.passed", ident, direction="in", credential=f"card-{ident}")


def _event(event_type: str, ident: str, **more: str) -> bytes:
    now = datetime.now(UTC).isoformat()
    return json.dumps({"type": event_type, "id": ident, "time": now, **more}).encode()


async def _listening(port: int, timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            await writer.wait_closed()
            return


def _string(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


def _length(value: int) -> bytes:
    """The remaining length, MQTT 3.1.1 section 2.2.3."""
    out = bytearray()
    while True:
        value, byte = divmod(value, 128)
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)
