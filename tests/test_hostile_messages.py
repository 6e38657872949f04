"""Bytes that nobody can read stop nothing, and on a panic device a technician hears of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.center import Center
from tests.peers import until
from tests.rig import Kuzet, Mosquitto, Publisher, press

HOSTILE = (
    b"[" * 5000,
    b"\xff\xfe\x00press",
    b'{"type": "panic.pressed", "id": "x", "id": "y"}',
    b"",
    b'{"type": 17}',
    b'{"type": "panic.pressed", "time": "yesterday"',
)


async def test_hostile_messages_stop_nothing(tmp_path: Path) -> None:
    async with (
        Center() as center,
        Mosquitto(tmp_path / "broker") as broker,
        Kuzet(tmp_path / "kuzet", broker=broker.url, center=center.url) as kuzet,
        Publisher(broker.port, "hostile") as publisher,
    ):
        for device in (kuzet.buttons[0], kuzet.turnstiles[0]):
            for number, payload in enumerate(HOSTILE):
                topic = f"kuzet/school-1/{device}/event"
                await publisher.send(topic, payload, f"{device}-{number}")
        await publisher.send("kuzet/school-1/nobody/event", press("lost"), "nobody")
        await publisher.send("kuzet/school-1/button-1/surprise", b"?", "surprise")
        await publisher.send("kuzet/school-1/button-0/event", press("after"), "after")
        await until(lambda: "after" in center.presses, 10)

        def unreadable(answer: Any) -> list[tuple[str, int]]:
            return [
                (item["device_id"], item["count"])
                for item in answer["items"]
                if item["condition"] == "unreadable_message"
            ]

        expected = [("button-0", len(HOSTILE))]
        items = await kuzet.shows(
            "/api/v1/alarms?audience=technician", lambda answer: unreadable(answer) == expected
        )
        assert unreadable(items) == expected
        assert await kuzet.metric("kuzet_errors_total") >= 2 * len(HOSTILE) + 2
        assert not center.faults
