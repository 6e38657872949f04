"""What stands around the camera adapters: a counter, a listener, an inventory, devices' ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapters.breaker import Breaker
from adapters.hosts import HostGate
from adapters.onvif.adapter import OnvifAdapter
from adapters.recorders import Recorders
from adapters.rtsp.adapter import RtspAdapter
from adapters.watch import CameraSettings
from gateway.errors import JournalError
from gateway.model import (
    AdapterName,
    Alarm,
    Credentials,
    Device,
    DeviceKind,
    HealthReport,
    Inventory,
    Lane,
    Observation,
)
from gateway.ports import Clock, InventoryChange

CREDENTIALS = Credentials(username="operator", password="Right-1")


class CountingMetrics:
    """`ports.Metrics` that only counts."""

    def __init__(self) -> None:
        self.checks: Counter[DeviceKind] = Counter()
        self.errors: Counter[tuple[str, str]] = Counter()

    def check_took(self, kind: DeviceKind, seconds: float) -> None:
        assert seconds >= 0
        self.checks[kind] += 1

    def error(self, stage: str, reason: str) -> None:
        self.errors[stage, reason] += 1

    def appended(self, lane: Lane, count: int) -> None: ...

    def dropped(self, lane: Lane, reason: str, count: int = 1) -> None: ...

    def broker_connected(self, broker: str, connected: bool) -> None: ...

    def delivered(self, sink: str, lane: Lane, outcome: str, count: int) -> None: ...

    def press_delivered(self, seconds: float) -> None: ...

    def alarm_raised(self, alarm: Alarm) -> None: ...


class Listener:
    """`ports.Emit` that keeps every report; `full` makes it refuse, as a full journal does."""

    def __init__(self) -> None:
        self.reports: list[HealthReport] = []
        self.full = False

    async def __call__(self, observations: Sequence[Observation], /) -> None:
        if self.full:
            raise JournalError("no room")
        for observation in observations:
            assert isinstance(observation, HealthReport)
            self.reports.append(observation)

    def of(self, device_id: str) -> list[HealthReport]:
        return [report for report in self.reports if report.device_id == device_id]

    def last(self, device_id: str) -> HealthReport | None:
        return next(iter(reversed(self.of(device_id))), None)

    def shows(self, device_id: str, state: str, reason: str | None = None) -> bool:
        """Whether the last report says just this."""
        last = self.last(device_id)
        return last is not None and (last.state, last.reason) == (state, reason)


def device(
    address: str,
    *,
    device_id: str = "camera-1",
    kind: DeviceKind = DeviceKind.CAMERA,
    adapter: AdapterName = AdapterName.ONVIF,
    credentials: str = "group",
    **rest: Any,
) -> Device:
    return Device(
        device_id=device_id,
        site_id="school-1",
        kind=kind,
        name=device_id,
        adapter=adapter,
        address=address,
        credentials=credentials,
        **rest,
    )


def inventory(*devices: Device, credentials: Credentials | None = CREDENTIALS) -> Inventory:
    return Inventory(
        devices={one.device_id: one for one in devices},
        credentials={"group": credentials} if credentials else {},
    )


def added(*ids: str) -> InventoryChange:
    return InventoryChange(added=frozenset(ids))


class Cameras:
    """Both adapters with what they share, as the gateway builds them."""

    def __init__(
        self, folder: Path, clock: Clock, inventory: Inventory, settings: CameraSettings
    ) -> None:
        self.metrics = CountingMetrics()
        self.hosts = HostGate()
        self.breaker = Breaker(clock=clock, path=folder / "refused.jsonl")
        self.recorders = Recorders()
        shared: dict[str, Any] = {
            "settings": settings,
            "inventory": inventory,
            "clock": clock,
            "metrics": self.metrics,
            "hosts": self.hosts,
            "breaker": self.breaker,
            "recorders": self.recorders,
        }
        self.onvif = OnvifAdapter(**shared)
        self.rtsp = RtspAdapter(**shared)
