"""Whatever a consumer does in whatever order: cursors, asides and backlogs are a plain model's."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.journal import SqliteJournal
from gateway.journal import lane as lane_module
from gateway.journal.tail import Tail
from gateway.model import Lane, Stored
from tests.journal.contract import all_of, next_batch
from tests.journal.neighbours import Folder, ids, names, passage
from tests.simulated_clock import START

LANE = Lane.TELEMETRY

Step = tuple[str, int]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 12)),
        st.tuples(st.just("append known"), st.integers(0, 30)),
        st.tuples(st.just("batch"), st.integers(1, 8)),
        st.tuples(st.just("settle"), st.integers(0, 40)),
        st.tuples(st.just("set aside"), st.integers(0, 40)),
        st.tuples(st.just("quarantine"), st.integers(0, 40)),
        st.tuples(st.just("release"), st.integers(0, 40)),
        st.tuples(st.just("expire"), st.integers(0, 40)),
        st.tuples(st.just("new life"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=40,
)


class Model:
    """What should be: every record is its number; sequences are looked up when needed."""

    def __init__(self) -> None:
        self.lane: list[int] = []
        self.appended = 0
        self.settled = -1
        self.handed_out = -1
        self.aside: dict[int, bool] = {}

    def unsettled(self) -> list[int]:
        return [n for n in self.lane if n > self.settled]

    def backlog(self) -> set[int]:
        return {*self.unsettled(), *(n for n, timed in self.aside.items() if timed)}

    def ahead(self) -> list[int]:
        return [n for n in self.lane if n > self.handed_out]

    def expired(self, upto: int) -> list[int]:
        in_hand = range(self.settled + 1, self.handed_out + 1)
        return [n for n in self.lane if n < upto and n not in in_hand and n not in self.aside]


class Run:
    """Does the steps to a journal and to the model, and compares."""

    def __init__(self, folder: Folder) -> None:
        self.model = Model()
        self._folder = folder
        self._stack = AsyncExitStack()
        self._known: dict[int, Stored] = {}

    async def open(self) -> None:
        self._journal: SqliteJournal = await self._stack.enter_async_context(self._folder.open())
        self.consumer = self._journal.consumer("center", LANE)

    async def close(self) -> None:
        await self._stack.aclose()

    async def do(self, step: str, number: int) -> None:
        model, consumer = self.model, self.consumer
        match step:
            case "append":
                await self._append(range(model.appended, model.appended + number))
            case "append known" if number in model.lane:
                await self._append([number, number])
            case "batch" if model.ahead():
                expected = model.ahead()[:number]
                batch = await next_batch(consumer, number)
                assert ids(batch) == names(*expected)
                model.handed_out = expected[-1]
            case "settle" if number in model.lane and number <= model.handed_out:
                await consumer.settle(self._known[number].sequence)
                model.settled = max(model.settled, number)
            case "set aside" | "quarantine" if number in model.lane:
                timed = step == "set aside"
                retry_at = START if timed else None
                await consumer.set_aside([self._known[number]], step, retry_at)
                model.aside[number] = timed
            case "release":
                known = self._known.get(number)
                await consumer.release([known.sequence if known else 10**9])
                model.aside.pop(number, None)
            case "expire":
                await self._expire(number)
            case "new life":
                self.consumer = self._journal.consumer("center", LANE)
                model.handed_out = model.settled
            case "restart":
                await self.close()
                await self.open()
                model.handed_out = model.settled
        await self.compare()

    async def compare(self) -> None:
        model, backlog = self.model, self.consumer.backlog()
        assert backlog.records == len(model.backlog())
        assert backlog.oldest == min((_at(n) for n in model.backlog()), default=None)
        asides = await self.consumer.aside()
        assert ids([aside.stored for aside in asides]) == names(*sorted(model.aside))
        due = await self.consumer.aside(due=START)
        timed = sorted(n for n, timed in model.aside.items() if timed)
        assert ids([aside.stored for aside in due]) == names(*timed)

    async def _append(self, numbers: Sequence[int]) -> None:
        told = await self._journal.append([passage(n, at=_at(n)) for n in numbers])
        assert list(told) == [n >= self.model.appended for n in numbers]
        new = [n for n in numbers if n >= self.model.appended]
        self.model.lane += new
        self.model.appended += len(new)
        stored = await all_of(self._journal, LANE)
        assert ids(stored) == names(*self.model.lane)
        self._known.update(zip(self.model.lane, stored, strict=True))

    async def _expire(self, upto: int) -> None:
        expired = self.model.expired(upto)
        # As if it were thirty days after the last of them.
        self._folder.clock.jump(_at(upto) + timedelta(days=30) - self._folder.clock.now())
        assert await self._journal.sweep() == len(expired)
        self.model.lane = [n for n in self.model.lane if n not in expired]


def _at(number: int) -> datetime:
    return START + timedelta(seconds=number)


@given(steps=steps, tail=st.sampled_from([0, 3, 1000]))
@settings(max_examples=60, deadline=None)
async def test_in_any_order(steps: list[Step], tail: int) -> None:
    with (
        tempfile.TemporaryDirectory() as name,
        patch.object(lane_module, "Tail", functools.partial(Tail, limit=tail)),
    ):
        run = Run(Folder(Path(name)))
        await run.open()
        try:
            for step, number in steps:
                await run.do(step, number)
            rest = run.model.ahead()
            if rest:
                assert ids(await next_batch(run.consumer)) == names(*rest)
        finally:
            await run.close()
