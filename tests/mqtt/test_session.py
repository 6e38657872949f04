"""The session: connected for ever, its identity never guessed, its filters held."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.mqtt import session as session_module
from adapters.mqtt.connection import Broker, Login
from adapters.mqtt.message import Message, acknowledge
from adapters.mqtt.session import Session
from gateway.clock import SystemClock
from tests.mqtt import scripted_broker as script
from tests.mqtt.neighbours import NotedMetrics
from tests.mqtt.scripted_broker import ScriptedBroker
from tests.peers import until
from tests.rig import ALARM_CONF, Mosquitto, Publisher

TOPIC = "kuzet/school-1/button-1/event"
VOLATILE_CONF = ALARM_CONF.replace("persistence true", "persistence false")
"""A broker that forgets everything when it stops."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconnects at once: a test has no time for politeness."""
    monkeypatch.setattr(session_module, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(session_module, "LONGEST_PAUSE_S", 0.1)


class Rig:
    """A session on `port`, and what came of it."""

    def __init__(self, folder: Path, port: int, *filters: str, **more: Any) -> None:
        self.metrics = NotedMetrics()
        self.session = Session(
            label="alarm",
            broker=Broker(host="127.0.0.1", port=port, tls=False),
            tls=more.pop("tls", None),
            login=Login(client_id="kuzet-alarm", receive_maximum=1000),
            folder=folder,
            clock=SystemClock(),
            metrics=self.metrics,
        )
        self.session.want([(one, "button-1") for one in filters or ("kuzet/#",)])
        self.messages: list[Message] = []
        self.hold = False

    @contextlib.asynccontextmanager
    async def running(self, *, listening: bool = True) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(self.session.run(), name="session"),
            asyncio.create_task(self._listen(), name="listener"),
        ]
        try:
            if listening:
                await until(lambda: self.session.listening_since is not None)
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            messages = await self.session.inbox.take(100)
            self.messages += messages
            if not self.hold:
                acknowledge(messages)

    def payloads(self) -> list[bytes]:
        return [one.payload for one in self.messages]


async def publish(broker: Mosquitto, *payloads: bytes, retain: bool = False) -> None:
    async with Publisher(broker.port, "button") as publisher:
        for number, payload in enumerate(payloads):
            await publisher.send(TOPIC, payload, f"{number}", retain=retain)
        await publisher.settled()


# --- on a real broker -----------------------------------------------------------------------------


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


async def test_a_session_that_the_broker_kept_is_not_subscribed_again(tmp_path: Path) -> None:
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
        assert again.payloads() == [b"live"], "a second SUBSCRIBE would bring the retained one"
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
            await until(lambda: b"a/3" in _state(tmp_path))
            for number in (1, 2, 3):
                await publisher.send(f"a/{number}", b"%d" % number, f"{number}")
            await until(lambda: len(rig.messages) == 2)
        assert rig.payloads() == [b"2", b"3"]
        again = Rig(tmp_path, broker.port, "a/3")
        async with again.running(), Publisher(broker.port, "p") as publisher:
            await until(lambda: b"a/2" not in _state(tmp_path))
            await publisher.send("a/2", b"2", "2")
            await publisher.send("a/3", b"3", "3")
            await until(lambda: again.messages)
        assert again.payloads() == [b"3"], "over a restart too"


def _state(folder: Path) -> bytes:
    return (folder / "mqtt-kuzet-alarm.json").read_bytes()


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


# --- on a broker that does as it is told ----------------------------------------------------------


async def test_a_broker_that_refuses_version_5_is_spoken_to_in_3(tmp_path: Path) -> None:
    def only_3(packet: bytes) -> bytes | None:
        return b"\x20\x02\x00\x01" if packet[8] == 5 else b"\x20\x02\x00\x00"

    def grant(packet: bytes) -> bytes:
        return b"\x90\x03" + packet[2:4] + b"\x01"

    async with ScriptedBroker(probe=only_3, connect=only_3, subscribe=grant) as broker:
        rig = Rig(tmp_path, broker.port)
        async with rig.running():
            broker.send(b"\x32\x0a\x00\x01t\x00\x07press")
            await until(lambda: rig.messages)
    assert broker.logins == 1, "the session is never put at risk by asking"
    assert rig.payloads() == [b"press"]
    assert b"\x40\x02\x00\x07" in broker.received


async def test_a_broker_that_hangs_up_on_version_5_is_spoken_to_in_3(tmp_path: Path) -> None:
    def only_3(packet: bytes) -> bytes | None:
        return None if packet[8] == 5 else b"\x20\x02\x00\x00"

    def grant(packet: bytes) -> bytes:
        return b"\x90\x03" + packet[2:4] + b"\x01"

    async with ScriptedBroker(probe=only_3, connect=only_3, subscribe=grant) as broker:
        rig = Rig(tmp_path, broker.port)
        async with rig.running():
            assert broker.logins == 1


