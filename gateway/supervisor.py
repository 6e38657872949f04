"""Runs a component for ever: the one place that restarts, and the one that catches everything."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable

from gateway.errors import KuzetError
from gateway.ports import Clock, Metrics

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
"""Soon enough for a press after a fault is mended, rare enough to spare a log."""
STEADY_S = 60.0
"""A component that ran this long has recovered: its next pause is the first one again."""


async def supervise(
    name: str, run: Callable[[], Awaitable[None]], *, clock: Clock, metrics: Metrics
) -> None:
    """Runs `run()` until cancelled; when it fails or returns, starts it anew after a pause that
    doubles, with full jitter. Failures are logged once for each different one in a row."""
    pause = FIRST_PAUSE_S
    last = ""
    while True:
        started = clock.monotonic()
        try:
            await run()
            failure = "returned"
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
            metrics.error("supervisor", name)
            if failure != last:
                # What was raised on purpose says what to mend; anything else is ours to find.
                known = isinstance(error, KuzetError)
                log.error("%s failed, it is started again: %s", name, failure, exc_info=not known)
        if failure == last:
            log.debug("%s failed again: %s", name, failure)
        last = failure
        if clock.monotonic() - started >= STEADY_S:
            pause = FIRST_PAUSE_S
            last = ""
        await clock.sleep(random.uniform(pause / 2, pause))  # noqa: S311 -- spreads load only
        pause = min(2 * pause, LONGEST_PAUSE_S)
