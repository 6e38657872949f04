"""The session on a real broker: always connected, its identity never guessed, its filters held."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from adapters.mqtt import durable
from adapters.mqtt import session as session_module
from adapters.mqtt.message import acknowledge
from tests.mqtt.session_rig import TOPIC, Rig, publish, state_of
from tests.peers import until
from tests.rig import ALARM_CONF, Mosquitto, Publisher

VOLATILE_CONF = ALARM_CONF.replace("persistence true", "persistence false")
"""A broker that forgets everything when it stops."""


async def test_a_message_arrives_with_all_its_facts(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path / "broker") as broker:
        rig = Rig(tmp_path, broker.port)
        async with rig.running():
            await publish(broker, b"press")
            await until(lambda: rig.messages)
    [message] = rig.messages
    assert (message.topic, message.payload, message.size) == (TOPIC.encode(), b"press", 5)
    assert (message.qos, message.dup, message.retained) == (1, False, False)
    assert message.packet_id > 0
    assert rig.metrics.connected == {"alarm": False}


async def test_what_is_not_acknowledged_comes_again_as_the_same(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path / "broker") as broker:
        rig = Rig(tmp_path, broker.port)
        rig.hold = True
        async with rig.running():
            await publish(broker, b"press")
            await until(lambda: rig.messages)
        again = Rig(tmp_path, broker.port)
        async with again.running():
            await until(lambda: again.messages)
        [first], [second] = rig.messages, again.messages
        assert (second.session, second.packet_id) == (first.session, first.packet_id)
        assert second.dup
        assert not first.dup
        third = Rig(tmp_path, broker.port)
        async with third.running():
            await publish(broker, b"next")
            await until(lambda: third.messages)
        assert third.payloads() == [b"next"], "the second was acknowledged"


async def test_an_ack_of_an_earlier_connection_acknowledges_nobody(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path / "broker") as broker:
        rig = Rig(tmp_path, broker.port)
        rig.hold = True
        async with rig.running():
            await publish(broker, b"first")
            await until(lambda: rig.messages)
            [stale] = rig.messages
            broker.stop()
            await until(lambda: rig.session.listening_since is None)
            await broker.start()
            await until(lambda: len(rig.messages) == 2)
            assert rig.messages[1].dup
            acknowledge([stale])
        again = Rig(tmp_path, broker.port)
        async with again.running():
            await until(lambda: again.messages)
        assert again.payloads() == [b"first"]


async def test_more_than_twenty_messages_are_under_way_at_once(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path / "broker") as broker:
        rig = Rig(tmp_path, broker.port)
        rig.hold = True
        async with rig.running():
            await publish(broker, *(b"%d" % number for number in range(500)))
            await until(lambda: len(rig.messages) == 500)
        assert rig.payloads() == [b"%d" % number for number in range(500)]


async def test_a_session_that_the_broker_kept_brings_no_retained_message_again(
    tmp_path: Path,
) -> None:
    async with Mosquitto(tmp_path / "broker") as broker:
        await publish(broker, b"retained", retain=True)
        rig = Rig(tmp_path, broker.port)
        async with rig.running():
            await until(lambda: rig.messages)
        [message] = rig.messages
        assert message.retained
        assert not message.rebuilding, "there was no session that could have been lost"
        again = Rig(tmp_path, broker.port)
        async with again.running():
            await publish(broker, b"live")
            await until(lambda: again.messages)
        assert again.payloads() == [b"live"], "it holds the subscription already"
        assert again.messages[0].session == message.session


async def test_messages_of_the_time_away_are_kept_by_the_broker(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path / "broker") as broker:
        rig = Rig(tmp_path, broker.port)
        async with rig.running():
            pass
        await publish(broker, *(b"%d" % number for number in range(50)))
        again = Rig(tmp_path, broker.port)
        async with again.running():
            await until(lambda: len(again.messages) == 50)


async def test_a_lost_session_gets_a_new_name_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Mosquitto(tmp_path / "broker", VOLATILE_CONF)
    async with broker:
        rig = Rig(tmp_path, broker.port)
        async with rig.running():
            await publish(broker, b"before", retain=True)
            await until(lambda: rig.messages)
    async with broker:
        await publish(broker, b"retained", retain=True)
        with caplog.at_level(logging.WARNING):
            again = Rig(tmp_path, broker.port)
            async with again.running():
                await until(lambda: again.messages)
    [before], [after] = rig.messages, again.messages
    assert after.session != before.session
    assert after.rebuilding
    assert after.retained
    [warning] = caplog.messages
    assert "was lost by the broker" in warning


async def test_a_crash_before_connack_makes_the_session_a_new_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Mosquitto(tmp_path / "broker") as broker:
        rig = Rig(tmp_path, broker.port)
        rig.hold = True
        async with rig.running():
            await publish(broker, b"press")
            await until(lambda: rig.messages)
        (tmp_path / "mqtt-kuzet-alarm.json").rename(tmp_path / "mqtt-kuzet-alarm.unsettled")
        again = Rig(tmp_path, broker.port)
        with caplog.at_level(logging.WARNING):
            async with again.running():
                await until(lambda: again.messages)
    assert again.messages[0].session != rig.messages[0].session
    assert "may have been lost" in caplog.text


async def test_a_new_broker_is_a_new_session(tmp_path: Path) -> None:
    names = []
    for number in range(2):
        async with Mosquitto(tmp_path / f"broker-{number}") as broker:
            rig = Rig(tmp_path, broker.port)
            async with rig.running():
                await publish(broker, b"press")
                await until(lambda rig=rig: rig.messages)  # type: ignore[misc]
            names.append(rig.messages[0].session)
    assert len(set(names)) == 2


async def test_it_reconnects_when_the_broker_comes_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Mosquitto(tmp_path / "broker")
    rig = Rig(tmp_path, broker.port)
    with caplog.at_level(logging.INFO):
        async with rig.running(listening=False):
            await until(lambda: "not connected" in caplog.text)
            for number in range(3):
                async with broker:
                    await until(lambda: rig.session.listening_since is not None)
                    await publish(broker, b"%d" % number)
                    await until(lambda number=number: len(rig.messages) > number)  # type: ignore[misc]
                await until(lambda: rig.session.listening_since is None)
    assert rig.payloads() == [b"0", b"1", b"2"]
    assert len({one.session for one in rig.messages}) == 1, "the broker saves its sessions"


async def test_only_changed_filters_are_sent(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path / "broker") as broker:
        rig = Rig(tmp_path, broker.port, "a/1", "a/2")
        async with rig.running(), Publisher(broker.port, "p") as publisher:
            rig.session.want([("a/2", "two"), ("a/3", "three")])
            await until(lambda: b"a/3" in state_of(tmp_path))
            for number in (1, 2, 3):
                await publisher.send(f"a/{number}", b"%d" % number, f"{number}")
            await until(lambda: len(rig.messages) == 2)
        assert rig.payloads() == [b"2", b"3"]
        again = Rig(tmp_path, broker.port, "a/3")
        async with again.running(), Publisher(broker.port, "p") as publisher:
            await until(lambda: b"a/2" not in state_of(tmp_path))
            await publisher.send("a/2", b"2", "2")
            await publisher.send("a/3", b"3", "3")
            await until(lambda: again.messages)
        assert again.payloads() == [b"3"], "over a restart too"


async def test_thousands_of_filters_are_held(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path / "broker") as broker:
        rig = Rig(tmp_path, broker.port, *(f"kuzet/s/{number}/#" for number in range(2500)))
        async with rig.running(), Publisher(broker.port, "p") as publisher:
            await publisher.send("kuzet/s/2499/event", b"last", "last")
            await until(lambda: rig.messages)


async def test_it_leaves_with_a_disconnect(tmp_path: Path) -> None:
    async with Mosquitto(tmp_path / "broker") as broker:
        rig = Rig(tmp_path, broker.port)
        async with rig.running():
            pass
        log = (tmp_path / "broker/mosquitto.log").read_text
        await until(lambda: "Client kuzet-alarm disconnected" in log())


async def test_a_disk_that_hangs_does_not_silence_presses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "DISK_TIMEOUT_S", 0.1)
    mended = threading.Event()

    def hang(_path: Path, _content: bytes) -> None:
        mended.wait(30)

    monkeypatch.setattr(durable, "write", hang)
    async with Mosquitto(tmp_path / "broker") as broker:
        rig = Rig(tmp_path, broker.port)
        try:
            async with rig.running():
                await publish(broker, b"press")
                await until(lambda: rig.messages)
        finally:
            mended.set()
    assert rig.metrics.errors["mqtt", "state_not_kept"] > 0


async def test_a_disk_that_cannot_be_written_does_not_silence_presses(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    async with Mosquitto(tmp_path / "broker") as broker:
        rig = Rig(in_the_way / "var", broker.port)
        async with rig.running():
            await publish(broker, b"press")
            await until(lambda: rig.messages)
    assert rig.metrics.errors["mqtt", "state_not_kept"] > 0


async def test_a_broker_restored_from_an_older_save_is_told_every_filter(tmp_path: Path) -> None:
    """It has the session, and not the filters that came after the save."""
    store = tmp_path / "broker" / "mosquitto.db"
    async with Mosquitto(tmp_path / "broker") as broker:
        async with Rig(tmp_path, broker.port, "old/#").running():
            pass
        broker.stop()
        older = store.read_bytes()
        await broker.start()
        rig = Rig(tmp_path, broker.port, "old/#", "kuzet/#")
        async with rig.running():
            broker.kill()
            store.write_bytes(older)
            await until(lambda: rig.session.listening_since is None)
            await broker.start()
            await until(lambda: rig.session.listening_since is not None)
            await publish(broker, b"pressed")
            await until(lambda: rig.messages)
    assert rig.payloads() == [b"pressed"]
