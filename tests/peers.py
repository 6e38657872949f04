"""Where the tests find real servers and recordings, and how they wait."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

REQUIRED = os.environ.get("KUZET_REQUIRE_PEERS") == "1"
"""CI sets this: a missing peer is then a failure, not a skip."""

PEERS_VENV = Path(__file__).parent.parent / ".venv-peers"
"""Peers from the package index live apart: their dependencies are not the product's."""


def missing(what: str) -> None:
    """Skips the test by name of what is missing, or fails it where every peer is required."""
    if REQUIRED:
        pytest.fail(f"{what} is required here and missing", pytrace=False)
    pytest.skip(f"{what} is missing")


def require(program: str) -> str:
    """The path of a real server's program."""
    # Debian puts servers where a plain user's PATH does not look.
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        missing(program)
    assert path is not None
    return path


def peers_python() -> str:
    """The interpreter that has the peers of `requirements/peers.txt`, such as ipycam."""
    python = PEERS_VENV / "bin" / "python"
    if not python.exists():
        missing("the peers' environment (make test sets it up)")
    return str(python)


def real_data() -> Path:
    """The recordings of real devices; the test is skipped by name where they are absent."""
    default = Path(__file__).parent.parent.parent / "shared" / "data" / "real"
    folder = Path(os.environ.get("KUZET_REAL_DATA", default))
    if not folder.is_dir():
        missing("the recordings of real devices (KUZET_REAL_DATA)")
    return folder


def free_port(host: str = "127.0.0.1") -> int:
    """A port that was free a moment ago: for servers that cannot take port 0 themselves."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


async def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Waits until `condition()` is true; fails the test after `timeout_s`."""
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 -- conditions here are states of real servers
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"not within {timeout_s} s: {condition}")
