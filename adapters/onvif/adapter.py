"""The adapter of devices that speak ONVIF: cameras, recorders and cameras behind them."""

from __future__ import annotations

from adapters.breaker import Breaker
from adapters.hosts import HostGate
from adapters.onvif.check import OnvifCheck
from adapters.recorders import Recorders
from adapters.watch import CameraSettings, Watch
from gateway.model import AdapterName, Inventory
from gateway.ports import Clock, Metrics


class OnvifAdapter(Watch):
    """Watches every device whose adapter is `onvif`. `hosts`, `breaker` and `recorders` are the
    same objects for all adapters of cameras."""

    def __init__(
        self,
        *,
        settings: CameraSettings,
        inventory: Inventory,
        clock: Clock,
        metrics: Metrics,
        hosts: HostGate,
        breaker: Breaker,
        recorders: Recorders,
    ) -> None:
        super().__init__(
            adapter=AdapterName.ONVIF,
            check=OnvifCheck(clock=clock, breaker=breaker, connect_s=settings.connect_s),
            settings=settings,
            inventory=inventory,
            clock=clock,
            metrics=metrics,
            hosts=hosts,
            recorders=recorders,
        )
