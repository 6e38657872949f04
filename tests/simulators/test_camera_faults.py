"""Each fault as a client meets it, and that recovery ends it on the same ports."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import aiohttp
import pytest
from onvif.exceptions import ONVIFError
from zeep.exceptions import Fault as ZeepFault
from zeep.exceptions import XMLSyntaxError

from simulators.camera import Fault, SimulatedCamera, parse_fault
from tests.peers import until
from tests.simulators.onvif_client import call, onvif_client
from tests.simulators.rtsp_client import rtsp

TIME = "<tds:GetSystemDateAndTime/>"


async def test_down_refuses_both_ports_and_recovers_on_them() -> None:
    each_anew = aiohttp.TCPConnector(force_close=True)
    async with (
        SimulatedCamera() as camera,
        aiohttp.ClientSession(connector=each_anew) as session,
    ):
        before = await call(session, camera.onvif_url, TIME)
        await camera.fail(Fault.DOWN)
        with pytest.raises(aiohttp.ClientConnectorError):
            await call(session, camera.onvif_url, TIME)
        with pytest.raises(ConnectionRefusedError):
            await rtsp(camera, "OPTIONS")
        await camera.recover()
        assert "UTCDateTime" in before
        assert "UTCDateTime" in await call(session, camera.onvif_url, TIME)
        assert (await rtsp(camera, "OPTIONS")).status == 200


async def test_down_forgets_subscriptions() -> None:
    async with SimulatedCamera() as camera, onvif_client(camera) as client:
        await client.create_pullpoint_manager(timedelta(seconds=60), lambda: None)
        assert camera.subscriptions == 1
        await camera.fail(Fault.DOWN)
        await camera.recover()
        assert camera.subscriptions == 0


async def test_silent_takes_the_connection_and_says_nothing() -> None:
    async with SimulatedCamera() as camera:
        await camera.fail(Fault.SILENT)
        patience = aiohttp.ClientTimeout(total=0.3)
        async with aiohttp.ClientSession(timeout=patience) as session:
            with pytest.raises(TimeoutError):
                await call(session, camera.onvif_url, TIME)
        with pytest.raises(TimeoutError):
            await rtsp(camera, "OPTIONS", patience_s=0.3)


async def test_the_end_of_silence_cuts_whoever_still_waits() -> None:
    async with SimulatedCamera() as camera, aiohttp.ClientSession() as session:
        await camera.fail(Fault.SILENT)
        waiting = asyncio.create_task(call(session, camera.onvif_url, TIME))
        await until(lambda: camera.requests)
        await camera.recover()
        with pytest.raises(aiohttp.ClientError):
            await waiting
        assert "UTCDateTime" in await call(session, camera.onvif_url, TIME)


async def test_slow_answers_all_the_same() -> None:
    async with SimulatedCamera() as camera, aiohttp.ClientSession() as session:
        await camera.fail(Fault.SLOW, seconds=0.2)
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert "UTCDateTime" in await call(session, camera.onvif_url, TIME)
        assert loop.time() - began >= 0.2


@pytest.mark.parametrize("fault", [Fault.WRONG_PASSWORD, Fault.LOCKED])
async def test_the_known_password_is_refused_by_both_services(fault: Fault) -> None:
    async with SimulatedCamera() as camera:
        await camera.fail(fault)
        async with onvif_client(camera) as client:
            device = await client.create_devicemgmt_service()
            with pytest.raises((ONVIFError, ZeepFault)):
                await device.GetDeviceInformation()
            assert (await rtsp(camera, "DESCRIBE", password="simulated-1")).status == 401
            await camera.recover(fault)
            assert (await device.GetDeviceInformation()).SerialNumber == "SIM0000001"
        assert (await rtsp(camera, "DESCRIBE", password="simulated-1")).status == 200


async def test_no_rtsp_leaves_onvif_alone() -> None:
    async with SimulatedCamera() as camera, aiohttp.ClientSession() as session:
        await camera.fail(Fault.NO_RTSP)
        with pytest.raises(ConnectionRefusedError):
            await rtsp(camera, "OPTIONS")
        assert "UTCDateTime" in await call(session, camera.onvif_url, TIME)


async def test_stream_404() -> None:
    async with SimulatedCamera(username=None) as camera:
        await camera.fail(Fault.STREAM_404)
        assert (await rtsp(camera, "DESCRIBE")).status == 404


async def test_no_profile() -> None:
    async with SimulatedCamera() as camera, onvif_client(camera) as client:
        await camera.fail(Fault.NO_PROFILE)
        media = await client.create_media_service()
        assert await media.GetProfiles() == []
        with pytest.raises((ONVIFError, ZeepFault), match="does not exist"):
            await media.GetSnapshotUri({"ProfileToken": "Profile_1"})


async def test_garbage_xml_is_no_xml() -> None:
    async with SimulatedCamera(username=None) as camera, onvif_client(camera) as client:
        await camera.fail(Fault.GARBAGE_XML)
        device = await client.create_devicemgmt_service()
        with pytest.raises((ONVIFError, XMLSyntaxError)):
            await device.GetHostname()


@pytest.mark.parametrize(
    ("text", "fault", "seconds"),
    [
        ("down", Fault.DOWN, 0),
        ("skew", Fault.SKEW, 3600),
        ("skew=-5m", Fault.SKEW, -300),
        ("skew=2d", Fault.SKEW, 172_800),
        ("slow=250ms", Fault.SLOW, 0.25),
        ("slow=3", Fault.SLOW, 3),
    ],
)
def test_a_fault_can_be_written(text: str, fault: Fault, seconds: float) -> None:
    assert parse_fault(text) == (fault, seconds)


@pytest.mark.parametrize("text", ["dwon", "down=3s", "skew=", "slow=soon"])
def test_a_fault_written_wrong_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"fault|duration"):
        parse_fault(text)
