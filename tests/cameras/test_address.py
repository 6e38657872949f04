"""Addresses as devices report them: port and path are theirs, the host is the inventory's."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.address import Address, parse, reported, target
from gateway.model import DeviceKind
from tests.cameras.neighbours import CREDENTIALS, device, inventory

INVENTORY = Address(scheme="http", host="10.0.0.5", port=8080, path="/onvif/device_service")


@pytest.mark.parametrize(
    ("told", "url"),
    [
        ("http://192.168.1.9/onvif/Media", "http://10.0.0.5/onvif/Media"),
        ("http://192.168.1.9:2020/onvif/x?y=1&z", "http://10.0.0.5:2020/onvif/x?y=1&z"),
        ("http://host:8106:8106/onvif/media", "http://10.0.0.5:8106/onvif/media"),
        ("rtsp://0.0.0.0:554/cam?channel=1&subtype=1", "rtsp://10.0.0.5/cam?channel=1&subtype=1"),
        ("rtsp://admin:p@ss@1.2.3.4:8554/a", "rtsp://10.0.0.5:8554/a"),
        ("  rtsp://[fe80::1]:8554/a\n", "rtsp://10.0.0.5:8554/a"),
        ("rtsp://h?profile=1", "rtsp://10.0.0.5/?profile=1"),
        ("rtsp:///live", "rtsp://10.0.0.5/live"),
        ("RTSPS://h/live", "rtsps://10.0.0.5/live"),
    ],
)
def test_a_reported_address_keeps_port_and_path(told: str, url: str) -> None:
    address = reported(told, INVENTORY)
    assert address is not None
    assert address.url == url


@pytest.mark.parametrize(
    "told",
    ["(null)", "", "rtsp://", "ftp://h/x", "rtsp://h:99999/x", "/live", "rtsp://h/" + 9999 * "x"],
)
def test_what_is_no_address_is_none(told: str) -> None:
    address = reported(told, INVENTORY)
    assert address is None or (told == "rtsp://" and address.path == "/")


def test_the_inventory_s_port_wins_where_the_network_translates_ports() -> None:
    address = reported("rtsp://192.168.1.9:554/live", INVENTORY, port=10554)
    assert address is not None
    assert address.url == "rtsp://10.0.0.5:10554/live"


def test_a_device_asked_under_tls_is_not_followed_to_plain_http() -> None:
    secure = Address(scheme="https", host="10.0.0.5", port=8443)
    address = reported("http://192.168.1.9:80/onvif/Media", secure)
    assert address is not None
    assert address.url == "https://10.0.0.5:8443/onvif/Media"


@pytest.mark.parametrize(
    "path",
    [
        "/user=admin&password=hunter2&channel=1",
        "/user=admin_password=hunter2_channel=1_stream=0.sdp",
        "/live?pwd=hunter2",
    ],
)
def test_secrets_in_a_path_are_not_shown(path: str) -> None:
    address = parse(f"rtsp://h{path}")
    assert address is not None
    assert "hunter2" in address.url
    assert "hunter2" not in address.shown


@settings(deadline=None)
@given(st.text(max_size=60))
def test_no_reported_address_leads_elsewhere_or_breaks_a_request(text: str) -> None:
    for told in (text, f"rtsp://h/{text}", f"http://{text}", f"rtsp://x:{text}"):
        address = reported(told, INVENTORY)
        if address is not None:
            assert address.host == "10.0.0.5"
            assert not set(address.url) & set('\r\n "\t')
            assert address.url.isascii()


def test_a_channel_takes_what_it_lacks_from_its_recorder() -> None:
    recorder = device("http://10.0.0.9", device_id="recorder-1", kind=DeviceKind.RECORDER)
    channel = device("", parent="recorder-1", channel=3, credentials="")
    found = target(channel, inventory(recorder, channel))
    assert found is not None
    assert (found.address.host, found.credentials) == ("10.0.0.9", CREDENTIALS)
    assert found.is_channel
    own = device("rtsp://10.0.0.10/live", parent="recorder-1", channel=3, credentials="")
    found = target(own, inventory(recorder, own))
    assert found is not None
    assert found.address.host == "10.0.0.10"


def test_a_device_without_an_address_is_no_target() -> None:
    assert target(device(""), inventory()) is None
    assert target(device("http:///onvif"), inventory()) is None
