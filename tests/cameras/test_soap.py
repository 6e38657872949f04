"""ONVIF answers, recorded and hand-made, sound and broken."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.onvif import operations, soap
from adapters.onvif.auth import username_token
from adapters.onvif.operations import MEDIA, MEDIA2, MediaService
from gateway.errors import DeviceFault
from gateway.model import Credentials, Reason
from tests.cameras import fakes
from tests.peers import real_data


def body(content: str) -> soap.Element:
    return soap.parse(fakes.soap(content))


# --- reading -------------------------------------------------------------------------------------

ANSWER = "<GetStreamUriResponse><MediaUri><Uri>rtsp://h/a</Uri></MediaUri></GetStreamUriResponse>"


@pytest.mark.parametrize(
    "answer",
    [
        f"<Envelope><Body>{ANSWER}</Body></Envelope>".encode(),
        f"\ufeff<Envelope><Body>{ANSWER}</Body></Envelope>\0\0\0".encode(),
        f"\r\n \n<Envelope><Body>{ANSWER}</Body></Envelope>\r\nmore".encode(),
        f'<?xml version="1.0" encoding="utf-16"?><E><Body>{ANSWER}</Body></E>'.encode(),
        f"<E><Body>{ANSWER}</Body></E>".encode("utf-16"),
        f'<?xml version="1.0" encoding="punycode"?><E><Body>{ANSWER}</Body></E>'.encode(),
        f"<E xmlns='a&#xD800;b&#55296;'><Body x='&#xdfff;'>{ANSWER}</Body></E>".encode(),
        f"<?xml version='1.0'?>\n<E><Body>{ANSWER}</Body></E>".encode(),
        f"<E><Body a=1 b='x' c=\"y\" d=e/f>{ANSWER}</Body></E>".encode(),
        f"<E ...><Body>{ANSWER}</Body></E>".encode(),
        b"<E><Body><x>\xff\xfe\xe9</x>" + ANSWER.encode() + b"</Body></E>",
        f"<E><Body>{ANSWER}".encode(),
        f"<E><Body>{ANSWER[:-30]}".encode(),
        f"--MIME\r\nContent-Id: x\r\n\r\n<E><Body>{ANSWER}</Body></E>\r\n--MIME--".encode(),
        f"<s:E><s:Body><trt:{ANSWER[1:]}</s:Body></s:E>".encode(),
        f"<E><Header/><!-- x --><Body><?x y?>{ANSWER}</Body></E>".encode(),
        f"<E><Body>{ANSWER}</Body></E>".replace("rtsp://h/a", "\n  rtsp://h/a\n").encode(),
    ],
)
def test_departures_from_the_standard_are_read(answer: bytes) -> None:
    """onvif-quirks: unquoted attributes (TL-IPC), bad UTF-8, a BOM, wrong or missing prefixes."""
    assert operations.stream_uri(soap.parse(answer)) == "rtsp://h/a"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"no XML",
        b"<html><body>Sign in</body></html>",
        b"<E><Head/></E>",
        b"<Body/>",
        b'<!DOCTYPE e [<!ENTITY a "b">]><E><Body>&a;</Body></E>',
        '<!DOCTYPE e [<!ENTITY a "b">]><E><Body>&a;</Body></E>'.encode("utf-16"),
        b"\0" * 1000,
        b"<" * 1000,
    ],
)
def test_what_is_no_answer_is_a_protocol_error(answer: bytes) -> None:
    with pytest.raises(DeviceFault) as raised:
        soap.parse(answer)
    assert raised.value.reason is Reason.PROTOCOL_ERROR


def test_texts_come_in_the_encodings_of_their_makers() -> None:
    response = "GetDeviceInformationResponse"
    maker = f"<{response}><Manufacturer>{{}}</Manufacturer></{response}>"
    for encoding, name in (("gb2312", "海康威视"), ("windows-1251", "Барыс"), ("UTF-8", "Күзет")):
        text = (
            f'<?xml version="1.0" encoding="{encoding}"?><E><Body>{maker.format(name)}</Body></E>'
        )
        assert operations.device_information(soap.parse(text.encode(encoding))).maker == name


def test_a_prefix_without_a_name_harms_nothing() -> None:
    answer = f"<s:E><s:Body><x:/><x:1/>{ANSWER}</s:Body></s:E>"
    assert operations.stream_uri(soap.parse(answer.encode())) == "rtsp://h/a"


def test_entities_are_never_expanded_and_files_never_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    doctype = f'DOCTYPE e [<!ENTITY a SYSTEM "file://{secret}">]'
    wide = f'<?xml version="1.0" encoding="utf-7"?>+ADwAIQ-{doctype}+AD4-<E><Body>&a;</Body></E>'
    for smuggled in (wide, f"<E><!{doctype}><Body>&a;</Body></E>"):
        try:
            read = soap.parse(smuggled.encode())
        except DeviceFault:
            continue
        assert "hunter2" not in str(list(read.itertext()))


@settings(deadline=None)
@given(st.binary(max_size=300), st.text(alphabet="<>/=\"' abE:&;!-?[]", max_size=200))
def test_no_bytes_make_the_reader_fail(noise: bytes, likely: str) -> None:
    for answer in (noise, likely.encode(), b"<E><Body>" + noise, f"<E x=1><Body>{likely}".encode()):
        try:
            read = soap.parse(answer)
        except DeviceFault:
            continue
        soap.fault(read)
        for reader in READERS:
            try:
                reader(read)
            except DeviceFault:
                continue


READERS: tuple[Callable[[soap.Element], object], ...] = (
    operations.system_date_and_time,
    operations.device_information,
    operations.services,
    operations.capabilities,
    operations.profiles,
    operations.stream_uri,
)


@pytest.mark.parametrize(
    "hostile",
    [
        b"<E a=1>" + b"<a>" * 300_000,
        b"<E a=1><a " + b"b" * 2_000_000 + b">",
        b"<E a=1><a " + b'b="' * 600_000 + b">",
        b"<E a=1>" + b"<b " * 600_000 + b">",
    ],
)
def test_two_hostile_megabytes_take_linear_time(hostile: bytes) -> None:
    with pytest.raises(DeviceFault):  # a quadratic reader would take hours
        soap.parse(hostile)


@pytest.mark.parametrize(
    ("subcode", "text", "refused"),
    [
        ("NotAuthorized", "Sender not Authorized", True),
        ("NotAuthorized", "Invalid username or password! You still have 5 attempt(s).", True),
        ("FailedAuthentication", "x", True),
        ("Action", "The action requested requires authorization: sender not authorised", True),
        ("InvalidSecurity", "An error was discovered processing the wsse:Security header", True),
        ("Action", "Authority failure", True),
        ("ActionNotSupported", "Optional action not implemented", False),
        ("InvalidArgVal", "No such profile", False),
    ],
)
def test_faults_for_credentials_are_told_from_others(
    subcode: str, text: str, refused: bool
) -> None:
    fault = soap.fault(soap.parse(fakes.fault(subcode, text)))
    assert fault is not None
    assert fault.codes == ("Sender", subcode)
    assert fault.not_authorized is refused


def test_a_refused_time_is_told_from_a_refused_password() -> None:
    fault = soap.fault(soap.parse(fakes.fault("X", "Wsse authorized time check failed.")))
    assert fault is not None
    assert fault.not_authorized
    assert fault.time_refused


def test_an_expired_password_is_no_refused_time() -> None:
    fault = soap.fault(soap.parse(fakes.fault("NotAuthorized", "The password has expired")))
    assert fault is not None
    assert not fault.time_refused


def test_a_fault_of_soap_1_1_is_one_too() -> None:
    answer = "<Fault><faultcode>ter:NotAuthorized</faultcode><faultstring>no</faultstring></Fault>"
    fault = soap.fault(body(answer))
    assert fault is not None
    assert (fault.codes, fault.text) == (("NotAuthorized",), "no")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("2026-11-22 08:00:07", datetime(2026, 11, 22, 8, 0, 7, tzinfo=UTC)),
        ("2024-08-17 00:61:16", datetime(2024, 8, 17, 1, 1, 16, tzinfo=UTC)),
        ("2024-08-17 24:00:00", datetime(2024, 8, 18, tzinfo=UTC)),
        ("2024-12-31 23:59:60", datetime(2025, 1, 1, tzinfo=UTC)),
        ("1970-01-01 00:00:00", datetime(1970, 1, 1, tzinfo=UTC)),
        ("0000-00-00 00:00:00", None),
        ("9999-12-31 99:99:99", None),
        ("20244-1-1 0:0:0", None),
        ("a-b-c d:e:f", None),
    ],
)
def test_times_of_day_that_cameras_tell(told: str, expected: datetime | None) -> None:
    """onvif-quirks: minute 61, `0000-00-00`, year 1970 after a power cut."""
    assert operations.system_date_and_time(body(fakes.date_and_time(told))) == expected


def test_media2_before_media_is_not_taken_for_it() -> None:
    """onvif-quirks: Media2 listed before Media: match the namespace, not the word."""
    both = fakes.services(**{MEDIA2: "http://h/media2", MEDIA: "http://h/media"})
    assert operations.services(body(both)) == MediaService(xaddr="http://h/media")
    only = fakes.services(**{MEDIA2: "http://h/media2"})
    assert operations.services(body(only)) == MediaService(xaddr="http://h/media2", version=2)
    assert operations.services(body(fakes.services())) is None


def test_an_echoed_request_is_no_answer() -> None:
    """onvif-quirks: the request echoed with 500."""
    echo = soap.parse(soap.envelope(operations.GET_DEVICE_INFORMATION.body))
    with pytest.raises(DeviceFault, match="no answer to GetDeviceInformation"):
        operations.device_information(echo)


def test_texts_and_lists_are_bounded() -> None:
    many = fakes.profiles(*((f"p{number}", "s", "H264") for number in range(2_000)))
    assert len(operations.profiles(body(many))) == operations.MAX_PROFILES
    long = "<GetDeviceInformationResponse><Model>" + "x" * 5_000 + "</Model>"
    assert len(operations.device_information(body(long)).model) == operations.MAX_TEXT


# --- writing -------------------------------------------------------------------------------------


def test_what_goes_into_a_request_cannot_break_out_of_it() -> None:
    evil = '</ProfileToken><x>&"'
    for service in (MediaService(xaddr=""), MediaService(xaddr="", version=2)):
        sent = soap.parse(soap.envelope(service.get_stream_uri(evil).body))
        assert soap.text(sent, "{*}GetStreamUri/{*}ProfileToken") == evil
    token = username_token(Credentials(username="<a&b>", password="p"), datetime.now(UTC))
    root = soap.parse(soap.envelope("<x/>", token)).getparent()
    assert soap.text(root, "{*}Header/{*}Security/{*}UsernameToken/{*}Username") == "<a&b>"


def test_the_token_is_what_the_profile_asks_for() -> None:
    """WS-Security UsernameToken Profile 1.1 section 3.2: Base64(SHA-1(nonce + created + password)),
    with the example of the ONVIF Application Programmer's Guide."""
    token = username_token(
        Credentials(username="user", password="userpassword"),
        datetime(2010, 9, 16, 7, 50, 45, tzinfo=UTC),
        base64.b64decode("LKqI6G/AikKCQrN0zqZFlg=="),
    )
    assert ">tuOSpGlFlIXsozq4HFNeeGeFLEI=<" in token
    assert ">2010-09-16T07:50:45Z<" in token


