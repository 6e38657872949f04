"""Cutting a broker's bytes into packets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt.frames import HEAD, MAX_PAYLOAD, Frames, Malformed, Other, Publish


def length(value: int) -> bytes:
    encoded = bytearray()
    while True:
        value, digit = divmod(value, 128)
        encoded.append(digit | (128 if value else 0))
        if not value:
            return bytes(encoded)


def publish(
    topic: bytes,
    payload: bytes,
    packet_id: int = 7,
    *,
    qos: int = 1,
    dup: bool = False,
    retain: bool = False,
    properties: bytes | None = b"",
) -> bytes:
    """As section 3.3 describes it; `properties` None is MQTT 3.1.1."""
    body = len(topic).to_bytes(2, "big") + topic
    if qos:
        body += packet_id.to_bytes(2, "big")
    if properties is not None:
        body += length(len(properties)) + properties
    body += payload
    return bytes([0x30 | dup << 3 | qos << 1 | retain]) + length(len(body)) + body


def everything(frames: Frames, stream: bytes, step: int) -> list[Publish | Other]:
    found: list[Publish | Other] = []
    for start in range(0, len(stream), step):
        frames.feed(stream[start : start + step])
        while packets := frames.take(3):
            found += packets
    return found


MESSAGES = st.lists(
    st.tuples(
        st.binary(max_size=300),
        st.binary(max_size=700),
        st.integers(1, 65535),
        st.booleans(),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


@given(messages=MESSAGES, step=st.integers(1, 900), properties=st.binary(max_size=200))
def test_a_stream_comes_out_whole_however_it_is_cut(
    messages: list[tuple[bytes, bytes, int, bool, bool]], step: int, properties: bytes
) -> None:
    stream = b"".join(
        publish(topic, payload, mid, dup=dup, retain=retain, properties=properties)
        for topic, payload, mid, dup, retain in messages
    )
    expected = [
        Publish(topic, payload, len(payload), mid, 1, dup, retain)
        for topic, payload, mid, dup, retain in messages
    ]
    assert everything(Frames(properties=True), stream, step) == expected


def test_qos_0_has_no_packet_id_and_mqtt_3_no_properties() -> None:
    stream = publish(b"t", b"zero", qos=0, properties=None) + publish(b"t", b"one", properties=None)
    assert everything(Frames(properties=False), stream, 5) == [
        Publish(b"t", b"zero", 4, 0, 0, False, False),
        Publish(b"t", b"one", 3, 7, 1, False, False),
    ]


def test_other_packets_are_handed_on_as_they_are() -> None:
    connack, pingresp = b"\x20\x02\x00\x00", b"\xd0\x00"
    found = everything(Frames(properties=True), connack + publish(b"t", b"x") + pingresp, 1)
    assert [type(one) for one in found] == [Other, Publish, Other]
    assert (found[0], found[2]) == (Other(connack), Other(pingresp))


@given(step=st.sampled_from([1000, 4096, 65_536, 300_000, 10_000_000]))
def test_of_a_payload_that_is_too_long_the_head_is_kept(step: int) -> None:
    for size in (MAX_PAYLOAD + 1, MAX_PAYLOAD + 200_000, 1_000_000):
        stream = publish(b"t", b"x" * size) + publish(b"t", b"next")
        giant, after = everything(Frames(properties=True), stream, step)
        assert giant == Publish(b"t", b"x" * HEAD, size, 7, 1, False, False)
        assert after == Publish(b"t", b"next", 4, 7, 1, False, False)


def test_a_giant_takes_no_memory() -> None:
    frames = Frames(properties=True)
    head = publish(b"t", b"")
    body = head[2:] + b"x" * 400_000
    frames.feed(b"\x32" + length(len(body) + 200_000_000) + body)
    assert frames.take(9) == []
    for _ in range(50):
        frames.feed(b"x" * 4_000_000)
        assert len(frames._buffer) < 1_000_000
    [giant] = frames.take(9)
    assert isinstance(giant, Publish)
    assert (giant.size, len(giant.payload)) == (200_400_000, HEAD)


@pytest.mark.parametrize(
    ("name", "stream"),
    [
        ("QoS 3", b"\x36\x05\x00\x01t\x00\x07"),
        ("a topic longer than the packet", b"\x32\x05\x00\xfft\x00\x07"),
        ("no packet id", b"\x32\x03\x00\x01t"),
        ("properties longer than the packet", b"\x32\x06\x00\x01t\x00\x07\x50"),
        ("properties without an end", b"\x32\x07\x00\x01t\x00\x07\xff\xff"),
        ("a length of five bytes", b"\x32\xff\xff\xff\xff\x01"),
        ("a CONNACK of 200 MB", b"\x20\xff\xff\xff\x5f"),
        ("nothing", b"\x32\x00"),
    ],
)
def test_what_is_no_mqtt_is_malformed(name: str, stream: bytes) -> None:
    frames = Frames(properties=True)
    frames.feed(stream)
    with pytest.raises(Malformed):
        frames.take(1)


@given(st.binary(max_size=2000), st.booleans())
def test_no_bytes_do_worse_than_malformed(stream: bytes, properties: bool) -> None:
    frames = Frames(properties=properties)
    frames.feed(stream)
    try:
        for _ in range(len(stream) + 1):
            if not frames.take(1):
                break
        else:
            pytest.fail("packets without end")
    except Malformed as error:
        assert str(error)  # noqa: PT017 -- most random bytes are malformed, not all
