"""Two clients: the independent onvif-zeep-async, ready for one camera, and a bare SOAP call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from onvif import ONVIFCamera

from simulators.camera import PASSWORD, SimulatedCamera


@asynccontextmanager
async def onvif_client(
    camera: SimulatedCamera, password: str = PASSWORD, *, adjust_time: bool = False
) -> AsyncIterator[ONVIFCamera]:
    client = ONVIFCamera(camera.host, camera.onvif_port, "admin", password, adjust_time=adjust_time)
    try:
        await client.update_xaddrs()
        yield client
    finally:
        await client.close()


async def call(session: aiohttp.ClientSession, address: str, operation: str) -> str:
    """The text of the answer, whatever it is; sent without credentials of its own."""
    envelope = (
        '<env:Envelope xmlns:env="http://www.w3.org/2003/05/soap-envelope"'
        ' xmlns:tds="http://www.onvif.org/ver10/device/wsdl"'
        ' xmlns:tev="http://www.onvif.org/ver10/events/wsdl"'
        ' xmlns:wsnt="http://docs.oasis-open.org/wsn/b-2">'
        f"<env:Body>{operation}</env:Body></env:Envelope>"
    )
    async with session.post(address, data=envelope.encode()) as response:
        return await response.text()
