"""SIGKILL of the broker: what it acknowledged 100 ms before must arrive; the window is reported."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from tests.center import Center
from tests.peers import until
from tests.rig import Kuzet, Mosquitto, Publisher, press

WINDOW_S = 0.1
"""mosquitto saves a change after its PUBACK: killed within some 5 ms, it may lose it."""


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.prove)])
async def test_a_killed_broker_loses_only_its_window(kills: int, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    in_window = lost_in_window = safe = 0
    async with (
        Center() as center,
        Mosquitto(tmp_path / "broker") as broker,
        Kuzet(tmp_path / "kuzet", broker=broker.url, center=center.url) as kuzet,
    ):
        for kill in range(kills):
            acked: dict[str, float] = {}
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                async with Publisher(broker.port, f"presses-{kill}") as publisher:
                    acked = publisher.acked
                    for number in range(40):
                        ident = f"k{kill}-{number}"
                        button = kuzet.buttons[number % len(kuzet.buttons)]
                        topic = f"kuzet/school-1/{button}/event"
                        await publisher.send(topic, press(ident), ident)
                        await asyncio.sleep(0.005)
                    await until(lambda acked=acked: len(acked) > 35, 20)  # type: ignore[misc]
                    broker.kill()
                    killed_at = loop.time()
            await broker.start()
            await kuzet.ready()
            kept = {i for i, at in acked.items() if at < killed_at - WINDOW_S}
            await until(lambda kept=kept: kept <= center.presses.keys(), 30)  # type: ignore[misc]
            safe += len(kept)
            in_window += len(acked) - len(kept)
            lost_in_window += len(acked.keys() - center.presses.keys())
    assert not center.faults
    print(
        f"\n{kills} kills of the broker: {safe} presses acknowledged 100 ms before, 0 lost; "
        f"{in_window} within the window, {lost_in_window} lost"
    )
