"""The MQTT adapter: panic devices on one session, all others on another."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

import msgspec
from msgspec import Struct

from adapters.mqtt import durable
from adapters.mqtt.connection import Broker, Login
from adapters.mqtt.privacy import Pseudonyms
from adapters.mqtt.reader import Reader
from adapters.mqtt.road import Road
from adapters.mqtt.session import Session
from adapters.mqtt.standing import Standing
from adapters.mqtt.subscriptions import Subscriptions
from adapters.mqtt.supervision import Supervision
from adapters.mqtt.twins import Twins
from adapters.mqtt.urgent import MOST_UNDER_WAY
from gateway.model import AdapterName, Device, DeviceKind, Inventory
from gateway.ports import Clock, Emit, InventoryChange, Metrics

log = logging.getLogger(__name__)

TELEMETRY_AT_ONCE = 65_535
"""Unacknowledged messages that a broker of MQTT 5 may send: all that packet ids allow."""
ALARMS_AT_ONCE = MOST_UNDER_WAY
SWEEP_S = 1.0
SAVE_S = 5.0
"""How often the devices' lasting levels are saved, where they changed."""
LAST_SAVE_S = 1.0
"""How long leaving may wait for a disk."""


class MqttSettings(Struct, frozen=True, kw_only=True):
    """Where the brokers are and who we are to them. `repr` shows no secret.

    Without `alarm_broker` both sessions use `broker`. `pseudonym_key` keys the pseudonyms of cards
    and names. The files are for `tls` brokers; without `ca_file` the system's authorities count.
    """

    broker: Broker
    alarm_broker: Broker | None = None
    client_id: str
    username: str = ""
    password: str = ""
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    pseudonym_key: bytes

    def __repr__(self) -> str:
        return (
            f"MqttSettings(broker={str(self.broker)!r}, alarm_broker={str(self.alarm_broker)!r}, "
            f"client_id={self.client_id!r}, …)"
        )


