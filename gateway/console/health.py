"""What monitoring asks, without signing in: alive, ready, and the metrics."""

from __future__ import annotations

import msgspec
from aiohttp import web

from gateway.console.context import CONTEXT

EXPOSITION_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format."""


async def alive(_: web.Request) -> web.Response:
    """An answer is the whole proof: the loop that runs everything runs."""
    return web.json_response({"alive": True})


async def ready(request: web.Request) -> web.Response:
    """Every check with its outcome; 503 when a required one fails."""
    readiness = request.app[CONTEXT].health()
    body = {"ready": readiness.ready, "checks": readiness.checks}
    return web.Response(
        body=msgspec.json.encode(body),
        status=200 if readiness.ready else 503,
        content_type="application/json",
    )


async def metrics(request: web.Request) -> web.Response:
    return web.Response(
        body=request.app[CONTEXT].exposition(), headers={"Content-Type": EXPOSITION_TYPE}
    )
