"""A whole camera: its two servers on one address, its clock, its account and its faults."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from types import TracebackType

from simulators.camera.account import Account, Scheme
from simulators.camera.device_service import PATH
from simulators.camera.event_service import EventService, Topic
from simulators.camera.faults import DEFAULT_SECONDS, Fault
from simulators.camera.onvif import OnvifServer
from simulators.camera.rtsp import STREAM_PATH, RtspServer
from simulators.camera.state import CameraState, Plate
from simulators.port import Port

PASSWORD = "simulated-1"
LOCKS_AFTER = 5
LOCKED_FOR_S = 1800.0
"""Hikvision's and Dahua's usual numbers."""


class SimulatedCamera:
    """An IP camera that speaks ONVIF and RTSP. Use it as an asynchronous context manager.

    `username` None: it asks nobody for a password. `reported_host`: the host that it names in
    its own addresses, for cameras that stand behind a translated network.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        onvif_port: int = 0,
        rtsp_port: int = 0,
        username: str | None = "admin",
        password: str = PASSWORD,
        schemes: Collection[Scheme] = tuple(Scheme),
        locks_after: int = LOCKS_AFTER,
        locked_for_s: float = LOCKED_FOR_S,
        plate: Plate | None = None,
        reported_host: str = "",
    ) -> None:
        """Takes its ports, and answers from `start` on. Raises OSError when one is taken."""
        self._onvif_port = Port(host, onvif_port)
        try:
            self._rtsp_port = Port(host, rtsp_port)
        except OSError:
            self._onvif_port.release()
            raise
        self.host = host
        self.account = Account(
            username,
            password,
            schemes=schemes,
            locks_after=locks_after,
            locked_for_s=locked_for_s,
        )
        reported = reported_host or host
        self._state = CameraState(
            plate=plate or Plate(),
            account=self.account,
            onvif_address=f"{reported}:{self.onvif_port}",
            rtsp_address=f"{reported}:{self.rtsp_port}",
        )
        self._events = EventService(self._state)
        self._onvif = OnvifServer(self._state, self._onvif_port, self._events)
        self._rtsp = RtspServer(self._state, self._rtsp_port)
        self._switching = asyncio.Lock()

    @property
    def onvif_port(self) -> int:
        return self._onvif_port.number

    @property
    def rtsp_port(self) -> int:
        return self._rtsp_port.number

    @property
    def onvif_url(self) -> str:
        """The device service, where it really is."""
        return f"http://{self.host}:{self.onvif_port}{PATH}"

    @property
    def rtsp_url(self) -> str:
        """The stream, where it really is; without credentials."""
        return f"rtsp://{self.host}:{self.rtsp_port}{STREAM_PATH}"

    @property
    def plate(self) -> Plate:
        return self._state.plate

    @property
    def faults(self) -> frozenset[Fault]:
        return frozenset(self._state.faults)

    @property
    def requests(self) -> int:
        """HTTP requests so far, snapshots included."""
        return self._onvif.requests

    @property
    def viewers(self) -> int:
        """Open RTSP connections."""
        return self._rtsp.clients

    @property
    def subscriptions(self) -> int:
        """Open pull points."""
        return self._events.subscriptions

    async def start(self) -> None:
        """Answers on its ports, as far as its faults let it."""
        async with self._switching:
            await self._obey()

    async def stop(self) -> None:
        """Cuts every connection and gives the ports up."""
        await self._onvif.close()
        await self._rtsp.close()
        self._onvif_port.release()
        self._rtsp_port.release()

    async def fail(self, fault: Fault, seconds: float | None = None) -> None:
        """From the return on the camera has this fault. `seconds`: how wrong, or how slow."""
        async with self._switching:
            if seconds is None:
                seconds = DEFAULT_SECONDS.get(fault, 0.0)
            self._state.faults[fault] = seconds
            await self._obey()

    async def recover(self, fault: Fault | None = None) -> None:
        """From the return on the camera is free of `fault`, or of every one."""
        async with self._switching:
            ended = set(self._state.faults) if fault is None else {fault}
            for one in ended:
                self._state.faults.pop(one, None)
            if Fault.SILENT in ended:
                # Whoever still waits for an answer would wait until the silence's own end.
                await self._onvif.cut()
                await self._rtsp.cut()
            await self._obey()

    def tell(self, topic: Topic, active: bool) -> None:
        """Sends an event to every open pull point."""
        self._events.tell(topic, active)

    async def _obey(self) -> None:
        faults = self._state.faults
        self.account.changed = Fault.WRONG_PASSWORD in faults
        self.account.lock = Fault.LOCKED in faults
        if Fault.DOWN in faults:
            await self._onvif.close()
            self._events.forget()
        else:
            await self._onvif.open()
        if Fault.DOWN in faults or Fault.NO_RTSP in faults:
            await self._rtsp.close()
        else:
            await self._rtsp.open()

    async def __aenter__(self) -> SimulatedCamera:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()
