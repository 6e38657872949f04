"""JSON of devices, read strictly and kept in bounds."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt.dialects import payload as read
from adapters.mqtt.dialects.said import Fault, Unreadable

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


def fault_of(payload: bytes) -> Fault:
    with pytest.raises(Unreadable) as raised:
        read.read_object(payload)
    return raised.value.fault


@given(st.dictionaries(st.text(max_size=6), VALUES, max_size=6), st.sampled_from([None, 1]))
def test_what_is_json_is_read_as_it_is(members: dict[str, Any], indent: int | None) -> None:
    payload = json.dumps(members, indent=indent).encode()
    try:
        expected = msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return  # a lone surrogate: json writes it, RFC 8259 has no place for it
    assert read.read_object(payload) == expected


@pytest.mark.parametrize(
    "payload",
    [
        b'{"id": "x", "id": "y"}',
        b'{"id":1,"id":1}',
        b'{"id" :1,"id":2}',
        b'{"id"\n:1,"id"\t:2}',
        b'{"id":1,"\\u0069d":2}',
        b'{"a":{"id":1,"id":2}}',
        b'{"a":[{"id":1,"id":2}]}',
        b'{"a":"\\":","id" :1,"id":2}',
    ],
)
def test_a_key_twice_is_refused_wherever_it_stands(payload: bytes) -> None:
    assert fault_of(payload) is Fault.DUPLICATE_KEY


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["", " ", "\n"]), VALUES), max_size=4
    )
)
def test_a_key_twice_is_refused_and_nothing_else(members: list[tuple[str, str, Any]]) -> None:
    text = ",".join(f'"{key}"{space}:{json.dumps(value)}' for key, space, value in members)
    payload = f"{{{text}}}".encode()
    try:
        msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return
    if len({key for key, _, _ in members}) == len(members):
        assert len(read.read_object(payload)) == len(members)
    else:
        assert fault_of(payload) is Fault.DUPLICATE_KEY


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"", Fault.NOT_JSON),
        (b"{", Fault.NOT_JSON),
        (b'{"a":NaN}', Fault.NOT_JSON),
        (b'{"a":Infinity}', Fault.NOT_JSON),
        (b'{"a":1e999}', Fault.NOT_JSON),
        (b'{"a":1} {}', Fault.NOT_JSON),
        (b"\xef\xbb\xbf{}", Fault.NOT_JSON),
        (b"[" * 5000, Fault.NOT_JSON),
        (b'{"a":' * 5000, Fault.NOT_JSON),
        (b'{"a":"\xff"}', Fault.NOT_UTF8),
        (b'{"a":"\xed\xa0\x80"}', Fault.NOT_UTF8),
        (b"[]", Fault.WRONG_SHAPE),
        (b"17", Fault.WRONG_SHAPE),
        (b"null", Fault.WRONG_SHAPE),
    ],
)
def test_what_is_no_json_object_is_refused_with_its_reason(payload: bytes, fault: Fault) -> None:
    assert fault_of(payload) is fault


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_unreadable(payload: bytes) -> None:
    try:
        assert isinstance(read.read_object(payload), dict)
    except Unreadable as error:
        assert error.detail  # noqa: PT017 -- nearly all bytes are unreadable


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ("2026-11-22T08:00:00Z", datetime(2026, 11, 22, 8, tzinfo=UTC)),
        ("2026-11-22T13:00:00.250+05:00", datetime(2026, 11, 22, 8, 0, 0, 250_000, UTC)),
        ("2026-11-22t08:00:00z", datetime(2026, 11, 22, 8, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2026-11-22T08:00:00", None),
        ("2026-11-22T08:61:00Z", None),
        ("0000-00-00T00:00:00Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("yesterday", None),
        ("", None),
        ("2" * 100, None),
        (1_790_000_000, None),
        (None, None),
    ],
)
def test_an_instant_needs_a_date_a_time_and_an_offset(
    claim: object, expected: datetime | None
) -> None:
    assert read.instant(claim) == expected


def test_an_id_is_kept_or_hashed_and_never_cut() -> None:
    assert read.native_id("a-1") == "a-1"
    assert read.native_id(17) == "17"
    unusable: tuple[object, ...] = ("", None, True, 1.5, ["a"], {})
    assert [read.native_id(one) for one in unusable] == [None] * 6
    long = "x" * 200
    assert read.native_id(long + "a") != read.native_id(long + "b")
    assert len(read.native_id(long) or "") < read.MAX_ID_CHARACTERS


@given(st.dictionaries(st.text(max_size=40), VALUES, max_size=90), st.integers(0, 12_000))
def test_attributes_stay_in_bounds(members: dict[str, Any], padding: int) -> None:
    members["padding"] = "x" * padding
    members["deep"] = [[[[[["six"]]]]]]
    try:
        payload = msgspec.json.encode(members)
    except UnicodeEncodeError:
        return
    kept = read.bounded(members, payload)
    assert len(kept) <= read.MAX_ATTRIBUTES + 1
    assert len(msgspec.json.encode(kept)) <= read.MAX_ATTRIBUTES_BYTES + 100
    assert "deep" not in kept
    assert kept["truncated"] is True
    assert all(members[key] == value for key, value in kept.items() if key != "truncated")


def test_what_fits_is_kept_whole() -> None:
    members = {"seq": 17, "where": {"door": [1, 2]}}
    assert read.bounded(members, msgspec.json.encode(members)) == members


def test_details_are_scalars_and_few() -> None:
    told = {f"k{number}": number for number in range(100)} | {"nested": {}, "text": "x" * 999}
    kept = read.scalars(told)
    assert len(kept) == read.MAX_DETAILS
    assert read.scalars({"nested": {}, "list": [], "text": "x" * 999}) == {"text": "x" * 256}
