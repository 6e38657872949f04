"""The session on a broker that does as it is told: what no well-behaved one can be made to do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from pathlib import Path

import pytest

from tests.mqtt import scripted_broker as script
from tests.mqtt.scripted_broker import ScriptedBroker
from tests.mqtt.session_rig import Rig, session_in, state_of
from tests.peers import until


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
    assert b"kuzet/s/b" not in state_of(tmp_path), "it is tried again with the next connection"


async def test_a_refused_login_leaves_the_session_what_it_was(tmp_path: Path) -> None:
    def present(_packet: bytes) -> bytes:
        return script.CONNACK_PRESENT

    async with ScriptedBroker() as broker:
        rig = Rig(tmp_path, broker.port)
        async with rig.running():
            pass
        known = state_of(tmp_path)
        broker._answers["connect"] = lambda _: b"\x20\x03\x00\x88\x00"  # server unavailable
        async with rig.running(listening=False):
            await until(lambda: broker.logins >= 3)
        broker._answers["connect"] = present
        async with rig.running():
            pass
        assert session_in(known) == session_in(state_of(tmp_path))


async def test_a_login_without_an_answer_leaves_the_session_in_doubt(tmp_path: Path) -> None:
    async with ScriptedBroker() as broker:
        rig = Rig(tmp_path, broker.port)
        async with rig.running():
            pass
        known = state_of(tmp_path)
        broker._answers["connect"] = lambda _: None
        async with rig.running(listening=False):
            await until(lambda: broker.logins >= 2)
        assert not (tmp_path / "mqtt-kuzet-alarm.json").exists()
        broker._answers["connect"] = lambda _: script.CONNACK_PRESENT
        before = len(broker.packets(script.SUBSCRIBE))
        async with rig.running():
            pass
        assert session_in(known) != session_in(state_of(tmp_path))
        assert len(broker.packets(script.SUBSCRIBE)) > before, "a new session would be deaf"


async def test_nothing_is_received_before_the_session_is_known(tmp_path: Path) -> None:
    publish = b"\x32\x0b\x00\x01t\x00\x07\x00press"

    async with ScriptedBroker(connect=lambda _: script.CONNACK_NEW + publish) as broker:
        rig = Rig(tmp_path, broker.port)
        async with rig.running():
            await until(lambda: rig.messages)
    [message] = rig.messages
    assert message.session.encode() == session_in(state_of(tmp_path))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x32\x02\x00\x09", "the broker sent a PUBLISH"),
        (b"\xe0\x06\x8e\x04\x1f\x00\x01x", "Session taken over"),
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
