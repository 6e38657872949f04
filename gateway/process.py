"""The gateway as a process: its settings checked, its signals obeyed, its errors told in a line."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

from gateway import check as checking
from gateway.app import Gateway
from gateway.config import load_config
from gateway.console.users import Role, UserStore
from gateway.errors import ConfigError, KuzetError, Problem
from gateway.rooms import USERS_FILE, made_data_dir

log = logging.getLogger(__name__)

STOP_LIMIT_S = 9.5
"""Then the process ends whatever still hangs, such as a disk: what was acknowledged is synced, and
whoever started the gateway would kill it half a second later."""


def check(path: Path) -> Sequence[Problem]:
    """Every mistake in the settings and the inventory at `path`."""
    return checking.check(path)


def add_user(path: Path, name: str, role: str, password: str) -> None:
    """Adds a console account to the data folder of the settings at `path`."""
    config = load_config(path)
    try:
        known = Role(role)
    except ValueError:
        raise KuzetError(f"role {role!r}: choose one of {', '.join(Role)}") from None
    UserStore(made_data_dir(config) / USERS_FILE).add(name, known, password)


def run_gateway(path: Path) -> None:
    """Runs the gateway until SIGTERM or SIGINT. Raises KuzetError with what to mend first."""
    import uvloop

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    problems = check(path)
    if problems:
        raise ConfigError(problems)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run_until_signalled(path))
    except BaseExceptionGroup as several:
        known, unknown = several.split(KuzetError)
        if known is None or unknown is not None:
            raise
        raise _first(known) from None


def _first(error: BaseException) -> BaseException:
    """What makes a start impossible is told in a line, however deep it was found."""
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


async def _run_until_signalled(path: Path) -> None:
    gateway = Gateway(path)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        gateway.stop()
        limit = threading.Timer(STOP_LIMIT_S, _give_up)
        limit.daemon = True
        limit.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, gateway.reload)
    await gateway.run()


def _give_up() -> None:
    log.error("not stopped after %g s: ended as it is, the journal is whole", STOP_LIMIT_S)
    os._exit(1)
