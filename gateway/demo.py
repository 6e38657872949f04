"""`kuzet demo`: a simulated district and operations center, and the gateway that guards it.

The simulators run as a process of their own, as hardware would; nothing is shared but the wire and
the files they write for the gateway to read.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import sys
from pathlib import Path

import aiohttp

from gateway.app import Gateway
from gateway.errors import KuzetError
from gateway.process import add_user

CHECKOUT = Path(__file__).parent.parent
FOLDER = Path("var") / "demo"
CONSOLE = ("127.0.0.1", 8080)
"""Where the console listens; on another port where this one is taken."""
SITES = 12
START_S = 30.0
STOP_S = 5.0

PEOPLE = (("operator", "operator"), ("technician", "technician"), ("admin", "admin"))
"""Demo accounts: name and role. All have the same password, which is printed."""
PASSWORD = "kuzet-demo"  # noqa: S105 -- printed at start, guards simulated hardware


async def run() -> int:
    """Runs until Ctrl-C or SIGTERM; the exit code."""
    if not (CHECKOUT / "simulators").is_dir():
        raise KuzetError("the demo needs the checkout: the installed package has no simulators")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    folder = Path.cwd() / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    # A session of its own: Ctrl-C is ours alone, and the gateway stops before its devices do.
    district = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "simulators", "--sites", str(SITES), "--dir", str(folder)),
        *("--console", _console(), "--until-stdin-closes", "--quiet"),
        cwd=CHECKOUT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        facts = await _facts(district)
        settings = folder / "gateway.toml"
        for name, role in PEOPLE:
            add_user(settings, name, role, PASSWORD)
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
        gateway = Gateway(settings)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(gateway.run(), name="gateway")
            ended = group.create_task(district.wait(), name="district")
            stopped = group.create_task(stop.wait(), name="stop")
            telling = group.create_task(_tell(gateway, facts), name="ready")
            await asyncio.wait((running, ended, stopped), return_when=asyncio.FIRST_COMPLETED)
            gateway.stop()
            await asyncio.wait((running,))
            for task in (ended, stopped, telling):
                task.cancel()
        if not stop.is_set():
            raise KuzetError("the simulated district ended by itself")
    finally:
        await _end(district)
    print("stopped", flush=True)
    return 0


def _console() -> str:
    host, port = CONSOLE
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
        except OSError:
            port = 0
    return f"{host}:{port}"


async def _facts(district: asyncio.subprocess.Process) -> dict[str, object]:
    """What the simulators say once all of them listen."""
    if district.stdout is None:
        raise KuzetError("the simulated district cannot be heard")
    try:
        async with asyncio.timeout(START_S):
            line = await district.stdout.readline()
    except TimeoutError:
        raise KuzetError(f"the simulated district did not start in {START_S:.0f} s") from None
    if not line:
        raise KuzetError("the simulated district did not start: see above")
    facts: dict[str, object] = json.loads(line)
    return facts


async def _tell(gateway: Gateway, facts: dict[str, object]) -> None:
    await gateway.ready()
    names = ", ".join(f"{name} ({role})" for name, role in PEOPLE)
    print(
        f"\nConsole: {gateway.url}\n"
        f"Sign in as {names}; password: {PASSWORD}\n"
        f"{facts['devices']} simulated devices at {SITES} sites; "
        f"the operations center's side: {facts['opscenter']}\n"
        f"break something yourself: {facts['control']} (docs/simulators.md)\n"
        "What is simulated next is told here. Ctrl-C ends all of it.\n",
        flush=True,
    )
    async with aiohttp.ClientSession() as http, http.post(f"{facts['control']}/scenario"):
        pass  # from now on the district tells and does something every few seconds


async def _end(district: asyncio.subprocess.Process) -> None:
    if district.stdin is not None:
        district.stdin.close()
    try:
        async with asyncio.timeout(STOP_S):
            await district.wait()
    except TimeoutError:
        district.kill()
        await district.wait()
