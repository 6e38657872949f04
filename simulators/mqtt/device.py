"""What every simulated MQTT device does: connect, say that it lives, number what happens to it."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, ClassVar, Self

from simulators.mqtt.dialects import Dialect, Occurrence, speech
from simulators.mqtt.faults import MqttFault
from simulators.mqtt.link import Link
from simulators.mqtt.packets import Message

HEARTBEAT_S = 30.0
EMPTY_BATTERY = 0.06


class NoPower(RuntimeError):
    """The device is unplugged: nothing happens at it."""


class MqttDevice:
    """A device with a connection of its own. Use it as an asynchronous context manager.

    Entering waits until the broker accepted it.
    """

    FULL_BATTERY: ClassVar[float | None] = None
    """What a fresh battery shows, from 0 to 1. None: it hangs on the mains."""

    def __init__(
        self,
        *,
        broker: str,
        site_id: str,
        device_id: str,
        dialect: Dialect = Dialect.NATIVE,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        """`broker`: `mqtt://[user:password@]host[:port]`. Raises ValueError for another form."""
        self.site_id = site_id
        self.device_id = device_id
        self.dialect = dialect
        self.battery = self.FULL_BATTERY
        self._heartbeat_s = heartbeat_s
        self._speech = speech(dialect, site_id, device_id)
        self._link = Link(
            broker,
            device_id,
            will=self._speech.status(online=False, battery=None),
            birth=self._status,
        )
        self._faults: set[MqttFault] = set()
        self._boot = secrets.token_hex(4)
        self._seq = 0
        self._sos = False
        self._plugged_in_at = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def faults(self) -> frozenset[MqttFault]:
        return frozenset(self._faults)

    @property
    def connected(self) -> bool:
        return self._link.connected.is_set()

    async def start(self) -> None:
        """Connects and stays connected; does not wait for the broker."""
        self._plug_in()

    async def stop(self) -> None:
        """Says goodbye to the broker: no last will."""
        await self._end_tasks()

    async def ready(self, timeout_s: float = 10.0) -> None:
        """Waits for the broker's acceptance. Raises TimeoutError."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._link.connected.wait()
        except TimeoutError:
            raise TimeoutError(f"{self.device_id}: no broker within {timeout_s:g} s") from None

    async def fail(self, fault: MqttFault) -> None:
        if fault in self._faults:
            return
        self._faults.add(fault)
        match fault:
            case MqttFault.UNPLUGGED:
                self._link.cut()
                await self._end_tasks()
            case MqttFault.LOW_BATTERY:
                await self._charge(EMPTY_BATTERY)
                await self.happens("battery.low")

    async def recover(self, fault: MqttFault | None = None) -> None:
        """Free of `fault`, or of every one."""
        ended = set(self._faults) if fault is None else self._faults & {fault}
        self._faults -= ended
        if MqttFault.STICKY_SOS in ended:
            self._sos = False
        if MqttFault.UNPLUGGED in ended:
            self._plug_in()
        if MqttFault.LOW_BATTERY in ended:
            await self._charge(self.FULL_BATTERY)
            await self.happens("battery.ok")

    async def happens(self, type_: str, **attributes: Any) -> Occurrence:
        """Tells an event; returns once the broker acknowledged it. Raises NotSaid, NoPower."""
        what = self._occurrence(type_, attributes)
        sticky = MqttFault.STICKY_SOS in self._faults
        messages = self._speech.event(what, battery=self.battery, sticky=sticky)
        if sticky and type_ == "panic.pressed":
            self._sos = True
        for message in messages:
            await self.publish(message)
        return what

    async def publish(self, message: Message) -> None:
        """Anything at all, for what no well-made device says. Raises NoPower."""
        if MqttFault.UNPLUGGED in self._faults:
            raise NoPower(self.device_id)
        await self._link.publish(message)

    def _occurrence(self, type_: str, attributes: dict[str, Any]) -> Occurrence:
        self._seq += 1
        if MqttFault.SAME_BYTES in self._faults:
            return Occurrence(type=type_, attributes=attributes)
        number = 1 if MqttFault.REUSED_ID in self._faults else self._seq
        return Occurrence(
            type=type_,
            attributes=attributes,
            id=f"{self.device_id}-{self._boot}-{number}",
            time=self._now(),
            seq=self._seq,
        )

    def _now(self) -> datetime:
        if MqttFault.NO_CLOCK in self._faults:
            uptime_s = asyncio.get_running_loop().time() - self._plugged_in_at
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=uptime_s)
        return datetime.now(UTC)

    def _status(self) -> Message:
        return self._speech.status(online=True, battery=self.battery)

    async def _charge(self, battery: float | None) -> None:
        self.battery = battery
        await self.publish(self._status())

    def _plug_in(self) -> None:
        self._plugged_in_at = asyncio.get_running_loop().time()
        self._tasks = [
            asyncio.create_task(self._link.run(), name=f"mqtt {self.device_id}"),
            asyncio.create_task(self._beat(), name=f"heartbeat {self.device_id}"),
        ]

    async def _end_tasks(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _beat(self) -> None:
        while True:
            await self._link.connected.wait()
            if MqttFault.SILENT not in self._faults:
                uptime_s = asyncio.get_running_loop().time() - self._plugged_in_at
                await self._link.publish(
                    self._speech.heartbeat(battery=self.battery, uptime_s=uptime_s, sos=self._sos)
                )
            await asyncio.sleep(self._heartbeat_s)

    async def __aenter__(self) -> Self:
        await self.start()
        try:
            await self.ready()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()
