"""A simulated IP camera: ONVIF and RTSP on one address, with faults to switch."""

from simulators.camera.account import Scheme
from simulators.camera.camera import PASSWORD, SimulatedCamera
from simulators.camera.event_service import Topic
from simulators.camera.faults import Fault, parse_duration, parse_fault
from simulators.camera.state import Plate

__all__ = [
    "PASSWORD",
    "Fault",
    "Plate",
    "Scheme",
    "SimulatedCamera",
    "Topic",
    "parse_duration",
    "parse_fault",
]
