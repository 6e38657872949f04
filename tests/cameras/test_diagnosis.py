"""The ladder by hand, and both adapters on simulated cameras with each of their faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.breaker import Breaker
from adapters.diagnosis import ADVICE, probe
from adapters.hosts import HostGate
from adapters.ladder import Rung, RungName
from adapters.watch import CameraSettings
from gateway.clock import SystemClock
from gateway.errors import NotFound
from gateway.model import STATE_OF, AdapterName, Credentials, Device, DeviceKind, Reason, State
from simulators.camera import PASSWORD, SimulatedCamera, parse_fault
from simulators.camera.account import Scheme
from tests.cameras import fakes
from tests.cameras.fakes import FakeOnvif, FakeRtsp, serving
from tests.cameras.neighbours import Cameras, Listener, device, inventory
from tests.peers import free_port, until

RIGHT = Credentials(username="admin", password=PASSWORD)
SETTINGS = CameraSettings(health_interval_s=1.0, deadline_s=5.0, connect_s=1.0)
TWO_INTERVALS_S = 2 * SETTINGS.health_interval_s + 2 * SETTINGS.deadline_s


async def climb(
    folder: Path,
    device: Device,
    *others: Device,
    deadline_s: float = 5.0,
    credentials: Credentials | None = RIGHT,
) -> list[Rung]:
    clock = SystemClock()
    return list(
        await probe(
            device,
            inventory(device, *others, credentials=credentials),
            settings=CameraSettings(deadline_s=deadline_s, connect_s=1.0),
            clock=clock,
            hosts=HostGate(),
            breaker=Breaker(clock=clock, path=folder / "refused.jsonl"),
        )
    )


def found(rungs: list[Rung]) -> tuple[RungName, Reason | None]:
    """Where it ended, and why."""
    return rungs[-1].name, rungs[-1].reason


# --- by hand -------------------------------------------------------------------------------------


async def test_a_sound_camera_holds_on_every_rung(tmp_path: Path) -> None:
    async with SimulatedCamera() as camera:
        rungs = await climb(tmp_path, device(camera.onvif_url))
    assert [rung.name for rung in rungs] == [
        RungName.NAME,
        RungName.TCP,
        RungName.ONVIF,
        RungName.CLOCK,
        RungName.AUTHENTICATION,
        RungName.PROFILE,
        RungName.DESCRIBE,
    ]
    assert all(rung.reason is None and rung.finding and rung.seconds >= 0 for rung in rungs)


async def test_a_sound_stream_holds_on_every_rung(tmp_path: Path) -> None:
    async with SimulatedCamera() as camera:
        rungs = await climb(tmp_path, device(camera.rtsp_url, adapter=AdapterName.RTSP))
    assert [rung.name for rung in rungs] == [
        RungName.NAME,
        RungName.TCP,
        RungName.RTSP,
        RungName.DESCRIBE,
    ]
    assert all(rung.reason is None for rung in rungs)


@pytest.mark.parametrize(
    ("fault", "rung", "reason"),
    [
        ("down", RungName.TCP, Reason.REFUSED),
        ("silent", RungName.ONVIF, Reason.TIMEOUT),
        ("garbage_xml", RungName.ONVIF, Reason.PROTOCOL_ERROR),
        ("wrong_password", RungName.AUTHENTICATION, Reason.AUTH_FAILED),
        ("locked", RungName.AUTHENTICATION, Reason.LOCKED_OUT),
        ("no_profile", RungName.PROFILE, Reason.NO_PROFILE),
        ("no_rtsp", RungName.DESCRIBE, Reason.REFUSED),
        ("stream_404", RungName.DESCRIBE, Reason.STREAM_NOT_FOUND),
    ],
)
async def test_each_fault_gives_way_on_its_own_rung(
    tmp_path: Path, fault: str, rung: RungName, reason: Reason
) -> None:
    async with SimulatedCamera() as camera:
        await camera.fail(*parse_fault(fault))
        rungs = await climb(tmp_path, device(camera.onvif_url), deadline_s=1.0)
    assert found(rungs) == (rung, reason)
    assert all(below.reason is None for below in rungs[:-1])


@pytest.mark.parametrize("skew", ["-3h", "40s", "3650d"])
@pytest.mark.parametrize("scheme", list(Scheme))
async def test_a_wrong_clock_is_a_fault_that_one_climbs_past(
    tmp_path: Path, skew: str, scheme: Scheme
) -> None:
    async with SimulatedCamera(schemes=[scheme]) as camera:
        await camera.fail(*parse_fault(f"skew={skew}"))
        rungs = await climb(tmp_path, device(camera.onvif_url))
    reasons = {rung.name: rung.reason for rung in rungs}
    assert reasons[RungName.CLOCK] is Reason.CLOCK_SKEW
    assert reasons[RungName.AUTHENTICATION] is None
    # Its RTSP knows no WS-Security.
    told = Reason.AUTH_FAILED if scheme is Scheme.WS_SECURITY else None
    assert reasons[RungName.DESCRIBE] is told


async def test_an_unknown_name_is_the_lowest_rung(tmp_path: Path) -> None:
    rungs = await climb(tmp_path, device("http://camera.invalid"))
    assert [(rung.name, rung.reason) for rung in rungs] == [(RungName.NAME, Reason.DNS_FAILURE)]


async def test_what_the_inventory_has_no_address_for_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await climb(tmp_path, device(""))
    with pytest.raises(NotFound):
        await climb(tmp_path, device("http://h", adapter=AdapterName.MQTT))


async def test_probing_by_hand_is_bound_by_the_breaker_too(tmp_path: Path) -> None:
    wrong = Credentials(username="admin", password="Wrong-1")
    async with SimulatedCamera(locks_after=3) as camera:
        for _ in range(6):
            rungs = await climb(tmp_path, device(camera.onvif_url), credentials=wrong)
            assert found(rungs) == (RungName.AUTHENTICATION, Reason.AUTH_FAILED)
        rungs = await climb(tmp_path, device(camera.onvif_url))
        assert found(rungs) == (RungName.DESCRIBE, None)  # the camera has locked nobody out


def test_there_is_an_advice_for_each_reason_that_a_check_can_find() -> None:
    found_by_checks = {
        reason
        for reason, state in STATE_OF.items()
        if state is State.OFFLINE
        and reason not in (Reason.NO_PACKETS, Reason.SIGNAL_LOST, Reason.HEARTBEAT_LOST)
    }
    assert set(ADVICE) == found_by_checks | {Reason.CLOCK_SKEW, Reason.PARENT_DOWN}
    assert all(text.endswith(".") for text in ADVICE.values())


# --- recorders -----------------------------------------------------------------------------------


async def test_a_channel_is_the_recorder_s_video_source_of_that_number(tmp_path: Path) -> None:
    """onvif-quirks: a channel that the recorder does not report is a fault of that channel."""
    stream = FakeRtsp()
    async with serving(stream.behave) as rtsp_server:
        recorder = FakeOnvif()
        recorder.rtsp_port = rtsp_server.port
        recorder.answers["GetProfiles"] = (
            200,
            {},
            fakes.soap(
                fakes.profiles(
                    ("ch0-main", "source-0", "H264"),
                    ("ch0-sub", "source-0", "H264"),
                    ("ch1-audio", "source-1", ""),
                    ("ch1-main", "source-1", "H264"),
                )
            ),
        )
        async with serving(recorder.behave) as server:
            parent = device(
                f"http://127.0.0.1:{server.port}", device_id="recorder", kind=DeviceKind.RECORDER
            )
            assert found(await climb(tmp_path, parent)) == (RungName.PROFILE, None)
            for channel, token in ((1, "ch0-main"), (2, "ch1-main")):
                camera = device("", parent="recorder", channel=channel, credentials="")
                assert found(await climb(tmp_path, camera, parent)) == (RungName.DESCRIBE, None)
                assert f">{token}<" in recorder.requests[-1].body
            missing = device("", parent="recorder", channel=3, credentials="")
            rungs = await climb(tmp_path, missing, parent)
            assert found(rungs) == (RungName.PROFILE, Reason.CHANNEL_MISSING)


@pytest.mark.parametrize("uri", ["(null)", "", "http://h/snapshot.jpg"])
async def test_a_stream_address_that_cannot_be_used(tmp_path: Path, uri: str) -> None:
    camera = FakeOnvif()
    camera.answers["GetStreamUri"] = 200, {}, fakes.soap(fakes.stream_uri(uri))
    async with serving(camera.behave) as server:
        rungs = await climb(tmp_path, device(f"http://127.0.0.1:{server.port}"))
    assert found(rungs) == (RungName.PROFILE, Reason.STREAM_NOT_FOUND)


async def test_the_inventory_s_rtsp_port_is_asked_where_ports_are_translated(
    tmp_path: Path,
) -> None:
    stream, camera = FakeRtsp(), FakeOnvif()
    camera.rtsp_port = free_port()
    async with serving(stream.behave) as rtsp_server, serving(camera.behave) as server:
        translated = device(f"http://127.0.0.1:{server.port}", rtsp_port=rtsp_server.port)
        rungs = await climb(tmp_path, translated)
    assert found(rungs) == (RungName.DESCRIBE, None)
    assert stream.requests[-1].path.endswith("/live?channel=1")


# --- watched -------------------------------------------------------------------------------------


@asynccontextmanager
async def watching(folder: Path, *devices: Device) -> AsyncIterator[tuple[Listener, Cameras]]:
    listener = Listener()
    cameras = Cameras(folder, SystemClock(), inventory(*devices, credentials=RIGHT), SETTINGS)
    tasks = [asyncio.create_task(one.run(listener)) for one in (cameras.onvif, cameras.rtsp)]
    try:
        yield listener, cameras
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert not cameras.metrics.errors


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("down", "refused"), ("no_rtsp", "refused"), ("stream_404", "stream_not_found")],
)
async def test_a_camera_that_fails_is_offline_and_then_online_again(
    tmp_path: Path, fault: str, reason: str
) -> None:
    async with SimulatedCamera() as camera:
        by_onvif = device(camera.onvif_url, device_id="onvif")
        by_rtsp = device(camera.rtsp_url, device_id="rtsp", adapter=AdapterName.RTSP)
        async with watching(tmp_path, by_onvif, by_rtsp) as (listener, _):
            for device_id in ("onvif", "rtsp"):
                await until(lambda one=device_id: listener.shows(one, "online"))  # type: ignore[misc]
            await camera.fail(*parse_fault(fault))
            for device_id in ("onvif", "rtsp"):
                await until(
                    lambda one=device_id: listener.shows(one, "offline", reason),  # type: ignore[misc]
                    TWO_INTERVALS_S,
                )
            await camera.recover()
            for device_id in ("onvif", "rtsp"):
                await until(lambda one=device_id: listener.shows(one, "online"), 20)  # type: ignore[misc]


async def test_a_camera_with_a_wrong_clock_is_degraded(tmp_path: Path) -> None:
    async with (
        SimulatedCamera() as camera,
        watching(tmp_path, device(camera.onvif_url)) as (listener, _),
    ):
        await until(lambda: listener.shows("camera-1", "online"))
        await camera.fail(*parse_fault("skew=-1h"))
        await until(lambda: listener.shows("camera-1", "degraded", "clock_skew"))
        last = listener.last("camera-1")
        assert last is not None
        assert abs(float(str(last.details["clock_skew_s"])) + 3600) < 5
        assert last.details["model"] == camera.plate.model


async def test_the_routine_check_is_light(tmp_path: Path) -> None:
    """One exchange without credentials, one with them, a DESCRIBE (contract, "Reasons")."""
    door = fakes.DigestDoor(RIGHT.username, RIGHT.password)
    camera, stream = FakeOnvif(), FakeRtsp()
    camera.judges.append(door.judge)
    async with serving(stream.behave) as rtsp_server, serving(camera.behave) as server:
        camera.rtsp_port = rtsp_server.port
        async with watching(tmp_path, device(f"http://127.0.0.1:{server.port}")) as (listener, _):
            await until(lambda: listener.shows("camera-1", "online"))
            camera.requests.clear()
            stream.requests.clear()
            reports = len(listener.reports)
            await until(lambda: len(listener.reports) == reports + 1)
            assert camera.asked == [
                "GetSystemDateAndTime",
                "GetDeviceInformation",  # answered by the challenge
                "GetDeviceInformation",
            ]
            assert stream.asked == ["DESCRIBE"]
        assert server.most_open <= 2


async def test_a_wrong_password_locks_no_recorder_with_sixteen_channels(tmp_path: Path) -> None:
    """Sixteen channels over both adapters, and three restarts."""
    async with SimulatedCamera(password="Another-1", locks_after=4) as recorder:
        channels = [
            device(
                recorder.rtsp_url if number % 2 else recorder.onvif_url,
                device_id=f"channel-{number}",
                adapter=AdapterName.RTSP if number % 2 else AdapterName.ONVIF,
            )
            for number in range(16)
        ]
        for _ in range(3):
            async with watching(tmp_path, *channels) as (listener, _):
                for channel in channels:
                    await until(
                        lambda one=channel: listener.shows(  # type: ignore[misc]
                            one.device_id, "offline", "auth_failed"
                        ),
                        30,
                    )
        right = Credentials(username="admin", password="Another-1")
        rungs = await climb(tmp_path, device(recorder.onvif_url), credentials=right)
        assert found(rungs) == (RungName.DESCRIBE, None)  # it has locked nobody out


async def test_no_more_than_two_connections_to_a_host(tmp_path: Path) -> None:
    stream, camera = FakeRtsp(), FakeOnvif()
    async with serving(stream.behave) as rtsp_server, serving(camera.behave) as server:
        camera.rtsp_port = rtsp_server.port
        devices = [
            device(f"http://127.0.0.1:{server.port}", device_id=f"onvif-{number}")
            for number in range(8)
        ] + [
            device(
                f"rtsp://127.0.0.1:{rtsp_server.port}/live",
                device_id=f"rtsp-{number}",
                adapter=AdapterName.RTSP,
            )
            for number in range(8)
        ]
        async with watching(tmp_path, *devices) as (listener, _):
            for one in devices:
                await until(lambda one=one: listener.shows(one.device_id, "online"))  # type: ignore[misc]
        # A closed connection is seen by the server a moment later than by us.
        assert server.most_open + rtsp_server.most_open <= 4


async def test_ending_in_the_middle_of_checks_leaves_nothing_open(tmp_path: Path) -> None:
    async with serving(fakes.silence) as server:
        devices = [
            device(f"http://127.0.0.1:{server.port}", device_id="onvif"),
            device(f"rtsp://127.0.0.1:{server.port}/", device_id="rtsp", adapter=AdapterName.RTSP),
        ]
        async with watching(tmp_path, *devices):
            await until(lambda: server.open == 2)
        await until(lambda: server.open == 0)
