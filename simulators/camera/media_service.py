"""ONVIF media: one profile of one picture source (ver10/media/wsdl)."""

from __future__ import annotations

from simulators.camera import clip
from simulators.camera.faults import Fault
from simulators.camera.rtsp import STREAM_PATH
from simulators.camera.soap import Request, SoapFault
from simulators.camera.state import CameraState

PROFILE = "Profile_1"
VIDEO_SOURCE = "VideoSource_1"
SNAPSHOT_PATH = "/onvif/snapshot"

_RESOLUTION = (
    f"<tt:Resolution><tt:Width>{clip.WIDTH}</tt:Width><tt:Height>{clip.HEIGHT}</tt:Height>"
    "</tt:Resolution>"
)
_PROFILE = (
    f'<trt:Profiles token="{PROFILE}" fixed="true"><tt:Name>mainStream</tt:Name>'
    '<tt:VideoSourceConfiguration token="VideoSourceToken"><tt:Name>VideoSource</tt:Name>'
    f"<tt:UseCount>1</tt:UseCount><tt:SourceToken>{VIDEO_SOURCE}</tt:SourceToken>"
    f'<tt:Bounds x="0" y="0" width="{clip.WIDTH}" height="{clip.HEIGHT}"/>'
    "</tt:VideoSourceConfiguration>"
    '<tt:VideoEncoderConfiguration token="VideoEncoderToken_1"><tt:Name>VideoEncoder_1</tt:Name>'
    f"<tt:UseCount>1</tt:UseCount><tt:Encoding>H264</tt:Encoding>{_RESOLUTION}"
    "<tt:Quality>3</tt:Quality><tt:RateControl>"
    f"<tt:FrameRateLimit>{clip.FRAMES_PER_S}</tt:FrameRateLimit>"
    "<tt:EncodingInterval>1</tt:EncodingInterval><tt:BitrateLimit>512</tt:BitrateLimit>"
    f"</tt:RateControl><tt:H264><tt:GovLength>{clip.FRAMES_PER_GROUP}</tt:GovLength>"
    "<tt:H264Profile>Baseline</tt:H264Profile></tt:H264>"
    "<tt:Multicast><tt:Address><tt:Type>IPv4</tt:Type><tt:IPv4Address>0.0.0.0</tt:IPv4Address>"
    "</tt:Address><tt:Port>0</tt:Port><tt:TTL>128</tt:TTL><tt:AutoStart>false</tt:AutoStart>"
    "</tt:Multicast><tt:SessionTimeout>PT60S</tt:SessionTimeout></tt:VideoEncoderConfiguration>"
    "</trt:Profiles>"
)


def get_profiles(state: CameraState, _: Request) -> str:
    profiles = "" if Fault.NO_PROFILE in state.faults else _PROFILE
    return f"<trt:GetProfilesResponse>{profiles}</trt:GetProfilesResponse>"


def get_video_sources(state: CameraState, _: Request) -> str:
    source = (
        f'<trt:VideoSources token="{VIDEO_SOURCE}">'
        f"<tt:Framerate>{clip.FRAMES_PER_S}</tt:Framerate>{_RESOLUTION}</trt:VideoSources>"
    )
    sources = "" if Fault.NO_PROFILE in state.faults else source
    return f"<trt:GetVideoSourcesResponse>{sources}</trt:GetVideoSourcesResponse>"


def get_stream_uri(state: CameraState, request: Request) -> str:
    _existing_profile(state, request)
    # The query is what many makers add: a client that cuts it off gets another stream there.
    uri = f"rtsp://{state.rtsp_address}{STREAM_PATH}?transportmode=unicast&amp;profile={PROFILE}"
    return _media_uri("GetStreamUri", uri)


def get_snapshot_uri(state: CameraState, request: Request) -> str:
    _existing_profile(state, request)
    return _media_uri("GetSnapshotUri", f"http://{state.onvif_address}{SNAPSHOT_PATH}?channel=1")


def _existing_profile(state: CameraState, request: Request) -> None:
    if request.text("trt:ProfileToken") != PROFILE or Fault.NO_PROFILE in state.faults:
        raise SoapFault("ter:InvalidArgVal/ter:NoProfile", "The requested profile does not exist")


def _media_uri(operation: str, uri: str) -> str:
    return (
        f"<trt:{operation}Response><trt:MediaUri><tt:Uri>{uri}</tt:Uri>"
        "<tt:InvalidAfterConnect>false</tt:InvalidAfterConnect>"
        "<tt:InvalidAfterReboot>false</tt:InvalidAfterReboot><tt:Timeout>PT60S</tt:Timeout>"
        f"</trt:MediaUri></trt:{operation}Response>"
    )


OPERATIONS = {
    "GetProfiles": get_profiles,
    "GetVideoSources": get_video_sources,
    "GetStreamUri": get_stream_uri,
    "GetSnapshotUri": get_snapshot_uri,
}
