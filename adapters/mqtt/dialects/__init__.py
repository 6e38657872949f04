"""The dialects: how each family of devices speaks over MQTT, by the name in `devices.csv`."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.mqtt.dialects.native import NATIVE
from adapters.mqtt.dialects.said import Dialect
from adapters.mqtt.dialects.zigbee2mqtt import ZIGBEE2MQTT

DIALECTS: Mapping[str, Dialect] = {
    "": NATIVE,
    "native": NATIVE,
    "zigbee2mqtt": ZIGBEE2MQTT,
}
