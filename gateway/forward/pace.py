"""When to try again: the pauses of both lanes, and waiting that can be cut short."""

from __future__ import annotations

import asyncio
import random

from gateway.errors import DeliveryError, EndpointFault, Permanent, Retryable, TooLarge
from gateway.ports import Clock

ALARM_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0)
"""After the first failure, the second, … and then for ever the last (contract, answer table)."""

REFUSED_PAUSE_S = 60.0
"""An alarm that was refused is offered again this often: the center may have been mended."""

PROBE_PAUSE_S = 60.0
"""The telemetry lane asks an endpoint at fault this often whether it is well again."""

LONGEST_BACKOFF_S = 60.0
"""The telemetry lane's longest pause of its own accord."""

SHORTEST_RETRY_AFTER_S = 1.0
"""`Retry-After: 0` must not become a loop without pause."""


def alarm_pause(error: DeliveryError, failures: int) -> float:
    """Seconds until an alarm that failed `failures` times (1, 2, …) is tried again."""
    if isinstance(error, Permanent | TooLarge):
        return REFUSED_PAUSE_S
    if isinstance(error, Retryable) and error.retry_after is not None:
        return min(max(error.retry_after, SHORTEST_RETRY_AFTER_S), ALARM_PAUSES_S[-1])
    if failures < len(ALARM_PAUSES_S):
        return ALARM_PAUSES_S[failures - 1]
    return jittered(ALARM_PAUSES_S[-1])


def telemetry_pause(error: DeliveryError, failures: int) -> float:
    """Seconds until the telemetry lane tries again after its `failures`-th failure in a row."""
    if isinstance(error, EndpointFault):
        return PROBE_PAUSE_S
    if isinstance(error, Retryable) and error.retry_after is not None:
        return max(error.retry_after, SHORTEST_RETRY_AFTER_S)
    # 2**6 s is beyond the longest pause already; a larger power only grows a number.
    return jittered(min(2.0 ** min(failures - 1, 6), LONGEST_BACKOFF_S))


def jittered(seconds: float) -> float:
    """Up to a fifth less, so that gateways and records do not come back in step; never more."""
    return seconds * random.uniform(0.8, 1.0)  # noqa: S311 -- spreads retries, guards nothing


async def sleep_or_woken(clock: Clock, seconds: float, woken: asyncio.Event) -> None:
    """Returns after `seconds` or when `woken` is set, which it then clears."""
    async with asyncio.TaskGroup() as either:
        sleeping = either.create_task(clock.sleep(seconds), name="sleeping")
        waking = either.create_task(woken.wait(), name="waking")
        await asyncio.wait((sleeping, waking), return_when=asyncio.FIRST_COMPLETED)
        sleeping.cancel()
        waking.cancel()
    woken.clear()
