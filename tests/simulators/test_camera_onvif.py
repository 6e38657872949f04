"""The simulated camera as an independent client sees it: onvif-zeep-async, aiohttp's own digest."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aiohttp import DigestAuthMiddleware
from onvif.exceptions import ONVIFError
from zeep.exceptions import Fault as ZeepFault

from simulators.camera import PASSWORD, Fault, Plate, Scheme, SimulatedCamera, Topic
from tests.simulators.onvif_client import call, onvif_client

STREAM_SETUP = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}


async def test_an_independent_client_reads_the_plate() -> None:
    plate = Plate(maker="Bereke & Co", model="BK-4", firmware="V1", serial="BK0001")
    async with SimulatedCamera(plate=plate) as camera, onvif_client(camera) as client:
        device = await client.create_devicemgmt_service()
        told = await device.GetDeviceInformation()
        assert (told.Manufacturer, told.Model) == ("Bereke & Co", "BK-4")
        assert (told.FirmwareVersion, told.SerialNumber) == ("V1", "BK0001")
        scopes = [scope.ScopeItem for scope in await device.GetScopes()]
        assert "onvif://www.onvif.org/Profile/Streaming" in scopes
        assert (await device.GetHostname()).Name == "bk0001"
        (interface,) = await device.GetNetworkInterfaces()
        assert interface.IPv4.Config.Manual[0].Address == camera.host


async def test_an_independent_client_finds_profile_stream_and_picture() -> None:
    async with SimulatedCamera() as camera, onvif_client(camera) as client:
        media = await client.create_media_service()
        (profile,) = await media.GetProfiles()
        resolution = profile.VideoEncoderConfiguration.Resolution
        assert (resolution.Width, resolution.Height) == (640, 360)
        (source,) = await media.GetVideoSources()
        assert source.Framerate == 12
        stream = await media.GetStreamUri(
            {"ProfileToken": profile.token, "StreamSetup": STREAM_SETUP}
        )
        assert stream.Uri.startswith(camera.rtsp_url + "?")
        picture = await client.get_snapshot(profile.token)
        assert picture is not None
        assert picture.startswith(b"\xff\xd8")


async def test_the_reported_host_need_not_be_the_real_one() -> None:
    async with SimulatedCamera(reported_host="192.168.1.64") as camera:
        async with aiohttp.ClientSession() as session:
            answer = await call(session, camera.onvif_url, "<tds:GetServices/>")
        assert f"http://192.168.1.64:{camera.onvif_port}/onvif/media_service" in answer


async def test_events_come_through_a_pull_point() -> None:
    async with SimulatedCamera() as camera, onvif_client(camera) as client:
        manager = await client.create_pullpoint_manager(timedelta(seconds=60), lambda: None)
        assert camera.subscriptions == 1
        pull = manager.get_service()
        first = await pull.PullMessages({"Timeout": timedelta(seconds=5), "MessageLimit": 100})
        assert len(first.NotificationMessage) == len(Topic)

        asyncio.get_running_loop().call_soon(camera.tell, Topic.MOTION, True)
        answer = await pull.PullMessages({"Timeout": timedelta(seconds=5), "MessageLimit": 100})
        (message,) = answer.NotificationMessage
        assert message.Topic._value_1 == "tns1:RuleEngine/CellMotionDetector/Motion"
        content = message.Message._value_1
        assert content.PropertyOperation == "Changed"
        assert (content.Data.SimpleItem[0].Name, content.Data.SimpleItem[0].Value) == (
            "IsMotion",
            "true",
        )
        await manager.shutdown()
        assert camera.subscriptions == 0


async def test_a_quiet_pull_ends_empty_at_its_time_out() -> None:
    async with SimulatedCamera() as camera, onvif_client(camera) as client:
        manager = await client.create_pullpoint_manager(timedelta(seconds=60), lambda: None)
        pull = manager.get_service()
        await pull.PullMessages({"Timeout": timedelta(seconds=1), "MessageLimit": 100})
        answer = await pull.PullMessages({"Timeout": timedelta(seconds=1), "MessageLimit": 100})
        assert not answer.NotificationMessage
        assert answer.TerminationTime > answer.CurrentTime
        await manager.shutdown()


async def test_a_pull_point_is_renewed_synchronised_and_ended() -> None:
    async with SimulatedCamera(username=None) as camera, aiohttp.ClientSession() as session:
        address = camera.onvif_url.replace("device_service", "event_service")
        made = await call(session, address, "<tev:CreatePullPointSubscription/>")
        own = made.partition("<wsa5:Address>")[2].partition("<")[0]
        renew = "<wsnt:Renew><wsnt:TerminationTime>{}</wsnt:TerminationTime></wsnt:Renew>"
        assert "RenewResponse" in await call(session, own, renew.format("PT120S"))
        assert "UnacceptableTerminationTime" in await call(session, own, renew.format("PT0S"))
        assert "UnacceptableTerminationTime" in await call(
            session, own, renew.format("2001-01-01T00:00:00Z")
        )
        await call(session, own, "<tev:SetSynchronizationPoint/>")
        pull = (
            "<tev:PullMessages><tev:Timeout>PT5S</tev:Timeout>"
            "<tev:MessageLimit>100</tev:MessageLimit></tev:PullMessages>"
        )
        states = await call(session, own, pull)
        assert states.count('PropertyOperation="Initialized"') == 2 * len(Topic)
        assert "UnsubscribeResponse" in await call(session, own, "<wsnt:Unsubscribe/>")
        assert "ResourceUnknown" in await call(session, own, pull)


async def test_subscription_slots_are_few() -> None:
    create = "<tev:CreatePullPointSubscription/>"
    async with SimulatedCamera(username=None) as camera, aiohttp.ClientSession() as session:
        address = camera.onvif_url.replace("device_service", "event_service")
        answers = [await call(session, address, create) for _ in range(7)]
        assert ["MaxSubscriptions" in answer for answer in answers] == [False] * 6 + [True]


async def test_a_wrong_password_is_refused() -> None:
    async with SimulatedCamera() as camera, onvif_client(camera, password="guessed") as client:
        device = await client.create_devicemgmt_service()
        with pytest.raises((ONVIFError, ZeepFault), match="not authorized"):
            await device.GetDeviceInformation()
        assert camera.account.wrong_tries == 1


async def test_wrong_passwords_lock_the_account_for_the_right_one_too() -> None:
    async with SimulatedCamera(locks_after=3) as camera:
        for _ in range(3):
            async with onvif_client(camera, password="guessed") as client:
                device = await client.create_devicemgmt_service()
                with pytest.raises((ONVIFError, ZeepFault)):
                    await device.GetDeviceInformation()
        assert camera.account.locked
        async with onvif_client(camera) as client:
            device = await client.create_devicemgmt_service()
            with pytest.raises((ONVIFError, ZeepFault), match="locked"):
                await device.GetDeviceInformation()
        assert camera.account.wrong_tries == 3


@pytest.mark.parametrize("scheme", [Scheme.DIGEST_MD5, Scheme.DIGEST_SHA_256])
async def test_http_digest_is_taken_by_itself(scheme: Scheme) -> None:
    operation = "<tds:GetDeviceInformation/>"
    async with SimulatedCamera(schemes=(scheme,)) as camera:
        right = DigestAuthMiddleware("admin", PASSWORD)
        async with aiohttp.ClientSession(middlewares=(right,)) as session:
            assert "SIM0000001" in await call(session, camera.onvif_url, operation)
        assert camera.account.wrong_tries == 0
        wrong = DigestAuthMiddleware("admin", "guessed")
        async with aiohttp.ClientSession(middlewares=(wrong,)) as session:
            assert "ter:NotAuthorized" in await call(session, camera.onvif_url, operation)
        assert camera.account.wrong_tries > 0


async def test_ws_security_is_judged_by_the_cameras_own_clock() -> None:
    async with SimulatedCamera() as camera:
        await camera.fail(Fault.SKEW, seconds=3600)
        async with onvif_client(camera) as client:
            device = await client.create_devicemgmt_service()
            shown = (await device.GetSystemDateAndTime()).UTCDateTime
            clock = datetime(
                shown.Date.Year,
                shown.Date.Month,
                shown.Date.Day,
                shown.Time.Hour,
                shown.Time.Minute,
                shown.Time.Second,
                tzinfo=UTC,
            )
            assert abs(clock - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=1)
            with pytest.raises((ONVIFError, ZeepFault), match="not authorized"):
                await device.GetDeviceInformation()
        async with onvif_client(camera, adjust_time=True) as client:
            device = await client.create_devicemgmt_service()
            assert (await device.GetDeviceInformation()).SerialNumber == "SIM0000001"


async def test_what_is_no_soap_gets_a_fault() -> None:
    async with (
        SimulatedCamera() as camera,
        aiohttp.ClientSession() as session,
        session.post(camera.onvif_url, data=b"<broken") as response,
    ):
        assert response.status == 400
        assert "ter:WellFormed" in await response.text()


async def test_an_operation_that_it_does_not_know_gets_a_fault() -> None:
    async with SimulatedCamera(username=None) as camera, aiohttp.ClientSession() as session:
        answer = await call(session, camera.onvif_url, "<tds:SystemReboot/>")
        assert "ter:ActionNotSupported" in answer
