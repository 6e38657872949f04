from __future__ import annotations

import pytest

from gateway.files.values import (
    HostPort,
    decimal,
    flag,
    host_port,
    identifier,
    iso_date,
    url,
    whole,
)

SECRET = "hunter2"


@pytest.mark.parametrize("text", ["a", "school-12", "A_1.b", "0", "x" * 64])
def test_ids_are_taken(text: str) -> None:
    assert identifier(text) == text


@pytest.mark.parametrize("text", ["", ".", "..", "a b", "a/b", "a+", "#", "é", "a\n", "x" * 65])
def test_what_no_topic_or_path_may_hold_is_no_id(text: str) -> None:
    with pytest.raises(ValueError, match=r"allowed|empty|needs a letter"):
        identifier(text)


def test_a_look_alike_letter_is_named() -> None:
    with pytest.raises(ValueError, match="cyrillic small letter es"):
        identifier("\u0441am-1")


def test_numbers_of_a_spreadsheet() -> None:
    assert decimal(-90, 90)("42,9006") == decimal(-90, 90)("42.9006") == 42.9006
    assert whole(0, 10)("10") == 10
    for text in ("1e3", "nan", "inf", "0x1", "1_0", "٣", "", "--1", "9" * 30):
        with pytest.raises(ValueError, match="not a"):
            decimal(-1e9, 1e9)(text)
        with pytest.raises(ValueError, match="not a"):
            whole(-(10**9), 10**9)(text)


def test_flags_in_any_case() -> None:
    assert [flag(text) for text in ("yes", "TRUE", "1", "No", "false", "0")] == [True] * 3 + [
        False
    ] * 3


@pytest.mark.parametrize("text", ["2026-02-30", "20260901", "2026-W35-7", "2026-9-1", "tomorrow"])
def test_only_a_day_written_as_iso_is_a_date(text: str) -> None:
    with pytest.raises(ValueError, match="2026-09-01"):
        iso_date(text)
    assert iso_date("2026-09-01").isoformat() == "2026-09-01"


@pytest.mark.parametrize(
    "text",
    [
        "http://10.0.0.5",
        "http://10.0.0.5:8000/onvif/device_service",
        "https://camera_1.school-2.kz/",
        "http://[2001:db8::1]:80",
        "http://10.0.0.5/path?channel=1&subtype=0",
        "http://10.0.0.5/?password=&user=",
    ],
)
def test_addresses_are_taken(text: str) -> None:
    assert url(text, ("http", "https"), secrets_go="").geturl() == text


@pytest.mark.parametrize(
    "text",
    [
        f"http://admin:{SECRET}@10.0.0.5",
        f"http://{SECRET}@10.0.0.5",
        f"ftp://admin:{SECRET}@10.0.0.5",
        f"http://admin:{SECRET}/x@10.0.0.5",
        f"http://admin:{SECRET}]@10.0.0.5",
        f"http://10.0.0.5/?user=a&Password={SECRET}",
        f"http://10.0.0.5/user=a_password={SECRET}_channel=1",
        f"http://10.0.0.5/{SECRET}#fragment",
        f"http://10.0.0.5:{SECRET}",
        f"http://10.0.0.256/{SECRET}",
        f"http:///{SECRET}",
        f"//10.0.0.5/{SECRET}",
        f"{SECRET}",
        f"http://10.0.0.5/ {SECRET}",
        f"http://камера/{SECRET}",
        f"http://-x/{SECRET}",
        f"http://10.0.0.5:0/{SECRET}",
        f"http://[fe80::x]/{SECRET}",
    ],
)
def test_no_refusal_of_an_address_repeats_what_may_be_a_secret(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        url(text, ("http", "https"), secrets_go="there")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8080", HostPort("127.0.0.1", 8080)),
        ("localhost:0", HostPort("localhost", 0)),
        ("[::]:443", HostPort("::", 443)),
    ],
)
def test_where_to_listen(text: str, expected: HostPort) -> None:
    assert host_port(text, any_port=True) == expected


@pytest.mark.parametrize(
    "text", ["8080", ":8080", "::1:80", "[::1]", "a:b", "a:99999", "[x:y]:1", "1.2.3:1", "a b:1"]
)
def test_what_is_no_place_to_listen(text: str) -> None:
    with pytest.raises(ValueError, match=r"host|port"):
        host_port(text, any_port=True)


def test_a_port_to_connect_to_is_not_0() -> None:
    with pytest.raises(ValueError, match="between 1 and 65535"):
        host_port("10.0.0.1:0")
