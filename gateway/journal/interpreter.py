"""The interpreter's lock: a thread that waits for it beside a busy event loop gets it soon."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

SWITCH_INTERVAL_S = 0.0001
"""CPython asks the lock's holder to let go when a thread has waited this long without a sign; its
own 5 ms need not ever pass, since the event loop gives a sign with each look at its sockets and
has the lock back before the other thread is awake. Beside a loop that was busy for 80 % of the
time, one alarm in a hundred then took 160 to 300 ms, and in one run of six all stood still for half
a minute; with this interval 10 ms, and three to ten times as many records a second."""


@contextmanager
def prompt_turns() -> Iterator[None]:
    """Threads of this process wait at most about SWITCH_INTERVAL_S for their turn, meanwhile."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, SWITCH_INTERVAL_S))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
