"""The events that an operations center received: each once, in the order of arrival."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from msgspec import Struct

from simulators.opscenter.admission import Batch

REMEMBERED_EVENTS = 50_000
REMEMBERED_IDS = 2_000_000
"""Ids outlive events, so that a repeat is noticed after a long outage too; about 300 MB full."""


class Received(Struct, frozen=True, kw_only=True):
    """An event, once: `number` counts from 1; `webhook_id` is its first delivery's."""

    number: int
    event: Mapping[str, Any]
    received_at: datetime
    webhook_id: str


class Inbox:
    """`duplicates` counts repeats of an id, `conflicts` those of them whose content had changed."""

    def __init__(self) -> None:
        self.received: deque[Received] = deque(maxlen=REMEMBERED_EVENTS)
        self.duplicates = 0
        self.conflicts = 0
        self._ids: OrderedDict[str, int] = OrderedDict()
        self._count = 0
        self._arrived = asyncio.Event()

    def keep(self, batch: Batch) -> None:
        now = datetime.now(UTC)
        for event, digest in zip(batch.events, batch.digests, strict=True):
            known = self._ids.get(event["id"])
            if known is not None:
                self.duplicates += 1
                self.conflicts += known != digest
                continue
            self._ids[event["id"]] = digest
            if len(self._ids) > REMEMBERED_IDS:
                self._ids.popitem(last=False)
            self._count += 1
            self.received.append(
                Received(
                    number=self._count, event=event, received_at=now, webhook_id=batch.webhook_id
                )
            )
        self._arrived.set()

    def of_type(self, type_: str, *, after: int = 0) -> Iterator[Received]:
        """Those of this type or of types below it, behind the number `after`; "": of all types."""
        for one in self._behind(after):
            kind = one.event["type"]
            if not type_ or kind == type_ or kind.startswith(f"{type_}."):
                yield one

    async def wait_for(
        self, wanted: Callable[[Mapping[str, Any]], bool], timeout_s: float
    ) -> Received:
        """The first event that `wanted` accepts. Raises TimeoutError."""
        looked_at = 0
        async with asyncio.timeout(timeout_s):
            while True:
                for one in self._behind(looked_at):
                    if wanted(one.event):
                        return one
                looked_at = self._count
                self._arrived.clear()
                await self._arrived.wait()

    def _behind(self, number: int) -> Iterator[Received]:
        unseen = self._count - number
        return islice(self.received, max(0, len(self.received) - unseen), None)
