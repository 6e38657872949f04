from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from gateway.console import Role
from gateway.console.live import CLIENTS, QUEUE, RESYNC, Feed, Frame, Listener, TooManyClients
from gateway.model import Reason, State
from tests.console.conftest import OpenRoom, Room
from tests.console.neighbours import make_alarm
from tests.peers import until

ADMIN = {"Authorization": "Bearer admin-token-of-a-test"}
BUTTON = "s0001-panic_button-00003"


class Stream:
    """Server-sent events as the WHATWG standard reads them."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def next(self) -> tuple[str, Any] | None:
        """The next event's name and data; None at the end of the stream."""
        name, data = "message", ""
        async with asyncio.timeout(20):
            while line := await self._answer.content.readline():
                field, _, value = line.decode().rstrip("\r\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    data += value
                elif field == "" and data:
                    return name, json.loads(data)
        return None

    async def find(self, name: str) -> Any:
        """The data of the next event of that name; beats and others are passed by."""
        while (event := await self.next()) is not None:
            if event[0] == name:
                return event[1]
        pytest.fail(f"the stream ended without {name}")


@asynccontextmanager
async def listening(room: Room) -> AsyncIterator[Stream]:
    async with room.http.get(f"{room.url}/api/v1/live", headers=ADMIN) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        stream = Stream(answer)
        first = await stream.next()
        assert first == ("beat", {"now": "2026-10-05T09:30:00Z"})
        yield stream


async def test_a_raised_alarm_and_a_changed_device_are_told_as_the_api_shows_them(
    room: Room,
) -> None:
    async with listening(room) as stream:
        room.desk.raise_(make_alarm(1))
        told = await stream.find("alarm")
        assert told == await room.get("/api/v1/alarms/a0001")
        device = room.fleet.device(BUTTON)
        room.fleet.put(replace(device, state=State.OFFLINE, reason=Reason.HEARTBEAT_LOST))
        told = await stream.find("device")
        assert told == await room.get(f"/api/v1/devices/{BUTTON}")


async def test_every_client_hears_every_change(room: Room) -> None:
    async with listening(room) as first, listening(room) as second:
        room.desk.raise_(make_alarm(1))
        assert await first.find("alarm") == await second.find("alarm")


async def test_a_silent_stream_beats(room: Room) -> None:
    async with listening(room) as stream:
        room.clock.passed += 30
        assert await stream.next() == ("beat", {"now": "2026-10-05T09:30:30Z"})


async def test_a_stream_ends_with_its_sign_in(room: Room) -> None:
    room.users.add("aigerim", Role.OPERATOR, "correct horse")
    await room.sign_in("aigerim", "correct horse")
    async with room.http.get(f"{room.url}/api/v1/live") as answer:
        stream = Stream(answer)
        await stream.next()
        room.users.add("aigerim", Role.VIEWER, "another horse")
        room.desk.raise_(make_alarm(1))
        assert await stream.next() is None


async def test_a_client_that_leaves_is_forgotten(room: Room) -> None:
    feed = room.console._context.feed
    async with listening(room):
        assert len(feed._listeners) == 1
    room.desk.raise_(make_alarm(1))
    await until(lambda: not feed._listeners)


async def test_streams_end_when_the_console_stops_and_watchers_go(open_room: OpenRoom) -> None:
    async with open_room() as room:
        assert (room.desk.watchers, room.fleet.watchers) == (1, 1)
        answer = await room.http.get(f"{room.url}/api/v1/live", headers=ADMIN)
        stream = Stream(answer)
        await stream.next()
        (serving,) = (task for task in asyncio.all_tasks() if task.get_name() == "console")
        serving.cancel()
        assert await stream.next() is None
        answer.close()
        async with asyncio.timeout(3):
            await asyncio.wait((serving,))
        assert (room.desk.watchers, room.fleet.watchers) == (0, 0)


# --- the queue -----------------------------------------------------------------------------------


async def test_a_client_that_falls_behind_is_told_to_load_anew_once() -> None:
    listener = Listener()
    for number in range(QUEUE):
        listener.put(Frame("device", str(number)))
    for number in range(10):
        listener.put(Frame("device", f"late {number}"))
    assert await listener.next(1) == RESYNC
    assert await listener.next(1) == Frame("device", "late 1")
    assert len(listener._frames) == 8


async def test_waiting_for_nothing_ends_in_time() -> None:
    listener = Listener()
    assert await listener.next(0.01) is None
    listener.put(Frame("alarm", "{}"))
    assert await listener.next(1) == Frame("alarm", "{}")
    assert await listener.next(0.01) is None


async def test_streams_are_bounded_in_number() -> None:
    feed = Feed()
    contexts = [feed.listening() for _ in range(CLIENTS)]
    for context in contexts:
        context.__enter__()
    with pytest.raises(TooManyClients), feed.listening():
        pass
    contexts[0].__exit__(None, None, None)
    with feed.listening():
        pass


async def test_a_region_going_dark_floods_nobody() -> None:
    feed = Feed()
    with feed.listening() as listener:
        for number in range(17_000):
            feed.publish("alarm", make_alarm(number))
        assert len(listener._frames) <= QUEUE
        assert await listener.next(1) == RESYNC
