"""What differs from device to device: one adapter for each way of speaking with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from adapters.breaker import Breaker
from adapters.hosts import HostGate
from adapters.mqtt.adapter import MqttAdapter, MqttSettings
from adapters.onvif.adapter import OnvifAdapter
from adapters.recorders import Recorders
from adapters.rtsp.adapter import RtspAdapter
from adapters.watch import CameraSettings
from gateway.model import AdapterName, Inventory
from gateway.ports import Adapter, Clock, Metrics


class Surroundings:
    """What adapters are built with. Without `mqtt` there is no MQTT adapter.

    The adapters of cameras share what they know of a host: how many connections it has, which
    credentials it refused, and whether a recorder is down.
    """

    def __init__(
        self,
        *,
        inventory: Inventory,
        cameras: CameraSettings,
        mqtt: MqttSettings | None,
        clock: Clock,
        metrics: Metrics,
        data_dir: Path,
    ) -> None:
        self.inventory = inventory
        self.cameras = cameras
        self.mqtt = mqtt
        self.clock = clock
        self.metrics = metrics
        self.data_dir = data_dir
        self.hosts = HostGate()
        self.breaker = Breaker(clock=clock, path=data_dir / "refused-logins.jsonl")
        self.recorders = Recorders()


def _onvif(around: Surroundings) -> Adapter:
    return OnvifAdapter(
        settings=around.cameras,
        inventory=around.inventory,
        clock=around.clock,
        metrics=around.metrics,
        hosts=around.hosts,
        breaker=around.breaker,
        recorders=around.recorders,
    )


def _rtsp(around: Surroundings) -> Adapter:
    return RtspAdapter(
        settings=around.cameras,
        inventory=around.inventory,
        clock=around.clock,
        metrics=around.metrics,
        hosts=around.hosts,
        breaker=around.breaker,
        recorders=around.recorders,
    )


def _mqtt(around: Surroundings) -> Adapter | None:
    if around.mqtt is None:
        return None
    return MqttAdapter(
        name="mqtt",
        settings=around.mqtt,
        inventory=around.inventory,
        clock=around.clock,
        metrics=around.metrics,
        data_dir=around.data_dir,
    )


ADAPTERS: Mapping[AdapterName, Callable[[Surroundings], Adapter | None]] = {
    AdapterName.ONVIF: _onvif,
    AdapterName.RTSP: _rtsp,
    AdapterName.MQTT: _mqtt,
}
