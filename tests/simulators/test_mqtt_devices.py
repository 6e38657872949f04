"""The simulated MQTT devices on real brokers, seen by an independent client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from simulators.broker import DemoBroker
from simulators.mqtt import (
    Dialect,
    Direction,
    Intercom,
    MqttFault,
    NoPower,
    NotSaid,
    PanicButton,
    Turnstile,
)
from tests.rig import Mosquitto
from tests.simulators.mqtt_observer import Observer

EVENT = "kuzet/school-1/button-1/event"
STATUS = "kuzet/school-1/button-1/status"


@pytest.fixture(params=["amqtt", "mosquitto"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    server = DemoBroker() if request.param == "amqtt" else Mosquitto(tmp_path)
    async with server:
        yield server.url


def _button(broker: str, dialect: Dialect = Dialect.NATIVE) -> PanicButton:
    return PanicButton(
        broker=broker, site_id="school-1", device_id="button-1", dialect=dialect, heartbeat_s=0.2
    )


async def test_a_button_announces_itself_and_a_press_has_id_time_and_number(broker: str) -> None:
    async with Observer(broker) as observer, _button(broker) as button:
        first, second = await button.press(), await button.press()
        (status,) = await observer.see(STATUS)
        assert status.body == {"online": True, "battery": 0.97}
        presses = await observer.see(EVENT, 2)
        assert [press.body["seq"] for press in presses] == [1, 2]
        assert [press.body["id"] for press in presses] == [first.id, second.id]
        assert {press.body["type"] for press in presses} == {"panic.pressed"}
        assert {press.qos for press in presses} == {1}
        told = datetime.fromisoformat(presses[0].body["time"])
        assert abs(told - datetime.now(UTC)) < timedelta(minutes=1)
        assert len(await observer.see("kuzet/school-1/button-1/heartbeat", 2)) >= 2


async def test_the_status_is_retained_and_the_last_will_replaces_it(broker: str) -> None:
    async with _button(broker) as button:
        async with Observer(broker, "early") as observer:
            (status,) = await observer.see(STATUS)
            assert (status.retained, status.body["online"]) == (True, True)
            await button.fail(MqttFault.UNPLUGGED)
            await observer.see(STATUS, 2)
        async with Observer(broker, "late") as observer:
            for status in await observer.see(STATUS):  # amqtt sends a retained will twice
                assert (status.retained, status.body) == (True, {"online": False})
        with pytest.raises(NoPower):
            await button.press()
        await button.recover()
        await button.ready()
        await button.press()


async def test_a_goodbye_sends_no_last_will(broker: str) -> None:
    async with Observer(broker) as observer:
        async with _button(broker):
            pass
        async with _button(broker) as again:
            await again.press()
            await observer.see(EVENT)
        assert all(status.body["online"] for status in observer.of(STATUS))


async def test_faults_of_the_message(broker: str) -> None:
    async with Observer(broker) as observer, _button(broker) as button:
        await button.fail(MqttFault.NO_CLOCK)
        await button.press()
        await button.recover()
        await button.fail(MqttFault.REUSED_ID)
        await button.press()
        await button.press()
        await button.fail(MqttFault.SAME_BYTES)
        await button.press()
        await button.press()
        seen = await observer.see(EVENT, 5)
        assert seen[0].body["time"].startswith("1970-01-01T00:")
        assert seen[1].body["id"] == seen[2].body["id"]
        assert seen[1].body["time"] != seen[2].body["time"]
        assert seen[3].raw == seen[4].raw == b'{"type":"panic.pressed"}'


async def test_a_low_battery_is_told_and_ends(broker: str) -> None:
    async with Observer(broker) as observer, _button(broker) as button:
        await button.fail(MqttFault.LOW_BATTERY)
        await button.recover()
        levels = [status.body["battery"] for status in await observer.see(STATUS, 3)]
        assert levels == [0.97, 0.06, 0.97]
        types = [event.body["type"] for event in await observer.see(EVENT, 2)]
        assert types == ["battery.low", "battery.ok"]


async def test_a_zigbee_button_takes_its_action_back(broker: str) -> None:
    async with Observer(broker) as observer, _button(broker, Dialect.ZIGBEE2MQTT) as button:
        await button.press()
        await observer.see("zigbee2mqtt/button-1", 3)
        actions = [one.body["action"] for one in observer.seen if "action" in one.body]
        assert actions[:2] == ["emergency", ""]
        assert observer.of("zigbee2mqtt/button-1/availability")[0].body == {"state": "online"}
        with pytest.raises(NotSaid):
            await button.release()


async def test_a_sticky_zigbee_button_says_sos_for_ever(broker: str) -> None:
    async with Observer(broker) as observer, _button(broker, Dialect.ZIGBEE2MQTT) as button:
        await button.fail(MqttFault.STICKY_SOS)
        await button.press()
        before = len(observer.seen)
        await observer.see("zigbee2mqtt/button-1", before + 2)
        last = observer.of("zigbee2mqtt/button-1")[-2:]
        assert [one.body.get("sos") for one in last] == [True, True]


async def test_turnstile_and_intercom(broker: str) -> None:
    async with (
        Observer(broker) as observer,
        Turnstile(broker=broker, site_id="s", device_id="t") as turnstile,
        Intercom(broker=broker, site_id="s", device_id="i") as intercom,
    ):
        await turnstile.let_pass("0012345678", Direction.OUT)
        await turnstile.force()
        await intercom.call()
        await intercom.force_door()
        passed, forced = await observer.see("kuzet/s/t/event", 2)
        assert passed.body["type"] == "access.passed"
        assert (passed.body["direction"], passed.body["credential"]) == ("out", "0012345678")
        assert forced.body["type"] == "access.forced"
        called, door = await observer.see("kuzet/s/i/event", 2)
        assert (called.body["type"], door.body["type"]) == ("intercom.called", "door.forced")


async def test_a_press_outlives_an_outage_of_a_real_broker(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path) as mosquitto, _button(mosquitto.url) as button:
        mosquitto.kill()
        press = asyncio.create_task(button.press())
        await mosquitto.start()
        async with Observer(mosquitto.url) as observer:
            async with asyncio.timeout(20):
                said = await press
            (seen,) = await observer.see(EVENT)
            assert seen.body["id"] == said.id
