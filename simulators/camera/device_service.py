"""ONVIF device management, as far as a client asks for it (ver10/device/wsdl)."""

from __future__ import annotations

from datetime import datetime
from xml.sax.saxutils import escape

from simulators.camera import soap
from simulators.camera.soap import Request
from simulators.camera.state import CameraState

PATH = "/onvif/device_service"
MEDIA_PATH = "/onvif/media_service"
EVENTS_PATH = "/onvif/event_service"

_SERVICES = (
    (soap.DEVICE, PATH, 2, 60),
    (soap.MEDIA, MEDIA_PATH, 2, 60),
    (soap.EVENTS, EVENTS_PATH, 2, 60),
)

OPEN_TO_ALL = frozenset(
    (
        "GetSystemDateAndTime",
        "GetServices",
        "GetServiceCapabilities",
        "GetCapabilities",
        "GetHostname",
        "GetWsdlUrl",
    )
)
"""Access class PRE_AUTH (ONVIF Core, 5.9.4.3): needed before a client can prove who it is."""


def get_system_date_and_time(state: CameraState, _: Request) -> str:
    now = state.now()
    return (
        "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime>"
        "<tt:DateTimeType>NTP</tt:DateTimeType><tt:DaylightSavings>false</tt:DaylightSavings>"
        "<tt:TimeZone><tt:TZ>ALMT-5</tt:TZ></tt:TimeZone>"
        f"<tt:UTCDateTime>{_date_and_time(now)}</tt:UTCDateTime>"
        "</tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
    )


def _date_and_time(when: datetime) -> str:
    return (
        f"<tt:Time><tt:Hour>{when.hour}</tt:Hour><tt:Minute>{when.minute}</tt:Minute>"
        f"<tt:Second>{when.second}</tt:Second></tt:Time>"
        f"<tt:Date><tt:Year>{when.year}</tt:Year><tt:Month>{when.month}</tt:Month>"
        f"<tt:Day>{when.day}</tt:Day></tt:Date>"
    )


def get_services(state: CameraState, _: Request) -> str:
    services = "".join(
        f"<tds:Service><tds:Namespace>{namespace}</tds:Namespace>"
        f"<tds:XAddr>http://{state.onvif_address}{path}</tds:XAddr>"
        f"<tds:Version><tt:Major>{major}</tt:Major><tt:Minor>{minor}</tt:Minor></tds:Version>"
        "</tds:Service>"
        for namespace, path, major, minor in _SERVICES
    )
    return f"<tds:GetServicesResponse>{services}</tds:GetServicesResponse>"


def get_capabilities(state: CameraState, _: Request) -> str:
    here = f"http://{state.onvif_address}"
    return (
        "<tds:GetCapabilitiesResponse><tds:Capabilities>"
        f"<tt:Device><tt:XAddr>{here}{PATH}</tt:XAddr></tt:Device>"
        f"<tt:Events><tt:XAddr>{here}{EVENTS_PATH}</tt:XAddr>"
        "<tt:WSSubscriptionPolicySupport>false</tt:WSSubscriptionPolicySupport>"
        "<tt:WSPullPointSupport>true</tt:WSPullPointSupport>"
        "<tt:WSPausableSubscriptionManagerInterfaceSupport>false"
        "</tt:WSPausableSubscriptionManagerInterfaceSupport></tt:Events>"
        f"<tt:Media><tt:XAddr>{here}{MEDIA_PATH}</tt:XAddr><tt:StreamingCapabilities>"
        "<tt:RTPMulticast>false</tt:RTPMulticast><tt:RTP_TCP>true</tt:RTP_TCP>"
        "<tt:RTP_RTSP_TCP>true</tt:RTP_RTSP_TCP></tt:StreamingCapabilities></tt:Media>"
        "</tds:Capabilities></tds:GetCapabilitiesResponse>"
    )


def get_device_information(state: CameraState, _: Request) -> str:
    plate = state.plate
    return (
        "<tds:GetDeviceInformationResponse>"
        f"<tds:Manufacturer>{escape(plate.maker)}</tds:Manufacturer>"
        f"<tds:Model>{escape(plate.model)}</tds:Model>"
        f"<tds:FirmwareVersion>{escape(plate.firmware)}</tds:FirmwareVersion>"
        f"<tds:SerialNumber>{escape(plate.serial)}</tds:SerialNumber>"
        f"<tds:HardwareId>{escape(plate.hardware)}</tds:HardwareId>"
        "</tds:GetDeviceInformationResponse>"
    )


def get_scopes(state: CameraState, _: Request) -> str:
    plate = state.plate
    scopes = "".join(
        "<tds:Scopes><tt:ScopeDef>Fixed</tt:ScopeDef>"
        f"<tt:ScopeItem>onvif://www.onvif.org/{escape(item)}</tt:ScopeItem></tds:Scopes>"
        for item in (
            "type/video_encoder",
            "Profile/Streaming",
            f"hardware/{plate.model}",
            f"name/{plate.maker}",
        )
    )
    return f"<tds:GetScopesResponse>{scopes}</tds:GetScopesResponse>"


def get_hostname(state: CameraState, _: Request) -> str:
    return (
        "<tds:GetHostnameResponse><tds:HostnameInformation><tt:FromDHCP>false</tt:FromDHCP>"
        f"<tt:Name>{escape(state.plate.serial.lower())}</tt:Name>"
        "</tds:HostnameInformation></tds:GetHostnameResponse>"
    )


def get_network_interfaces(state: CameraState, _: Request) -> str:
    host = state.onvif_address.partition(":")[0]
    return (
        '<tds:GetNetworkInterfacesResponse><tds:NetworkInterfaces token="eth0">'
        "<tt:Enabled>true</tt:Enabled><tt:Info><tt:Name>eth0</tt:Name>"
        f"<tt:HwAddress>{escape(state.plate.mac)}</tt:HwAddress><tt:MTU>1500</tt:MTU></tt:Info>"
        "<tt:IPv4><tt:Enabled>true</tt:Enabled><tt:Config><tt:Manual>"
        f"<tt:Address>{host}</tt:Address><tt:PrefixLength>8</tt:PrefixLength></tt:Manual>"
        "<tt:DHCP>false</tt:DHCP></tt:Config></tt:IPv4>"
        "</tds:NetworkInterfaces></tds:GetNetworkInterfacesResponse>"
    )


OPERATIONS = {
    "GetSystemDateAndTime": get_system_date_and_time,
    "GetServices": get_services,
    "GetCapabilities": get_capabilities,
    "GetDeviceInformation": get_device_information,
    "GetScopes": get_scopes,
    "GetHostname": get_hostname,
    "GetNetworkInterfaces": get_network_interfaces,
}
