"""A district that runs: its broker, its operations center and every device of its plan."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from types import TracebackType

from simulators.broker import DemoBroker
from simulators.camera import SimulatedCamera
from simulators.district.plan import CREDENTIAL_GROUPS, Kind, MqttPlan, SitePlan
from simulators.mqtt import Intercom, MqttDevice, PanicButton, Turnstile
from simulators.opscenter import OperationsCenter

USERNAME = "admin"
HEARTBEAT_S = 10.0
READY_S = 30.0

Device = SimulatedCamera | MqttDevice

MQTT_KINDS: Mapping[Kind, type[MqttDevice]] = {
    Kind.PANIC_BUTTON: PanicButton,
    Kind.TURNSTILE: Turnstile,
    Kind.INTERCOM: Intercom,
}


class District:
    """Use it as an asynchronous context manager; entering waits until every device answers.

    `broker`: the address of a real one; empty for a demo broker of its own. `secret` and `token`
    are what the operations center expects.
    """

    def __init__(
        self, sites: Sequence[SitePlan], *, secret: str, token: str = "", broker: str = ""
    ) -> None:
        self.sites = tuple(sites)
        self.passwords = {group: secrets.token_urlsafe(9) for group in CREDENTIAL_GROUPS}
        self.center = OperationsCenter(secret=secret, token=token)
        self.broker_url = broker
        self.devices: dict[str, Device] = {}
        self.kinds: dict[str, Kind] = {}
        self.site_of: dict[str, SitePlan] = {}
        self._broker = None if broker else DemoBroker()

    def of_kind(self, kind: Kind) -> list[str]:
        """The ids of all devices of a kind."""
        return [device_id for device_id, one in self.kinds.items() if one is kind]

    async def start(self) -> None:
        """Raises OSError, RuntimeError or TimeoutError when a part does not come up."""
        try:
            await self.center.start()
            if self._broker is not None:
                await self._broker.start()
                self.broker_url = self._broker.url
            self._build()
            await asyncio.gather(*(device.start() for device in self.devices.values()))
            await asyncio.gather(
                *(
                    device.ready(READY_S)
                    for device in self.devices.values()
                    if isinstance(device, MqttDevice)
                )
            )
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Devices first, then what they speak to."""
        await asyncio.gather(*(device.stop() for device in self.devices.values()))
        await self.center.stop()
        if self._broker is not None:
            await self._broker.stop()

    def _build(self) -> None:
        for site in self.sites:
            for camera in site.cameras:
                self._add(
                    site,
                    camera.device_id,
                    Kind.CAMERA,
                    SimulatedCamera(
                        host=camera.host,
                        username=USERNAME,
                        password=self.passwords[camera.credentials],
                        schemes=camera.schemes,
                        plate=camera.plate,
                    ),
                )
            for plan in site.mqtt:
                self._add(site, plan.device_id, plan.kind, self._mqtt(site, plan))

    def _mqtt(self, site: SitePlan, plan: MqttPlan) -> MqttDevice:
        return MQTT_KINDS[plan.kind](
            broker=self.broker_url,
            site_id=site.site_id,
            device_id=plan.device_id,
            dialect=plan.dialect,
            heartbeat_s=HEARTBEAT_S,
        )

    def _add(self, site: SitePlan, device_id: str, kind: Kind, device: Device) -> None:
        self.devices[device_id] = device
        self.kinds[device_id] = kind
        self.site_of[device_id] = site

    async def __aenter__(self) -> District:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()
