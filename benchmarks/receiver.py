"""A receiver that only counts, in a process of its own: `python -m benchmarks.receiver PORT`.

It reads CloudEvents batches and keeps each id once. `GET /` tells the count and the times (seconds
since 1970) at which each press arrived.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import msgspec
from aiohttp import web


class Attributes(msgspec.Struct):
    seq: int = -1


class Data(msgspec.Struct):
    attributes: Attributes = msgspec.field(default_factory=Attributes)


class CloudEvent(msgspec.Struct):
    id: str
    type: str
    data: Data = msgspec.field(default_factory=Data)


decode = msgspec.json.Decoder(list[CloudEvent]).decode


async def serve(port: int) -> None:
    seen: set[str] = set()
    presses: dict[int, float] = {}
    last = 0.0

    async def take(request: web.Request) -> web.Response:
        nonlocal last
        now = time.time()
        for event in decode(await request.read()):
            if event.type.endswith("panic.pressed"):
                presses.setdefault(event.data.attributes.seq, now)
            elif event.type.startswith("kz.kuzet.event.access") and event.id not in seen:
                seen.add(event.id)
                last = now
        return web.Response(status=202)

    async def tell(_: web.Request) -> web.Response:
        body: dict[str, Any] = {"count": len(seen), "last": last, "presses": presses}
        return web.json_response(body)

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/", take)
    app.router.add_get("/", tell)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
