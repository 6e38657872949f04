"""The center away, wrong and slow in the middle of a stream, the gateway killed in each phase."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.center import Center
from tests.prove.stream import RATE, Stream, assert_all_arrived
from tests.rig import Kuzet, Mosquitto, Publisher

PHASES: tuple[int | str, ...] = ("away", 500, 404, 401, 400, "slow")


@pytest.mark.parametrize(
    ("away_s", "phase_s"), [(2, 2), pytest.param(60, 20, marks=pytest.mark.prove)]
)
async def test_no_answer_of_the_center_loses_anything(
    away_s: int, phase_s: int, tmp_path: Path
) -> None:
    async with Center() as center, Mosquitto(tmp_path / "broker") as broker:
        kuzet = Kuzet(tmp_path / "kuzet", broker=broker.url, center=center.url)
        async with kuzet, Publisher(broker.port, "stream") as publisher:
            stream = Stream(kuzet, publisher)
            async with asyncio.TaskGroup() as group:
                group.create_task(stream.run(), name="stream")
                await stream.more(RATE)
                for phase in PHASES:
                    center.answer = phase
                    await stream.more(RATE * (away_s if phase == "away" else phase_s))
                    await kuzet.kill()
                    kuzet.spawn()
                    center.answer = 202
                    await stream.more(RATE)
                stream.stop()
            await publisher.settled()
            await kuzet.ready()
            # 400 means "never": telemetry refused so waits in quarantine for a person.
            retry = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway", "quarantine", "retry", "opscenter"),
                cwd=kuzet.folder,
                stdout=subprocess.PIPE,
                env={"PYTHONPATH": str(Path(__file__).parent.parent.parent)},
            )
            said, _ = await retry.communicate()
            assert retry.returncode == 0
            await assert_all_arrived(center, stream, kuzet, timeout_s=150)
            print(
                f"\ncenter down {away_s} s, then {PHASES[1:]} for {phase_s} s each: "
                f"{len(stream.sent)} messages, {stream.pressed.total()} presses, 0 lost, "
                f"{center.refused} requests refused, quarantine: {said.decode().strip()}"
            )
