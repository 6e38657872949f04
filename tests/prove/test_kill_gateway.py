"""SIGKILL of the gateway at random instants, under load: nothing is lost, nothing is doubled."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.center import Center
from tests.prove.stream import Stream, assert_all_arrived
from tests.rig import Kuzet, Mosquitto, Publisher


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.prove)])
async def test_a_killed_gateway_loses_nothing(kills: int, tmp_path: Path) -> None:
    chance = random.Random(kills)  # noqa: S311 -- the same instants each time
    async with Center() as center, Mosquitto(tmp_path / "broker") as broker:
        kuzet = Kuzet(tmp_path / "kuzet", broker=broker.url, center=center.url)
        async with kuzet, Publisher(broker.port, "stream") as publisher:
            stream = Stream(kuzet, publisher)
            async with asyncio.TaskGroup() as group:
                group.create_task(stream.run(), name="stream")
                for _ in range(kills):
                    # Up to 2 s: before it is ready, while it catches up, or long after.
                    await stream.more(chance.randrange(1, 400))
                    await kuzet.kill()
                    kuzet.spawn()
                await stream.more(200)
                stream.stop()
            await publisher.settled()
            await kuzet.ready()
            await assert_all_arrived(center, stream, kuzet)
            repeats = sum(count - 1 for count in center.times.values())
            print(
                f"\n{kills} kills: {len(stream.sent)} messages, {stream.pressed.total()} presses, "
                f"0 lost, 0 under a second id, {repeats} deliveries repeated with their id"
            )
