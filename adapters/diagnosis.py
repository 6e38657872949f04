"""One device, asked now: every rung of the ladder, and one advice for each reason.

The texts are message ids: whoever shows them translates them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapters.address import target
from adapters.breaker import Breaker
from adapters.hosts import HostGate
from adapters.ladder import Ladder, Rung
from adapters.onvif.check import OnvifCheck
from adapters.rtsp.check import RtspCheck
from adapters.watch import CameraSettings, Check
from gateway.errors import NotFound
from gateway.model import AdapterName, Device, Inventory, Reason
from gateway.ports import Clock

ADVICE: Mapping[Reason, str] = {
    Reason.DNS_FAILURE: "Correct the name in the inventory, or put the device's IP address there.",
    Reason.UNREACHABLE: "Check power, cable and switch at the site, and the route to its network.",
    Reason.REFUSED: "The host answers, but nothing listens on this port: correct the port in the "
    "inventory, or switch the service (ONVIF, RTSP) on at the device.",
    Reason.TIMEOUT: "Check power and cable. A device that answers to others hangs: restart it. If "
    "no device of the site answers, check the site's line.",
    Reason.TLS_ERROR: "The device offers no TLS 1.2: update its firmware, or enter its address "
    "with http:// or rtsp://.",
    Reason.AUTH_FAILED: "Set the user name and password of the device in the credentials file. For "
    "ONVIF many makers want a user of its own, made in the device's ONVIF settings. To spare the "
    "account, refused credentials are tried once a day until they change.",
    Reason.LOCKED_OUT: "The device has locked the account after wrong passwords. Wait half an hour "
    "or restart it, find out who signs in wrongly, and correct the password.",
    Reason.CLOCK_SKEW: "Set the device's clock and time zone, and enter the time server (NTP).",
    Reason.PROTOCOL_ERROR: "Something else answers at this address, or the device's firmware is at "
    "fault: check address and path, switch ONVIF on, update or restart the device.",
    Reason.NO_PROFILE: "The device offers no video: create a media profile with a video encoder in "
    "its settings.",
    Reason.STREAM_NOT_FOUND: "The stream's path is not known to the device: correct it in the "
    "inventory, or restart the device if it told the path itself.",
    Reason.STREAM_REFUSED: "The device serves all the viewers that it can: close other viewers, or "
    "raise the limit of its streams.",
    Reason.CHANNEL_MISSING: "The recorder does not report this channel: check the camera's cable "
    "at the recorder, and the channel's number in the inventory.",
    Reason.PARENT_DOWN: "Mend the recorder first; its cameras cannot be seen without it.",
}
"""What to do about each reason that a check of a camera can find."""


async def probe(
    device: Device,
    inventory: Inventory,
    *,
    settings: CameraSettings,
    clock: Clock,
    hosts: HostGate,
    breaker: Breaker,
) -> Sequence[Rung]:
    """Climbs the whole ladder of one device now, as polite as a check is: in the host's turn, and
    not past the breaker. The last rung is the first that did not hold, or the top.

    Raises NotFound where the device has no address that can be asked.
    """
    where = target(device, inventory)
    if where is None or device.adapter not in (AdapterName.ONVIF, AdapterName.RTSP):
        raise NotFound(f"{device.device_id} has no address that can be asked")
    check: Check = (
        OnvifCheck(clock=clock, breaker=breaker, connect_s=settings.connect_s)
        if device.adapter is AdapterName.ONVIF
        else RtspCheck(breaker=breaker, connect_s=settings.connect_s)
    )
    ladder = Ladder(clock)
    async with hosts.connection(where.address.host):
        await ladder.climb(check.climb(where, ladder, whole=True), settings.deadline_s)
    return ladder.rungs
