"""The ONVIF operations that a check needs: what is asked, and what the answers say.

ONVIF Core (device management), Media and Media2. A reader takes the Body of an answer, tolerates
missing elements in any order, and raises DeviceFault only where the answer is to something else.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec import Struct

from adapters.onvif import soap
from gateway.errors import DeviceFault
from gateway.model import Reason

DEVICE = "http://www.onvif.org/ver10/device/wsdl"
MEDIA = "http://www.onvif.org/ver10/media/wsdl"
MEDIA2 = "http://www.onvif.org/ver20/media/wsdl"

MAX_PROFILES = 1024
"""Four profiles for each channel of the largest recorders; more is a device's confusion."""
MAX_TEXT = 100


class Operation(Struct, frozen=True, kw_only=True):
    """A request: `body` is the content of its SOAP Body."""

    name: str
    action: str
    body: str


def _operation(namespace: str, name: str, content: str = "") -> Operation:
    body = f'<{name} xmlns="{namespace}">{content}</{name}>'
    return Operation(name=name, action=f"{namespace}/{name}", body=body)


GET_SYSTEM_DATE_AND_TIME = _operation(DEVICE, "GetSystemDateAndTime")
GET_DEVICE_INFORMATION = _operation(DEVICE, "GetDeviceInformation")
GET_SERVICES = _operation(DEVICE, "GetServices", "<IncludeCapability>false</IncludeCapability>")
GET_CAPABILITIES = _operation(DEVICE, "GetCapabilities", "<Category>All</Category>")


class DeviceInformation(Struct, frozen=True, kw_only=True):
    """Who made the device; each may be empty, and serials may be fake or shared."""

    maker: str
    model: str
    firmware: str
    serial: str


class Profile(Struct, frozen=True, kw_only=True):
    """A media profile. `source` is the token of its video source: a channel of a recorder."""

    token: str
    name: str
    source: str
    encoding: str
    width: int | None
    height: int | None


class MediaService(Struct, frozen=True, kw_only=True):
    """Where the streams are asked for: `version` 1 is Media, 2 is Media2."""

    xaddr: str
    version: int = 1

    @property
    def get_profiles(self) -> Operation:
        if self.version == 2:
            # Media2 tells tokens alone unless it is asked for more (Media2 section 5.1.3).
            types = "<Type>VideoSource</Type><Type>VideoEncoder</Type>"
            return _operation(MEDIA2, "GetProfiles", types)
        return _operation(MEDIA, "GetProfiles")

    def get_stream_uri(self, profile_token: str) -> Operation:
        """RTP over the RTSP connection itself: what passes every firewall."""
        token = f"<ProfileToken>{soap.escape(profile_token)}</ProfileToken>"
        if self.version == 2:
            return _operation(MEDIA2, "GetStreamUri", f"<Protocol>RTSP</Protocol>{token}")
        schema = 'xmlns="http://www.onvif.org/ver10/schema"'
        setup = (
            f"<StreamSetup><Stream {schema}>RTP-Unicast</Stream>"
            f"<Transport {schema}><Protocol>RTSP</Protocol></Transport></StreamSetup>"
        )
        return _operation(MEDIA, "GetStreamUri", setup + token)


# --- answers -------------------------------------------------------------------------------------


def response(body: soap.Element, operation: str) -> soap.Element:
    """The response element of `operation`. Some echo the request, or answer another one."""
    found = body.find(f"{{*}}{operation}Response")
    if found is None:
        raise DeviceFault(Reason.PROTOCOL_ERROR, f"ONVIF: no answer to {operation} in the answer")
    return found


_DATE_AND_TIME = (
    "{*}Date/{*}Year",
    "{*}Date/{*}Month",
    "{*}Date/{*}Day",
    "{*}Time/{*}Hour",
    "{*}Time/{*}Minute",
    "{*}Time/{*}Second",
)


def system_date_and_time(body: soap.Element) -> datetime | None:
    """The device's clock, aware UTC; None where it tells only a local time, or nonsense."""
    utc = response(body, "GetSystemDateAndTime").find(".//{*}UTCDateTime")
    numbers = [_number(soap.text(utc, path)) for path in _DATE_AND_TIME]
    year, month, day, hour, minute, second = (-1 if one is None else one for one in numbers)
    if min(hour, minute, second) < 0:
        return None
    try:
        # Some add without carrying, up to minute 61 or hour 24.
        return datetime(year, month, day, tzinfo=UTC) + timedelta(
            hours=hour, minutes=minute, seconds=second
        )
    except (ValueError, OverflowError):  # month 0 after a power cut
        return None


def device_information(body: soap.Element) -> DeviceInformation:
    """The answer to GetDeviceInformation."""
    answer = response(body, "GetDeviceInformation")
    return DeviceInformation(
        maker=soap.text(answer, "{*}Manufacturer")[:MAX_TEXT],
        model=soap.text(answer, "{*}Model")[:MAX_TEXT],
        firmware=soap.text(answer, "{*}FirmwareVersion")[:MAX_TEXT],
        serial=soap.text(answer, "{*}SerialNumber")[:MAX_TEXT],
    )


def services(body: soap.Element) -> MediaService | None:
    """The media service in an answer to GetServices: Media, or Media2 where there is only that.

    By namespace, not by the word: some list Media2 first."""
    xaddrs = {
        soap.text(service, "{*}Namespace").rstrip("/"): soap.text(service, "{*}XAddr")
        for service in response(body, "GetServices").iterfind("{*}Service")
    }
    if MEDIA in xaddrs:
        return MediaService(xaddr=xaddrs[MEDIA])
    return MediaService(xaddr=xaddrs[MEDIA2], version=2) if MEDIA2 in xaddrs else None


def capabilities(body: soap.Element) -> MediaService | None:
    """The media service in an answer to GetCapabilities."""
    answer = response(body, "GetCapabilities")
    xaddr = soap.text(answer, "{*}Capabilities/{*}Media/{*}XAddr")
    return MediaService(xaddr=xaddr) if xaddr else None


def profiles(body: soap.Element) -> tuple[Profile, ...]:
    """The profiles that have a token, in the device's order."""
    answer = response(body, "GetProfiles")
    found: list[Profile] = []
    for element in answer.iterfind("{*}Profiles"):
        token = element.get("token", "")
        if not token or len(found) == MAX_PROFILES:
            continue
        encoder = element.find("{*}VideoEncoderConfiguration")
        if encoder is None:
            encoder = element.find("{*}Configurations/{*}VideoEncoder")
        source = soap.text(element, "{*}VideoSourceConfiguration/{*}SourceToken") or soap.text(
            element, "{*}Configurations/{*}VideoSource/{*}SourceToken"
        )
        found.append(
            Profile(
                token=token[:MAX_TEXT],
                name=soap.text(element, "{*}Name")[:MAX_TEXT],
                source=source[:MAX_TEXT],
                encoding=soap.text(encoder, "{*}Encoding").upper()[:MAX_TEXT],
                width=_number(soap.text(encoder, "{*}Resolution/{*}Width")),
                height=_number(soap.text(encoder, "{*}Resolution/{*}Height")),
            )
        )
    return tuple(found)


def stream_uri(body: soap.Element) -> str:
    """The address in an answer to GetStreamUri, as the device writes it, nested or not."""
    return soap.text(response(body, "GetStreamUri"), ".//{*}Uri")


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
