"""What holds for every test: nothing may be left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

ALLOWED_THREADS = ("asyncio_", "ThreadPoolExecutor-")
"""Workers of the loop's own executor: they are joined when the loop closes."""


def _sockets() -> set[str]:
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


@pytest.fixture(autouse=True)
def no_leaked_threads_or_processes() -> Iterator[None]:
    """Fails a test that leaves a thread, a child process or a socket behind."""
    threads = set(threading.enumerate())
    children = {child.pid for child in psutil.Process().children()}
    sockets = _sockets()
    yield
    for thread in set(threading.enumerate()) - threads:
        # Python 3.11 waits for each child process in a thread that ends a moment after it.
        if thread.name.startswith("asyncio-waitpid-"):
            thread.join(5)
    left = [
        thread.name
        for thread in set(threading.enumerate()) - threads
        if thread.is_alive() and not thread.name.startswith(ALLOWED_THREADS)
    ]
    assert not left, f"threads left running: {left}"
    alive = [
        child
        for child in psutil.Process().children()
        if child.pid not in children and child.status() != psutil.STATUS_ZOMBIE
    ]
    assert not alive, f"processes left running: {alive}"
    assert not (_sockets() - sockets), "sockets left open"


@pytest_asyncio.fixture(autouse=True)
async def no_leaked_tasks() -> AsyncIterator[None]:
    """Fails a test that leaves a task running."""
    before = asyncio.all_tasks()
    yield
    ours = {asyncio.current_task()}
    left = [task for task in asyncio.all_tasks() - before - ours if not task.done()]
    assert not left, f"tasks left running: {left}"
