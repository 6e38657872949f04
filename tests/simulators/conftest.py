"""What the simulators' tests share."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def ended_child_watchers() -> Iterator[None]:
    """Python 3.11 waits for each child process in a thread that ends a moment after it."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("asyncio-waitpid-"):
            thread.join(5)
