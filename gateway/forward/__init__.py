"""Delivery to the sinks outside: nothing lost, alarms on a road of their own."""

from gateway.forward.alarm_lane import Fallback
from gateway.forward.forwarder import Forwarder, ForwardSettings
from gateway.forward.outlet import LaneHealth, LaneState
from gateway.forward.selection import Kind

__all__ = ["Fallback", "ForwardSettings", "Forwarder", "Kind", "LaneHealth", "LaneState"]
