"""What a simulated camera is at this moment: its plate, its clock, its account, its faults."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from simulators.camera.account import Account
from simulators.camera.faults import Fault

SILENCE_S = 120.0
"""Longer than any client waits; then the connection goes, so that they do not pile up."""


class Plate(Struct, frozen=True, kw_only=True):
    """What stands on the camera's type plate."""

    maker: str = "Simulated"
    model: str = "SIM-IPC-360"
    firmware: str = "V5.7.3 build 220112"
    serial: str = "SIM0000001"
    hardware: str = "88"
    mac: str = "02:00:00:00:00:01"


class CameraState:
    """Shared by the camera's two servers.

    `onvif_address` and `rtsp_address` are `host:port` as the camera reports them; they need not be
    where it can be reached.
    """

    def __init__(
        self, *, plate: Plate, account: Account, onvif_address: str, rtsp_address: str
    ) -> None:
        self.plate = plate
        self.account = account
        self.onvif_address = onvif_address
        self.rtsp_address = rtsp_address
        self.faults: dict[Fault, float] = {}

    def now(self) -> datetime:
        """The camera's clock."""
        return datetime.now(UTC) + timedelta(seconds=self.faults.get(Fault.SKEW, 0.0))

    async def hesitate(self) -> None:
        """What every request goes through before its answer: nothing, a delay, or silence.

        Silence ends by TimeoutError: the connection is then to be dropped without an answer.
        """
        if Fault.SILENT in self.faults:
            await asyncio.sleep(SILENCE_S)
            raise TimeoutError
        if Fault.SLOW in self.faults:
            await asyncio.sleep(self.faults[Fault.SLOW])