@pytest.mark.parametrize("code", [0x87, 0x80, 0x00])
async def test_a_filter_that_is_not_granted_is_told_with_its_device(
    tmp_path: Path, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(packet: bytes) -> bytes:
        return script.grant(packet, code)

    async with ScriptedBroker(subscribe=refuse) as broker:
        rig = Rig(tmp_path, broker.port, "kuzet/s/b/#")
        with caplog.at_level(logging.ERROR):
            async with rig.running():
                pass
    assert rig.metrics.errors["mqtt", "subscription_refused"] == 1
    assert "filter=kuzet/s/b/# device=button-1" in caplog.text
    assert b"kuzet/s/b" not in _state(tmp_path), "it is tried again with the next connection"


async def test_a_refused_login_leaves_the_session_what_it_was(tmp_path: Path) -> None:
    def present(_packet: bytes) -> bytes:
        return script.CONNACK_PRESENT

    async with ScriptedBroker() as broker:
        rig = Rig(tmp_path, broker.port)
        async with rig.running():
            pass
        known = _state(tmp_path)
        broker._answers["connect"] = lambda _: b"\x20\x03\x00\x88\x00"  # server unavailable
        async with rig.running(listening=False):
            await until(lambda: broker.logins >= 3)
        broker._answers["connect"] = present
        async with rig.running():
            pass
        assert _session(known) == _session(_state(tmp_path))


def _session(state: bytes) -> bytes:
    return state.partition(b'"session":"')[2][:32]


async def test_a_login_without_an_answer_leaves_the_session_in_doubt(tmp_path: Path) -> None:
    async with ScriptedBroker() as broker:
        rig = Rig(tmp_path, broker.port)
        async with rig.running():
            pass
        known = _state(tmp_path)
        broker._answers["connect"] = lambda _: None
        async with rig.running(listening=False):
            await until(lambda: broker.logins >= 2)
        assert not (tmp_path / "mqtt-kuzet-alarm.json").exists()
        broker._answers["connect"] = lambda _: script.CONNACK_PRESENT
        before = len(broker.packets(script.SUBSCRIBE))
        async with rig.running():
            pass
        assert _session(known) != _session(_state(tmp_path))
        assert len(broker.packets(script.SUBSCRIBE)) > before, "a new session would be deaf"


async def test_nothing_is_received_before_the_session_is_known(tmp_path: Path) -> None:
    publish = b"\x32\x0b\x00\x01t\x00\x07\x00press"

    async with ScriptedBroker(connect=lambda _: script.CONNACK_NEW + publish) as broker:
        rig = Rig(tmp_path, broker.port)
        async with rig.running():
            await until(lambda: rig.messages)
    [message] = rig.messages
    assert message.session.encode() == _session(_state(tmp_path))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x32\x02\x00\x09", "the broker sent a PUBLISH"),
        (b"\xe0\x02\x8e\x00", "Session taken over"),
        (b"\xf0\x00", ""),
    ],
)
async def test_a_broker_that_errs_or_ends_it_is_left_and_tried_again(
    tmp_path: Path, content: bytes, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with ScriptedBroker() as broker:
        rig = Rig(tmp_path, broker.port)
        with caplog.at_level(logging.INFO):
            async with rig.running():
                broker.send(content)
                await until(lambda: broker.logins == 2)
    assert why in next(one for one in caplog.messages if "not connected" in one)


async def test_a_broken_connection_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with ScriptedBroker(connect=lambda _: None, probe=lambda _: None) as broker:
        rig = Rig(tmp_path, broker.port)
        with caplog.at_level(logging.INFO):
            async with rig.running(listening=False):
                await until(lambda: broker.logins > 3)
    assert len([one for one in caplog.messages if "not connected" in one]) == 1


async def test_a_black_hole_does_not_stop_the_loop_nor_the_leaving(tmp_path: Path) -> None:
    with socket.socket() as hole, contextlib.ExitStack() as fillers:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for _ in range(4):  # until its backlog is full, and SYNs are dropped
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
        rig = Rig(tmp_path, hole.getsockname()[1])
        async with asyncio.timeout(3), rig.running(listening=False):
            for _ in range(100):
                await asyncio.sleep(0)


async def test_a_silent_broker_does_not_stop_the_leaving(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        rig = Rig(tmp_path, silent.getsockname()[1])
        async with asyncio.timeout(3), rig.running(listening=False):
            accepted, _ = await asyncio.to_thread(silent.accept)
            accepted.close()


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
