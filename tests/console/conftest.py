"""A real console on a free port, with its neighbours in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from gateway.console import ApiToken, Console, ConsoleSettings, Listen, Role, UserStore
from gateway.model import Site
from tests.console.neighbours import Desk, Fleet, Health, make_devices, make_sites

LOOPBACK = Listen(host="127.0.0.1", port=0)
TOKENS = tuple(ApiToken(role=role, secret=f"{role}-token-of-a-test") for role in Role)
NOW = datetime(2026, 10, 5, 9, 30, tzinfo=UTC)


class SteeredClock:
    """Time that moves when a test says so."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return 1_000.0 + self.passed

    async def sleep(self, seconds: float) -> None:
        self.passed += seconds


class Room:
    """A console at work, and the hands of a test in it."""

    def __init__(self, folder: Path, sites: int, devices: int, **settings: Any) -> None:
        self.clock = SteeredClock()
        self.sites: dict[str, Site] = dict(make_sites(sites))
        self.fleet = Fleet()
        for device in make_devices(self.sites, devices, NOW):
            self.fleet.put(device)
        self.desk = Desk(self.fleet)
        self.health = Health()
        self.in_test: dict[str, datetime] = {}
        self.users = UserStore(folder / "users.json")
        base = ConsoleSettings(
            gateway="zhambyl", listen=LOOPBACK, locale="en", timezone="Asia/Almaty", tokens=TOKENS
        )
        self.console = Console(
            settings=replace(base, **settings),
            fleet=self.fleet,
            alarms=self.desk,
            sites=lambda: self.sites,
            commands=self.desk,
            health=self.health,
            exposition=lambda: b"kuzet_build_info 1\n",
            users=self.users,
            clock=self.clock,
            in_test=lambda: self.in_test,
        )
        self.http: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return self.console.url

    async def ask(
        self, method: str, path: str, role: Role | None = Role.ADMIN, **request: Any
    ) -> tuple[int, Any]:
        """Status and body (JSON as values, else text) of a program's request."""
        headers = dict(request.pop("headers", {}))
        if role is not None:
            headers["Authorization"] = f"Bearer {role}-token-of-a-test"
        async with self.http.request(
            method, self.url + path, headers=headers, allow_redirects=False, **request
        ) as answer:
            json = answer.content_type.endswith("json")
            return answer.status, await (answer.json(content_type=None) if json else answer.text())

    async def get(self, path: str, role: Role | None = Role.ADMIN, **request: Any) -> Any:
        """The body of a successful GET."""
        status, body = await self.ask("GET", path, role, **request)
        assert status == 200, body
        return body

    async def sign_in(self, name: str, password: str, **headers: str) -> aiohttp.ClientResponse:
        """What the form is answered with; the session's cookie is kept."""
        form = {"name": name, "password": password, "next": "/"}
        async with self.http.post(
            f"{self.url}/sign-in",
            data=form,
            headers={"Origin": self.url, **headers},
            allow_redirects=False,
        ) as answer:
            await answer.read()
            return answer


OpenRoom = Callable[..., AbstractAsyncContextManager[Room]]


@pytest.fixture
def open_room(tmp_path: Path) -> OpenRoom:
    @asynccontextmanager
    async def opened(sites: int = 3, devices: int = 15, **settings: Any) -> AsyncIterator[Room]:
        room = Room(tmp_path, sites, devices, **settings)
        serving = asyncio.create_task(room.console.run(), name="console")
        try:
            async with asyncio.timeout(10):
                bound = asyncio.create_task(room.console.serving())
                await asyncio.wait((serving, bound), return_when=asyncio.FIRST_COMPLETED)
                bound.cancel()
            if serving.done():
                serving.result()
            jar = aiohttp.CookieJar(unsafe=True)
            async with aiohttp.ClientSession(cookie_jar=jar) as room.http:
                yield room
        finally:
            serving.cancel()
            await asyncio.wait((serving,), timeout=10)
            assert serving.done()

    return opened


@pytest.fixture
async def room(open_room: OpenRoom) -> AsyncIterator[Room]:
    async with open_room() as opened:
        yield opened
