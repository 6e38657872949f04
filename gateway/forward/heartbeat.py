"""The gateway's sign of life: its absence is the center's dead-man signal."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.forward.outlet import Outlet
from gateway.model import Lane
from gateway.ports import Backlog, Clock

PERIOD_S = 30.0
"""Contract, "To the operations center"."""


async def heartbeat(
    outlet: Outlet, backlog: Callable[[], Mapping[Lane, Backlog]], clock: Clock
) -> None:
    """Tells the sink at once and then every 30 s, for ever; a failure changes nothing."""
    due = clock.monotonic()
    while True:
        await outlet.heartbeat(backlog())
        due += PERIOD_S
        await clock.sleep(max(due - clock.monotonic(), 0.0))
