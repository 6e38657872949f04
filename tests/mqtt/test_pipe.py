"""paho on a pipe: what we lean on in paho, so that a new version cannot change it unnoticed."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion

from adapters.mqtt.pipe import Pipe, PipedClient


class Wire:
    """A transport that notes what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, packets: bytes) -> None:
        self.written += packets

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def wire() -> Wire:
    return Wire()


def piped(wire: Wire) -> tuple[PipedClient, Pipe]:
    pipe = Pipe()
    pipe.transport = cast("asyncio.Transport", wire)
    client = PipedClient(pipe, "kuzet", MQTTProtocolVersion.MQTTv5, clean_session=None)
    client.connect("broker", keepalive=15, clean_start=False)
    return client, pipe


def test_connect_opens_no_socket_and_writes_at_once(wire: Wire) -> None:
    piped(wire)
    assert wire.written[:1] == b"\x10"
    assert b"kuzet" in wire.written
    assert wire.written[9] == 0, "clean start must not be set: the session would be gone"


def test_a_whole_packet_is_read_by_one_call(wire: Wire) -> None:
    client, pipe = piped(wire)
    seen: list[bool] = []
    client.on_connect = lambda _c, _u, flags, _r, _p: seen.append(flags.session_present)
    pipe.feed(b"\x20\x03\x01\x00\x00")
    assert client.loop_read() is MQTTErrorCode.MQTT_ERR_SUCCESS
    assert seen == [True]
    assert client.is_connected()


def test_subscribe_names_the_packet_id_that_its_answer_will_have(wire: Wire) -> None:
    client, pipe = piped(wire)
    answered: list[tuple[int, int]] = []
    client.on_subscribe = lambda _c, _u, mid, codes, _p: answered.append((mid, codes[0].value))
    _, mid = client.subscribe("t", qos=1)
    assert mid is not None
    pipe.feed(b"\x90\x04" + mid.to_bytes(2, "big") + b"\x00\x87")
    client.loop_read()
    assert answered == [(mid, 0x87)]


def test_a_packet_that_is_no_mqtt_closes_the_pipe(wire: Wire) -> None:
    client, pipe = piped(wire)
    pipe.feed(b"\x20\x01\x00")
    assert client.loop_read() is not MQTTErrorCode.MQTT_ERR_SUCCESS
    assert client.socket() is None
    assert wire.closed


def test_disconnect_is_written_before_the_pipe_closes(wire: Wire) -> None:
    client, pipe = piped(wire)
    pipe.feed(b"\x20\x03\x00\x00\x00")
    client.loop_read()
    client.disconnect()
    assert wire.written.endswith(b"\xe0\x00")
    assert wire.closed
