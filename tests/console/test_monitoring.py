from __future__ import annotations

import pytest

from gateway.console import Listen
from tests.console.conftest import OpenRoom, Room


async def test_readiness_tells_every_check_and_fails_by_required_ones_only(room: Room) -> None:
    ready = await room.get("/readyz", role=None)
    assert ready["ready"] is True
    assert ready["checks"][1] == {
        "name": "broker",
        "ok": False,
        "required": False,
        "detail": "connection refused",
    }
    room.health.journal_writable = False
    status, unready = await room.ask("GET", "/readyz", None)
    assert (status, unready["ready"], unready["checks"][0]["ok"]) == (503, False, False)


async def test_monitoring_needs_no_sign_in(room: Room) -> None:
    assert await room.get("/healthz", role=None) == {"alive": True}
    async with room.http.get(f"{room.url}/metrics") as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert await answer.read() == b"kuzet_build_info 1\n"
    async with room.http.head(f"{room.url}/healthz") as answer:
        assert answer.status == 200


async def test_with_a_listener_of_its_own_monitoring_leaves_the_console(
    open_room: OpenRoom,
) -> None:
    async with open_room(metrics=Listen(host="127.0.0.1", port=0)) as room:
        apart = room.console.metrics_address
        assert apart is not None
        assert apart.port != room.console.address.port  # type: ignore[union-attr] # it listens
        for path in ("/healthz", "/readyz", "/metrics"):
            async with room.http.get(f"http://127.0.0.1:{apart.port}{path}") as answer:
                assert answer.status == 200
            assert (await room.ask("GET", path))[0] == 404
        for path in ("/", "/api/v1/alarms", "/sign-in"):
            async with room.http.get(f"http://127.0.0.1:{apart.port}{path}") as answer:
                assert answer.status == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_a_wrong_token_does_not_stop_monitoring(room: Room, path: str) -> None:
    headers = {"Authorization": "Bearer wrong"}
    assert (await room.ask("GET", path, None, headers=headers))[0] == 200
