"""The adapter of cameras that are known by the address of their stream alone."""

from __future__ import annotations

from adapters.breaker import Breaker
from adapters.hosts import HostGate
from adapters.recorders import Recorders
from adapters.rtsp.check import RtspCheck
from adapters.watch import CameraSettings, Watch
from gateway.model import AdapterName, Inventory
from gateway.ports import Clock, Metrics


class RtspAdapter(Watch):
    """Watches every device whose adapter is `rtsp`. `hosts`, `breaker` and `recorders` are the
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
            adapter=AdapterName.RTSP,
            check=RtspCheck(breaker=breaker, connect_s=settings.connect_s),
            settings=settings,
            inventory=inventory,
            clock=clock,
            metrics=metrics,
            hosts=hosts,
            recorders=recorders,
        )
