"""A process that is going to be killed: appends to both lanes, delivers, and prints what it was
promised. `python -m tests.journal.victim FOLDER FIRST_NUMBER`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from gateway.model import Lane
from gateway.ports import Journal
from tests.journal.neighbours import Folder, record

CALLERS = 4


def say(*words: object) -> None:
    os.write(1, (" ".join(str(word) for word in words) + "\n").encode())


async def append(journal: Journal, lane: Lane, caller: int, first: int) -> None:
    """Appends three records at a time, and says so when they are durable."""
    number = first
    while True:
        records = [record(lane, (lane, caller, number + n)) for n in range(3)]
        await journal.append(records)
        say("durable", lane, *(told.record_id for told in records))
        number += 3


async def deliver(journal: Journal, lane: Lane) -> None:
    consumer = journal.consumer("center", lane)
    while True:
        batch = await consumer.batch(50)
        aside = batch[::10]
        await consumer.set_aside(aside, "422", None)
        say("aside", lane, *(stored.record.record_id for stored in aside))
        say("delivered", lane, *(stored.record.record_id for stored in batch))
        await consumer.settle(batch[-1].sequence)


async def main(path: Path, first: int) -> None:
    async with Folder(path).open() as journal, asyncio.TaskGroup() as tasks:
        for lane in Lane:
            tasks.create_task(deliver(journal, lane), name=f"deliver-{lane}")
            for caller in range(CALLERS):
                tasks.create_task(
                    append(journal, lane, caller, first), name=f"append-{lane}-{caller}"
                )


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
