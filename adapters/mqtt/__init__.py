"""MQTT devices: panic buttons, turnstiles and intercoms that speak through a broker."""

from __future__ import annotations

from adapters.mqtt.adapter import MqttAdapter, MqttSettings
from adapters.mqtt.connection import Broker

__all__ = ["Broker", "MqttAdapter", "MqttSettings"]
