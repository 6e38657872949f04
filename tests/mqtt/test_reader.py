"""The fence: whatever is in a message and however a decoder fails, nothing stops."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt import dialects
from adapters.mqtt.dialects.said import Dialect, Said
from adapters.mqtt.frames import MAX_PAYLOAD
from adapters.mqtt.message import Message
from adapters.mqtt.privacy import Pseudonyms
from adapters.mqtt.reader import EXCERPT, STRANGERS_LOGGED, Reader
from adapters.mqtt.standing import Standing
from adapters.mqtt.subscriptions import Subscriptions
from gateway.model import Device, Event, Finding, FindingCause, Observation
from tests.mqtt.neighbours import KEY, NotedMetrics, button, message, turnstile
from tests.simulated_clock import SimulatedClock

EVENT = "kuzet/school-1/button-1/event"
PASS = "kuzet/school-1/gate-1/event"


class Rig:
    def __init__(self, *devices: Device) -> None:
        self.metrics = NotedMetrics()
        known = devices or (button(), turnstile("gate-1"))
        self.reader = Reader(
            Subscriptions(known, [], native_at_once=True),
            Standing([one.device_id for one in known], Pseudonyms(KEY)),
            SimulatedClock(),
            self.metrics,
        )

    def read(self, one: Message) -> list[Observation]:
        observations = self.reader.read(one)
        assert observations is not None
        return observations


@pytest.fixture
def rig() -> Rig:
    return Rig()


UNREADABLE = [
    (b"[" * 5000, "not_json"),
    (b"\xff\xfe", "not_json"),
    (b'{"type":"\xff"}', "not_utf8"),
    (b'{"type":"panic.pressed","id":"a","id":"b"}', "duplicate_key"),
    (b'{"type":"panic.squeezed"}', "unknown_event_type"),
    (b"[]", "wrong_shape"),
    (b"x" * (MAX_PAYLOAD + 1), "too_large"),
    (b"", "not_json"),
]


@pytest.mark.parametrize(("payload", "reason"), UNREADABLE)
def test_what_cannot_be_read_of_a_panic_device_is_a_finding(
    rig: Rig, payload: bytes, reason: str
) -> None:
    [finding] = rig.read(message(EVENT, payload, packet_id=9))
    assert isinstance(finding, Finding)
    assert finding.cause is FindingCause.UNREADABLE
    assert (finding.device_id, finding.topic) == ("button-1", EVENT)
    assert finding.detail.startswith(reason)
    assert len(finding.excerpt) <= EXCERPT
    assert finding.excerpt.isprintable()
    assert finding.wire is not None
    assert finding.wire.packet_id == 9
    assert rig.metrics.errors == {("decode", reason): 1}


@pytest.mark.parametrize(("payload", "reason"), UNREADABLE)
def test_what_cannot_be_read_of_others_is_counted(rig: Rig, payload: bytes, reason: str) -> None:
    assert rig.read(message(PASS, payload)) == []
    assert rig.metrics.errors == {("decode", reason): 1}


def test_a_device_is_logged_once_until_it_is_read_again(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            rig.read(message(PASS, b"?"))
        assert len(caplog.records) == 1
        rig.read(message(PASS, b'{"type":"access.passed"}'))
        rig.read(message(PASS, b"?"))
    assert len(caplog.records) == 2
    assert rig.metrics.errors["decode", "not_json"] == 6


def test_a_log_shows_no_payload_of_a_pass(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        rig.read(message(PASS, b'{"type":"access.passed","card":"4711" ?'))
        rig.read(message("kuzet/school-1/nobody/event", b'{"card":"4711"}'))
    assert "4711" not in caplog.text


class Broken(BaseException):
    """What no fence may catch."""


@pytest.mark.parametrize("error", [RecursionError, KeyError, MemoryError, AssertionError])
def test_a_decoder_that_fails_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def decode(devices: Sequence[Device], topic: str, payload: bytes) -> Sequence[Said]:
        raise error

    broken = Dialect(filters=lambda device: (device.topic,), decode=decode)
    monkeypatch.setitem(dialects.DIALECTS, "broken", broken)
    rig = Rig(button(dialect="broken", topic="b"))
    [finding] = rig.read(message("b", b"press"))
    assert isinstance(finding, Finding)
    assert finding.excerpt == "press"
    assert rig.metrics.errors == {("decode", "decoder_failed"): 1}


def test_cancellation_passes_the_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(devices: Sequence[Device], topic: str, payload: bytes) -> Sequence[Said]:
        raise Broken

    broken = Dialect(filters=lambda device: (device.topic,), decode=decode)
    monkeypatch.setitem(dialects.DIALECTS, "broken", broken)
    rig = Rig(button(dialect="broken", topic="b"))
    with pytest.raises(Broken):
        rig.read(message("b", b"press"))


@given(
    topic=st.sampled_from([EVENT, PASS, "kuzet/school-1/button-1/status", "x"]), payload=st.binary()
)
def test_no_payload_raises(topic: str, payload: bytes) -> None:
    rig = Rig()
    before = sum(rig.metrics.errors.values())
    observations = rig.read(message(topic, payload))
    assert observations or payload == b"" or sum(rig.metrics.errors.values()) > before


def test_unknown_devices_and_topics_are_counted_and_logged_once(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert rig.read(message("kuzet/school-1/nobody/event")) == []
            assert rig.read(message("zigbee2mqtt/nobody")) == []
            assert rig.read(message(b"kuzet/\xff\n/x/event")) == []
    assert rig.metrics.errors == {("mqtt", "unknown_device"): 3, ("mqtt", "unknown_topic"): 6}
    assert len(caplog.records) == 3
    assert "\n" not in caplog.messages[2]


def test_the_press_of_an_unknown_button_is_a_warning(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for number in range(STRANGERS_LOGGED + 50):
            rig.read(message(f"kuzet/school-1/ghost-{number}/event"))
        assert len(caplog.records) == STRANGERS_LOGGED, "bounded, whoever invents topics"
        caplog.clear()
        rig.read(message("kuzet/school-2/lost/event", b'{"type":"panic.pressed"}'))
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "kuzet/school-2/lost/event" in record.getMessage()


def test_a_topic_that_the_dialect_does_not_have_is_no_press(rig: Rig) -> None:
    assert rig.read(message("kuzet/school-1/button-1/debug", b"hello")) == []
    assert rig.metrics.errors == {("mqtt", "unknown_topic"): 1}


def test_unless_it_speaks_of_one(rig: Rig) -> None:
    [finding] = rig.read(message("kuzet/school-1/button-1/alarm", b'{"type": "panic.pressed"}'))
    assert isinstance(finding, Finding)


def test_another_sessions_message_is_none_of_ours() -> None:
    rig = Rig()
    rig.reader.subscriptions = Subscriptions([turnstile("gate-1")], [button()], native_at_once=True)
    press = message(EVENT, b'{"type":"panic.pressed"}')
    assert rig.reader.read(press) is None
    assert not rig.metrics.errors


def test_a_pass_comes_out_without_the_person(rig: Rig) -> None:
    observations = rig.read(message(PASS, b'{"type":"access.passed","card":"4711"}'))
    assert isinstance(observations[0], Event)
    assert observations[0].attributes.keys() == {"credential"}
    assert observations[0].attributes["credential"] != "4711"
