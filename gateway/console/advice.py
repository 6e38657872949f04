"""Each reason's name and its advice: one sentence to a technician, saying what to do."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.console.texts import N_
from gateway.model import Reason

REASONS: Mapping[Reason, str] = {
    Reason.NEVER_SEEN: N_("Never seen"),
    Reason.DNS_FAILURE: N_("Host name not found"),
    Reason.UNREACHABLE: N_("Unreachable"),
    Reason.REFUSED: N_("Connection refused"),
    Reason.TIMEOUT: N_("No answer in time"),
    Reason.TLS_ERROR: N_("TLS error"),
    Reason.AUTH_FAILED: N_("Wrong user name or password"),
    Reason.LOCKED_OUT: N_("Account locked"),
    Reason.CLOCK_SKEW: N_("Clock is wrong"),
    Reason.PROTOCOL_ERROR: N_("Answers make no sense"),
    Reason.NO_PROFILE: N_("No media profile"),
    Reason.STREAM_NOT_FOUND: N_("Stream not found"),
    Reason.STREAM_REFUSED: N_("Stream refused"),
    Reason.NO_PACKETS: N_("Stream without video"),
    Reason.LOW_RATE: N_("Too few frames"),
    Reason.PICTURE_BLACK: N_("Picture black"),
    Reason.PICTURE_FROZEN: N_("Picture frozen"),
    Reason.PICTURE_BLURRED: N_("Picture blurred"),
    Reason.PICTURE_COVERED: N_("Lens covered"),
    Reason.PICTURE_MOVED: N_("Camera moved"),
    Reason.SIGNAL_LOST: N_("No signal from the camera"),
    Reason.CHANNEL_MISSING: N_("No such channel"),
    Reason.STORAGE_FAILED: N_("Recording failed"),
    Reason.EVENTS_LOST: N_("Events are missing"),
    Reason.HEARTBEAT_LATE: N_("Reports late"),
    Reason.HEARTBEAT_LOST: N_("Reports have stopped"),
    Reason.BATTERY_LOW: N_("Battery low"),
    Reason.TAMPERED: N_("Cover opened"),
    Reason.MAINS_LOST: N_("Mains power lost"),
    Reason.PARENT_DOWN: N_("Recorder is down"),
    Reason.SITE_DARK: N_("Whole site is dark"),
    Reason.GATEWAY_BLIND: N_("Gateway cannot see"),
    Reason.MAINTENANCE: N_("Under maintenance"),
}

ADVICE: Mapping[Reason, str] = {
    Reason.NEVER_SEEN: N_(
        "It has not answered once: check its power, its cable and its address in the inventory."
    ),
    Reason.DNS_FAILURE: N_(
        "Check the host name in the inventory and the DNS server, or write the IP address instead."
    ),
    Reason.UNREACHABLE: N_(
        "Check the power, the cable, the switch port and the site's router: no network path leads "
        "to the device."
    ),
    Reason.REFUSED: N_(
        "Check the port in the inventory and that the service is switched on: the host answers, "
        "but nothing listens there."
    ),
    Reason.TIMEOUT: N_(
        "Check the quality of the link, and restart the device if its neighbours answer."
    ),
    Reason.TLS_ERROR: N_(
        "Check the device's certificate, its date and that it speaks TLS 1.2 or newer."
    ),
    Reason.AUTH_FAILED: N_(
        "Correct the user name and password of its credentials group: until they change, the "
        "gateway tries only once a day so as not to lock the account."
    ),
    Reason.LOCKED_OUT: N_(
        "Unlock the account on the device or wait until the lock ends, then check the password in "
        "its credentials group."
    ),
    Reason.CLOCK_SKEW: N_(
        "Set the device's clock and time zone, and give it an NTP server that it can reach."
    ),
    Reason.PROTOCOL_ERROR: N_(
        "Check that the address leads to a device of this kind, then update its firmware."
    ),
    Reason.NO_PROFILE: N_(
        "Create a media profile with a video encoder on the device, or reset its video settings."
    ),
    Reason.STREAM_NOT_FOUND: N_(
        "Check the channel number and the stream path: the device knows no such stream."
    ),
    Reason.STREAM_REFUSED: N_(
        "Close other viewers of the device and check that the account may see live video."
    ),
    Reason.NO_PACKETS: N_(
        "Check that firewalls let RTSP over TCP through, then restart the device: the stream opens "
        "but carries no video."
    ),
    Reason.LOW_RATE: N_(
        "Check the bandwidth of the link, or lower the bit rate on the device: fewer frames arrive "
        "than it promises."
    ),
    Reason.PICTURE_BLACK: N_("Check the lighting, the infrared lamp and the lens."),
    Reason.PICTURE_FROZEN: N_("Restart the camera: its picture does not change."),
    Reason.PICTURE_BLURRED: N_("Clean the lens and adjust the focus."),
    Reason.PICTURE_COVERED: N_("Clear the view: something covers the lens."),
    Reason.PICTURE_MOVED: N_("Turn the camera back to its agreed view and tighten its mount."),
    Reason.SIGNAL_LOST: N_(
        "Check the camera's power, its cable and the connectors: the recorder gets no signal on "
        "this channel."
    ),
    Reason.CHANNEL_MISSING: N_(
        "Correct the channel number in the inventory: the recorder has no such channel."
    ),
    Reason.STORAGE_FAILED: N_(
        "Check the disk or memory card and replace it if it is worn out: the device is not "
        "recording."
    ),
    Reason.EVENTS_LOST: N_(
        "Restart the device and update its firmware: the picture works, but its events do not "
        "arrive."
    ),
    Reason.HEARTBEAT_LATE: N_(
        "Check the battery and the radio signal: the device reports less often than it should."
    ),
    Reason.HEARTBEAT_LOST: N_(
        "Go to the device and check its power, its battery and its link: it has stopped reporting."
    ),
    Reason.BATTERY_LOW: N_("Replace the battery soon."),
    Reason.TAMPERED: N_("Inspect the device on the spot and close its cover."),
    Reason.MAINS_LOST: N_("Restore the mains supply: the device runs on its battery."),
    Reason.PARENT_DOWN: N_("Repair the recorder first: this device is reached through it."),
    Reason.SITE_DARK: N_(
        "Call the site and its provider: the whole site has lost its power or its link."
    ),
    Reason.GATEWAY_BLIND: N_(
        "Leave the device alone: the gateway has lost its own network or broker, mend that first."
    ),
    Reason.MAINTENANCE: N_(
        "Nothing to do: planned work is under way, and panic buttons raise alarms as always."
    ),
}
