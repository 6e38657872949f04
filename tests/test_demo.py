"""`make run` as a newcomer sees it: everything starts, something happens, Ctrl-C leaves nothing."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import psutil

ROOT = Path(__file__).parent.parent


async def answer_when(
    http: aiohttp.ClientSession, url: str, wanted: Callable[[Any], bool], timeout_s: float = 30
) -> Any:
    """What `url` answers once it is as wanted."""
    async with asyncio.timeout(timeout_s):
        while True:
            async with http.get(url) as response:
                assert response.status == 200, await response.text()
                answer = await response.json()
            if wanted(answer):
                return answer
            await asyncio.sleep(0.1)


async def test_the_demo_runs_and_leaves_nothing(tmp_path: Path) -> None:
    demo = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "demo"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    family: list[psutil.Process] = []
    try:
        assert demo.stdout is not None
        said = ""
        async with asyncio.timeout(60):
            while "Ctrl-C" not in said:
                line = await demo.stdout.readline()
                assert line, said
                said += line.decode()
        family = psutil.Process(demo.pid).children(recursive=True)
        assert len(family) >= 2, "the district and its broker"
        [console] = re.findall(r"^Console: (http://\S+)$", said, re.MULTILINE)
        [control] = re.findall(r"yourself: (http://\S+) ", said)
        token = (tmp_path / "var" / "demo" / "api.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(headers=headers) as http:
            devices = f"{console}/api/v1/devices?limit=500"
            up = await answer_when(
                http,
                devices,
                lambda answer: sum(d["state"] == "online" for d in answer["items"]) >= 20,
            )
            camera = next(d["device_id"] for d in up["items"] if d["kind"] == "camera")
            button = next(d["device_id"] for d in up["items"] if d["kind"] == "panic_button")

            async with http.post(f"{control}/devices/{button}/press") as response:
                assert response.status == 200, await response.text()
            received = f"{control}/opscenter/received?type=kz.kuzet.event.panic.pressed"
            await answer_when(http, received, lambda answer: button in str(answer))

            async with http.post(
                f"{control}/devices/{camera}/fault", json={"fault": "down"}
            ) as response:
                assert response.status == 200, await response.text()
            one = f"{console}/api/v1/devices/{camera}"
            dead = await answer_when(http, one, lambda answer: answer["state"] == "offline")
            assert dead["reason"] == "refused"
            async with http.post(
                f"{control}/devices/{camera}/fault", json={"fault": None}
            ) as response:
                assert response.status == 200, await response.text()
            await answer_when(http, one, lambda answer: answer["state"] == "online")
        demo.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            rest = await demo.stdout.read()
            assert await demo.wait() == 0, rest.decode()
        assert "stopped" in rest.decode()
        _, alive = psutil.wait_procs(family, timeout=5)
        assert not alive
    finally:
        if demo.returncode is None:
            demo.kill()
            await demo.wait()
        for process in psutil.wait_procs(family, timeout=5)[1]:
            process.kill()
