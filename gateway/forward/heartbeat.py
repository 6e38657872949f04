"""The gateway's sign of life: its absence is the center's dead-man signal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from gateway.forward.outlet import Outlet
from gateway.model import Lane
from gateway.ports import Backlog, Clock

log = logging.getLogger(__name__)

PERIOD_S = 30.0
"""Contract, "To the operations center"."""


async def heartbeat(
    outlet: Outlet, backlog: Callable[[], Mapping[Lane, Backlog]], clock: Clock
) -> None:
    """Tells the sink at once and then every 30 s, for ever; a failure changes nothing."""
    failing = False
    due = clock.monotonic()
    while True:
        error = await outlet.heartbeat(backlog())
        if error is not None and not failing:
            log.warning("no heartbeat: sink=%s error=%s", outlet.sink, error)
        elif error is None and failing:
            log.info("heartbeat again: sink=%s", outlet.sink)
        failing = error is not None
        due += PERIOD_S
        await clock.sleep(max(due - clock.monotonic(), 0.0))
