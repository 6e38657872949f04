"""An operations center as the proofs need it: it knows what arrived, how often, and can fail.

Every signature is checked (Standard Webhooks), every batch has to be well-formed: a wrong one is
kept in `faults`, and each proof asserts that there are none.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections import Counter
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.rig import SECRET


class Center:
    """A receiver on a port of its own that answers 202, or what `answer` says.

    `answer` is a status, `"slow"` (2 s for each answer) or `"away"` (the connection is closed).
    """

    def __init__(self) -> None:
        self.answer: int | str = 202
        self.times: Counter[str] = Counter()
        """How often each event id was accepted."""
        self.events: dict[str, dict[str, Any]] = {}
        """Each accepted event by its id, as it came first."""
        self.arrived: dict[str, float] = {}
        """Loop time of each id's first acceptance."""
        self.ids_of: dict[str, set[str]] = {}
        """The event ids under which each device's own id (`attributes.id`) was accepted."""
        self.presses: dict[str, dict[str, Any]] = {}
        """Presses by the button's own id."""
        self.faults: list[str] = []
        self.refused = 0
        self._runner: web.AppRunner | None = None
        self._key = base64.b64decode(SECRET.removeprefix("whsec_"))
        self.url = ""

    def of_type(self, name: str) -> list[dict[str, Any]]:
        """Accepted events whose type ends in `name`, once each."""
        return [event for event in self.events.values() if event["type"].endswith(name)]

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/events", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/events"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.answer == "away":
            self.refused += 1
            assert request.transport is not None
            request.transport.close()
            return web.Response(status=500)
        if self.answer == "slow":
            await asyncio.sleep(2)
        elif self.answer != 202:
            self.refused += 1
            return web.Response(status=int(self.answer))
        self._check(request, body)
        batch = await request.json()
        lanes = {event.get("lane") for event in batch}
        if len(lanes) != 1:
            self.faults.append(f"a batch of {len(lanes)} lanes")
        for event in batch:
            self._accept(event)
        return web.Response(status=202)

    def _check(self, request: web.Request, body: bytes) -> None:
        ident = request.headers.get("webhook-id", "")
        stamp = request.headers.get("webhook-timestamp", "0")
        signed = f"{ident}.{stamp}.".encode() + body
        digest = hmac.new(self._key, signed, hashlib.sha256).digest()
        expected = "v1," + base64.b64encode(digest).decode()
        if expected not in request.headers.get("webhook-signature", "").split(" "):
            self.faults.append("a wrong signature")
        if abs(time.time() - int(stamp)) > 300:
            self.faults.append("a time stamp off by more than five minutes")
        if request.content_type != "application/cloudevents-batch+json":
            self.faults.append(f"content type {request.content_type}")

    def _accept(self, event: dict[str, Any]) -> None:
        ident = event["id"]
        self.times[ident] += 1
        if ident not in self.events:
            self.events[ident] = event
            self.arrived[ident] = asyncio.get_running_loop().time()
        own = event.get("data", {}).get("attributes", {}).get("id")
        if own is not None:
            self.ids_of.setdefault(own, set()).add(ident)
            if event["type"].endswith("panic.pressed"):
                self.presses[own] = event