class MqttAdapter:
    """Implements `ports.Adapter` for all MQTT devices.

    The session `<client_id>` carries telemetry, `<client_id>-alarm` the panic devices. The brokers
    keep both while the gateway is away; their state is in `data_dir`.
    """

    def __init__(
        self,
        *,
        name: str,
        settings: MqttSettings,
        inventory: Inventory,
        clock: Clock,
        metrics: Metrics,
        data_dir: Path,
    ) -> None:
        self._name = name
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._data_dir = data_dir
        self._levels_file = data_dir / f"levels-{name}.json"
        self._saving = threading.Lock()
        self._keeping = asyncio.Lock()
        self._recalled = False
        self._ready = False
        self._one_broker = settings.alarm_broker in (None, settings.broker)
        self._devices = _mqtt_devices(inventory)
        self._standing = Standing(self._devices, Pseudonyms(settings.pseudonym_key))

        telemetry = self._session("telemetry", settings.broker, TELEMETRY_AT_ONCE)
        alarm = self._session("alarm", settings.alarm_broker or settings.broker, ALARMS_AT_ONCE)
        twins = Twins(alarm.hears, clock)
        self._roads = {
            label: Road(
                session=session,
                reader=Reader(self._subscriptions(label), self._standing, clock, metrics),
                standing=self._standing,
                twins=twins,
                keep=self._keep_levels,
                panic=session is alarm,
                clock=clock,
                metrics=metrics,
            )
            for label, session in (("telemetry", telemetry), ("alarm", alarm))
        }
        self._supervision = Supervision(self._standing, self._listening_since, clock)
        self._take_over()

    async def run(self, emit: Emit) -> None:
        """See `ports.Adapter`. A broker that cannot be reached is tried for ever; this ends only by
        cancellation or by a fault of our own."""
        await self._recall()
        try:
            async with asyncio.TaskGroup() as tasks:
                for label, road in self._roads.items():
                    name = f"{self._name} {label}"
                    tasks.create_task(road.run(emit, name), name=name)
                tasks.create_task(self._supervise(), name=f"{self._name} supervision")
                tasks.create_task(self._save_levels(), name=f"{self._name} levels")
                self._ready = True
        finally:
            self._ready = False
            if self._standing.changed:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LAST_SAVE_S):
                        await asyncio.to_thread(self._save, self._levels())

    async def apply(self, inventory: Inventory, change: InventoryChange) -> None:
        """See `ports.Adapter`. Brokers are told of added and removed filters only."""
        devices = _mqtt_devices(inventory)
        if not change or devices == self._devices:
            return
        self._devices = devices
        self._standing.keep(devices)
        self._take_over()

    def ready(self) -> bool:
        return self._ready

    def brokers(self) -> Mapping[str, bool]:
        """Which session stands (`telemetry`, `alarm`): connected and subscribed."""
        return {
            label: road.session.listening_since is not None for label, road in self._roads.items()
        }

    def _session(self, label: str, broker: Broker, at_once: int) -> Session:
        settings = self._settings
        return Session(
            label=label,
            broker=broker,
            tls=_tls(settings) if broker.tls else None,
            login=Login(
                client_id=settings.client_id + ("-alarm" if label == "alarm" else ""),
                username=settings.username,
                password=settings.password,
                receive_maximum=at_once,
            ),
            folder=self._data_dir,
            clock=self._clock,
            metrics=self._metrics,
        )

    # --- the inventory ----------------------------------------------------------------------------

    def _take_over(self) -> None:
        for label, road in self._roads.items():
            road.reader.subscriptions = self._subscriptions(label)
            road.reader.forget_strangers()
            road.session.want(road.reader.subscriptions.filters())
        self._supervision.watch(self._devices.values())

    def _subscriptions(self, label: str) -> Subscriptions:
        alarm = label == "alarm"
        own = [device for device in self._devices.values() if _panic(device) is alarm]
        others = [device for device in self._devices.values() if _panic(device) is not alarm]
        if alarm:
            return Subscriptions(own, others, native_at_once=False)
        if self._one_broker:
            return Subscriptions(own, others, native_at_once=True)
        # A button that talks to the wrong broker is heard there too: the other session cannot.
        return Subscriptions([*own, *others], (), native_at_once=True)

    def _listening_since(self, device: Device) -> float | None:
        return self._roads["alarm" if _panic(device) else "telemetry"].session.listening_since

    # --- beside the roads -------------------------------------------------------------------------

    async def _supervise(self) -> NoReturn:
        while True:
            await self._clock.sleep(SWEEP_S)
            reports = self._supervision.sweep()
            if reports:
                self._roads["telemetry"].backlog.put(reports, None)

    async def _recall(self) -> None:
        if self._recalled:
            return
        self._recalled = True
        try:
            content = await asyncio.to_thread(self._levels_file.read_bytes)
            self._standing.recall(msgspec.json.decode(content, type=dict[str, list[str]]))
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("mqtt levels of devices are forgotten: %s", error)

    async def _save_levels(self) -> NoReturn:
        while True:
            await self._clock.sleep(SAVE_S)
            await self._keep_levels()

    async def _keep_levels(self) -> None:
        """Returns when all that changed so far is on disk, by whomever it is saved."""
        async with self._keeping:
            if self._standing.changed:
                await asyncio.to_thread(self._save, self._levels())

    def _levels(self) -> bytes:
        self._standing.changed = False
        return msgspec.json.encode(self._standing.memory())

    def _save(self, levels: bytes) -> None:
        """Blocks. What cannot be saved is told again by the devices, as events of their own; rather
        no file than an old one, by which a press would be no news."""
        try:
            with self._saving:  # the last save may meet one that a thread is still at
                durable.write(self._levels_file, levels)
        except OSError as error:
            self._standing.changed = True
            log.warning("mqtt levels of devices are not saved: %s", error)
            with contextlib.suppress(OSError):
                self._levels_file.unlink(missing_ok=True)


def _mqtt_devices(inventory: Inventory) -> dict[str, Device]:
    return {
        device_id: device
        for device_id, device in inventory.devices.items()
        if device.adapter is AdapterName.MQTT
    }


def _panic(device: Device) -> bool:
    return device.kind is DeviceKind.PANIC_BUTTON


def _tls(settings: MqttSettings) -> Callable[[], ssl.SSLContext]:
    """Makes the context anew for each connection: a renewed certificate needs no restart."""

    def context() -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=settings.ca_file)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.cert_file is not None:
            # A password would be asked for at the terminal: an encrypted key fails instead.
            made.load_cert_chain(settings.cert_file, settings.key_file, password="")
        return made

    return context
