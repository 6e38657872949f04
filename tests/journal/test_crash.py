"""A gateway that is killed: what was promised is there, and comes again with the same id."""

from __future__ import annotations

import asyncio
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections import defaultdict

from gateway.model import Lane
from gateway.ports import Consumer
from tests.journal.contract import all_of, next_batch
from tests.journal.neighbours import Folder, ids

KILLS = 4
LINES = (5, 300)
"""Between which the kill comes: a few milliseconds to half a second of work."""

Said = dict[tuple[str, Lane], list[str]]


async def run_and_kill(folder: Folder, first: int, lines: int) -> Said:
    """Lets the victim say so many lines, kills it, and returns all that it has said."""
    victim: Process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.journal.victim", str(folder.path), str(first), stdout=PIPE
    )
    assert victim.stdout is not None
    said: Said = defaultdict(list)
    try:
        async with asyncio.timeout(60):
            count = 0
            while line := await victim.stdout.readline():
                if line.endswith(b"\n"):  # the last one may be cut short
                    what, lane, *identities = line.decode().split()
                    said[what, Lane(lane)] += identities
                count += 1
                if count == lines:
                    victim.kill()
    finally:
        if victim.returncode is None:
            victim.kill()
        await victim.wait()
    return said


async def test_sigkill_loses_nothing_that_was_promised(folder: Folder) -> None:
    chance = random.Random(20261122)  # noqa: S311 -- picks instants, guards nothing
    durable: dict[Lane, list[str]] = {lane: [] for lane in Lane}
    aside: dict[Lane, set[str]] = {lane: set() for lane in Lane}
    delivered: dict[Lane, set[str]] = {lane: set() for lane in Lane}
    for kill in range(KILLS):
        said = await run_and_kill(folder, kill * 1_000_000, chance.randint(*LINES))
        for lane in Lane:
            durable[lane] += said["durable", lane]
            aside[lane] |= set(said["aside", lane])
            delivered[lane] |= set(said["delivered", lane])
        async with folder.open() as journal:
            for lane in Lane:
                kept = [s.record.record_id for s in await all_of(journal, lane)]
                assert len(set(kept)) == len(kept)
                assert [i for i in kept if i in set(durable[lane])] == durable[lane], "in order"
                consumer = journal.consumer("center", lane)
                found = await consumer.aside(limit=10**6)
                assert aside[lane] <= {a.stored.record.record_id for a in found}
                again = await rest_of(consumer)
                assert kept[len(kept) - len(again) :] == again, "a part of the end, in order"
                assert set(kept) - set(again) <= delivered[lane], "none skipped"
                delivered[lane] |= set(again)
        assert not journal.take_corrupt()


async def rest_of(consumer: Consumer) -> list[str]:
    rest: list[str] = []
    while consumer.backlog().records:
        batch = await next_batch(consumer)
        rest += ids(batch)
        await consumer.settle(batch[-1].sequence)
    return rest
