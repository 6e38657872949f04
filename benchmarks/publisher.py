"""Publishes turnstile passes with QoS 1, in a process of its own.

`python -m benchmarks.publisher PORT COUNT RATE`: RATE 0 is as fast as the broker takes them.
"""

from __future__ import annotations

import asyncio
import sys
import time

from tests.rig import Publisher, passed

TURNSTILES = 8


async def publish(port: int, count: int, rate: float) -> None:
    async with Publisher(port, f"bench-{time.monotonic_ns()}") as publisher:
        started = time.monotonic()
        for number in range(count):
            device = f"turnstile-{number % TURNSTILES}"
            ident = f"{started}-{number}"
            await publisher.send(f"kuzet/school-1/{device}/event", passed(ident), ident)
            if rate and number % 10 == 9:
                ahead = started + number / rate - time.monotonic()
                if ahead > 0:
                    await asyncio.sleep(ahead)
        await publisher.settled(60)


if __name__ == "__main__":
    asyncio.run(publish(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
