"""What can be wrong with a simulated MQTT device: a closed list, switched while it runs."""

from __future__ import annotations

from enum import StrEnum


class MqttFault(StrEnum):
    UNPLUGGED = "unplugged"
    """No power: the connection breaks, the broker sends the last will."""
    SILENT = "silent"
    """Connected, but no heartbeat comes any more. Presses still do."""
    NO_CLOCK = "no_clock"
    """The clock was never set: it counts from 1970."""
    SAME_BYTES = "same_bytes"
    """Every event of a type is the same bytes: no id, no time, no number."""
    REUSED_ID = "reused_id"
    """Every event has the same id, as after a counter that starts anew."""
    LOW_BATTERY = "low_battery"
    """The battery is nearly empty."""
    STICKY_SOS = "sticky_sos"
    """Zigbee2MQTT only: after a press, every message says `"sos": true` (old Tuya buttons)."""
