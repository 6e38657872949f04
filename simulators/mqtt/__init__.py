"""Simulated MQTT devices: panic buttons, turnstiles and intercoms, in two dialects."""

from simulators.mqtt.device import MqttDevice, NoPower
from simulators.mqtt.devices import Direction, Intercom, PanicButton, Turnstile
from simulators.mqtt.dialects import Dialect, NotSaid, Occurrence
from simulators.mqtt.faults import MqttFault
from simulators.mqtt.packets import Message

__all__ = [
    "Dialect",
    "Direction",
    "Intercom",
    "Message",
    "MqttDevice",
    "MqttFault",
    "NoPower",
    "NotSaid",
    "Occurrence",
    "PanicButton",
    "Turnstile",
]
