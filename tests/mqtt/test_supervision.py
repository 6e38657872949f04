"""Devices that fall silent are noticed, and never for our own deafness."""

from __future__ import annotations

from adapters.mqtt.dialects.said import Reading
from adapters.mqtt.heard import Heard
from adapters.mqtt.privacy import Pseudonyms
from adapters.mqtt.standing import Standing
from adapters.mqtt.supervision import Supervision
from gateway.model import Device
from tests.mqtt.neighbours import KEY, message, turnstile
from tests.simulated_clock import SimulatedClock

HEARTBEAT_S = 60.0


class Watch:
    """A supervision of the devices, on a clock that the test moves; listening from the start."""

    def __init__(self, *devices: Device) -> None:
        self.clock = SimulatedClock()
        self.standing = Standing([one.device_id for one in devices], Pseudonyms(KEY))
        self.listening_since: float | None = 0.0
        self.supervision = Supervision(self.standing, lambda _: self.listening_since, self.clock)
        self.supervision.watch(devices)

    def hear(self, device_id: str) -> None:
        heard = Heard(message(), self.clock.monotonic())
        self.standing.read(Reading(device_id=device_id, online=True), heard)

    async def pass_by(self, seconds: float) -> list[str]:
        """What is reported meanwhile, in its order."""
        seen = []
        for _ in range(int(seconds)):
            await self.clock.advance(1.0)
            seen += [f"{one.device_id} {one.reason}" for one in self.supervision.sweep()]
        return seen


def gate(number: int = 1, heartbeat_s: float | None = HEARTBEAT_S) -> Device:
    return turnstile(f"gate-{number}", heartbeat_s=heartbeat_s)


async def test_silence_is_late_after_one_and_a_half_heartbeats_and_lost_after_three() -> None:
    watch = Watch(gate())
    await watch.pass_by(10)
    watch.hear("gate-1")
    assert await watch.pass_by(89) == []
    assert await watch.pass_by(1) == ["gate-1 heartbeat_late"]
    assert await watch.pass_by(89) == []
    assert await watch.pass_by(1) == ["gate-1 heartbeat_lost"]


async def test_a_device_that_was_never_heard_is_lost_in_time() -> None:
    watch = Watch(gate())
    assert await watch.pass_by(180) == ["gate-1 heartbeat_late", "gate-1 heartbeat_lost"]


async def test_a_lost_device_stays_reported_until_it_is_heard() -> None:
    watch = Watch(gate())
    await watch.pass_by(180)
    assert await watch.pass_by(130) == ["gate-1 heartbeat_lost"] * 2
    watch.hear("gate-1")
    assert await watch.pass_by(89) == []


async def test_a_device_that_speaks_is_never_reported() -> None:
    watch = Watch(gate())
    for _ in range(20):
        watch.hear("gate-1")
        assert await watch.pass_by(60) == []


async def test_a_device_without_a_heartbeat_is_not_supervised() -> None:
    watch = Watch(gate(heartbeat_s=None))
    assert await watch.pass_by(1000) == []


async def test_nobody_is_blamed_while_we_are_deaf_nor_at_once_after() -> None:
    watch = Watch(gate())
    watch.hear("gate-1")
    watch.listening_since = None
    assert await watch.pass_by(1000) == []
    watch.listening_since = watch.clock.monotonic()
    assert await watch.pass_by(89) == []
    assert "gate-1 heartbeat_late" in await watch.pass_by(60)


async def test_a_reload_keeps_the_time_of_those_that_stay() -> None:
    watch = Watch(gate(1), gate(2))
    await watch.pass_by(60)
    watch.standing.keep(["gate-1", "gate-3"])
    watch.supervision.watch([gate(1), gate(3, heartbeat_s=20.0)])
    watch.hear("gate-3")
    assert await watch.pass_by(31) == ["gate-1 heartbeat_late", "gate-3 heartbeat_late"]
    watch.supervision.watch([gate(1), gate(3, heartbeat_s=600.0)])
    assert await watch.pass_by(60) == []
