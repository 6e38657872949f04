"""A steady stream of messages whose every id is known: what the oracle compares with."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.center import Center
from tests.peers import until
from tests.rig import Kuzet, Publisher, passed, press

RATE = 200
PRESS_EVERY = 20
"""One message in twenty is a press: ten a second, far more than any region has."""


class Stream:
    """Publishes `RATE` messages a second until stopped; every twentieth is a press."""

    def __init__(self, kuzet: Kuzet, publisher: Publisher, prefix: str = "m") -> None:
        self._kuzet = kuzet
        self._publisher = publisher
        self._prefix = prefix
        self._stopped = False
        self.sent: list[str] = []
        self.pressed: Counter[str] = Counter()
        """Presses by button."""

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        number = 0
        while not self._stopped:
            ident = f"{self._prefix}-{number}"
            if number % PRESS_EVERY == 0:
                button = self._kuzet.buttons[number // PRESS_EVERY % len(self._kuzet.buttons)]
                self.pressed[button] += 1
                topic, payload = f"kuzet/school-1/{button}/event", press(ident)
            else:
                device = self._kuzet.turnstiles[number % len(self._kuzet.turnstiles)]
                topic, payload = f"kuzet/school-1/{device}/event", passed(ident)
            self.sent.append(ident)
            await self._publisher.send(topic, payload, ident)
            number += 1
            await asyncio.sleep(max(0.0, started + number / RATE - loop.time()))

    async def more(self, count: int) -> None:
        """Waits until `count` more messages were sent."""
        target = len(self.sent) + count
        await until(lambda: len(self.sent) >= target, 60 + count / RATE)

    def stop(self) -> None:
        self._stopped = True


async def assert_all_arrived(
    center: Center, stream: Stream, kuzet: Kuzet, *, timeout_s: float = 90.0
) -> None:
    """0 lost, every record under one id, and each button's presses counted in exactly one alarm."""
    await until(lambda: all(ident in center.ids_of for ident in stream.sent), timeout_s)
    doubled = {own: ids for own, ids in center.ids_of.items() if len(ids) > 1}
    assert not doubled, f"{len(doubled)} messages under more than one id"
    assert not center.faults, center.faults[:3]

    def counted() -> dict[str, int]:
        counts: dict[str, int] = {}
        for event in center.events.values():
            if event["type"].startswith("kz.kuzet.alarm."):
                alarm = event["data"]
                counts[alarm["device_id"]] = max(counts.get(alarm["device_id"], 0), alarm["count"])
        return counts

    await until(lambda: all(counted().get(b) == n for b, n in stream.pressed.items()), timeout_s)
    raised = center.of_type("alarm.raised")
    alarms = {e["data"]["alarm_id"] for e in raised if e["data"]["condition"] == "panic"}
    assert len(alarms) == len(stream.pressed), "one alarm a button"
    shown = (await kuzet.get("/api/v1/alarms?limit=500"))["items"]
    panics = {a["device_id"]: a["count"] for a in shown if a["condition"] == "panic"}
    assert panics == dict(stream.pressed)