def test_no_two_tokens_share_a_nonce() -> None:
    """onvif-quirks: nonces are checked for reuse."""
    at, credentials = datetime.now(UTC), Credentials(username="u", password="p")
    assert username_token(credentials, at) != username_token(credentials, at)


# --- recorded ------------------------------------------------------------------------------------


def recordings() -> Iterator[tuple[dict[str, Any], soap.Element]]:
    """Every answer of the index files with the facts that were read in it."""
    for index in sorted((real_data() / "onvif-responses").glob("*/*/index.json")):
        for facts in json.loads(index.read_text())["answers"]:
            yield facts, soap.parse((index.parent / facts["file"]).read_bytes())


def test_recorded_answers_say_what_was_read_in_them() -> None:
    read: Counter[str] = Counter()
    for facts, answer in recordings():
        where = facts["file"]
        if "utc" in facts:
            told = operations.system_date_and_time(answer)
            assert told is not None
            assert list(told.timetuple()[:6]) == facts["utc"], where
            read["clock"] += 1
        if facts["op"] == "GetDeviceInformation" and "Model" in facts:
            information = operations.device_information(answer)
            assert information.maker == facts["Manufacturer"], where
            assert information.model == facts["Model"], where
            assert information.firmware == facts["FirmwareVersion"], where
            assert information.serial == facts["SerialNumber"], where
            read["information"] += 1
        if "services" in facts:
            service = operations.services(answer)
            assert (service.xaddr if service else None) == facts["services"].get(MEDIA), where
            read["services"] += 1
        if facts["op"] == "GetCapabilities" and "xaddrs" in facts:
            service = operations.capabilities(answer)
            assert (service.xaddr if service else None) == facts["xaddrs"].get("Media"), where
            read["capabilities"] += 1
        if facts["op"] == "GetProfiles" and "profiles" in facts:
            found = [
                (one.token, one.name, one.encoding, str(one.width), str(one.height))
                for one in operations.profiles(answer)
            ]
            keys = ("token", "name", "encoding", "width", "height")
            assert found == [tuple(one[key] for key in keys) for one in facts["profiles"]], where
            read["profiles"] += 1
        if facts["op"] == "GetStreamUri" and "uri" in facts:
            assert operations.stream_uri(answer) == facts["uri"], where
            read["stream"] += 1
        if "fault" in facts:
            fault = soap.fault(answer)
            assert fault is not None, where
            codes = [facts["fault"]["code"], *facts["fault"]["subcodes"]]
            assert list(fault.codes) == [code.rpartition(":")[2] for code in codes], where
            assert fault.text == facts["fault"]["reason"], where
            assert fault.not_authorized == ("ter:NotAuthorized" in codes), where
            read["fault"] += 1
    assert read == {
        "clock": 8,
        "information": 8,
        "services": 7,
        "capabilities": 13,
        "profiles": 8,
        "stream": 15,
        "fault": 130,
    }


def test_every_recorded_answer_has_a_body() -> None:
    files = sorted((real_data() / "onvif-responses").rglob("*.xml"))
    assert len(files) > 600
    for file in files:
        assert len(soap.parse(file.read_bytes())) or "Response" not in file.name, file.name


def test_recorded_stream_addresses_of_go2rtc() -> None:
    folder = real_data() / "onvif-responses" / "go2rtc"
    read = 0
    for case in json.loads((folder / "expected.json").read_text()):
        answer = soap.parse((folder / case["file"]).read_bytes())
        if answer.find("{*}GetStreamUriResponse") is not None:
            assert operations.stream_uri(answer) == case["expected"]["url"], case["case"]
            read += 1
    assert read == 5


def test_recorded_profiles_without_namespaces() -> None:
    answer = soap.parse((real_data() / "onvif-responses/scrypted/profiles.xml").read_bytes())
    found = operations.profiles(answer)
    assert [(one.token, one.source, one.encoding, one.width) for one in found] == [
        ("Profile_1", "VideoSource_1", "H264", 3840),
        ("Profile_2", "VideoSource_1", "H264", 640),
        ("Profile_3", "VideoSource_1", "H264", 1280),
    ]
