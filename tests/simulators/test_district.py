"""A district in this process: its plan, its files as the gateway reads them, control and script."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from gateway.config import load_config
from gateway.inventory import load_inventory
from simulators.broker import DemoBroker
from simulators.camera import Fault, SimulatedCamera
from simulators.district import Control, District, Kind, Scenario, draw, files
from simulators.district.scenario import STEPS, Step
from simulators.mqtt import Dialect, MqttFault
from simulators.opscenter import new_secret
from tests.peers import until
from tests.simulators.mqtt_observer import Observer


class Running(NamedTuple):
    district: District
    control: Control


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    district = District(draw(4, seed=1), secret=new_secret())
    scenario = Scenario(district, seed=1, tell=print)
    async with district, Control(district, scenario, host="127.0.0.1", port=0) as control:
        yield Running(district, control)


# --- the plan ------------------------------------------------------------------------------------


def test_the_same_numbers_draw_the_same_district() -> None:
    assert draw(40, seed=7) == draw(40, seed=7)
    assert draw(40, seed=7) != draw(40, seed=8)


def test_a_whole_region_has_ids_and_addresses_of_its_own() -> None:
    sites = draw(900, seed=1)
    cameras = [camera for site in sites for camera in site.cameras]
    ids = [site.site_id for site in sites] + [camera.device_id for camera in cameras]
    ids += [device.device_id for site in sites for device in site.mqtt]
    assert len(set(ids)) == len(ids)
    hosts = {camera.host for camera in cameras}
    assert len(hosts) == len(cameras)
    assert all(ip_address(host).is_loopback for host in hosts)
    assert len({camera.plate.serial for camera in cameras}) == len(cameras)
    with pytest.raises(ValueError, match="900"):
        draw(901, seed=1)


def test_twelve_sites_have_every_kind_and_both_dialects() -> None:
    sites = draw(12, seed=1)
    assert {site.kind for site in sites} >= {"school", "kindergarten", "college"}
    devices = [device for site in sites for device in site.mqtt]
    assert {device.kind for device in devices} == {
        Kind.PANIC_BUTTON,
        Kind.TURNSTILE,
        Kind.INTERCOM,
    }
    assert {device.dialect for device in devices} == set(Dialect)
    assert len(devices) + sum(len(site.cameras) for site in sites) >= 40


# --- the files -----------------------------------------------------------------------------------


async def test_the_gateway_reads_the_files_without_a_complaint(
    running: Running, tmp_path: Path
) -> None:
    secret = files.signing_secret(tmp_path)
    files.write(tmp_path, running.district, console="127.0.0.1:8081")
    config = load_config(tmp_path / "gateway.toml", environ={})
    assert config.mqtt is not None
    assert config.console.listen.port == 8081
    inventory = load_inventory(
        config.inventory.sites,
        config.inventory.devices,
        config.inventory.credentials,
        mqtt_configured=True,
        environ={},
    )
    assert set(inventory.devices) == set(running.district.devices)
    assert len(inventory.sites) == 4
    for device_id, device in inventory.devices.items():
        camera = running.district.devices[device_id]
        if isinstance(camera, SimulatedCamera):
            assert device.address == f"http://{camera.host}:{camera.onvif_port}"
            password = inventory.credentials[device.credentials].password
            assert password == running.district.passwords[device.credentials]
    assert files.signing_secret(tmp_path) == secret, "a secret that is there stays"


async def test_secrets_are_for_their_owner_alone(running: Running, tmp_path: Path) -> None:
    files.signing_secret(tmp_path)
    files.write(tmp_path, running.district, console="127.0.0.1:0")
    private = _private_files(tmp_path)
    assert {"credentials.toml", "opscenter.secret", "api.token", "cameras-a.password"} <= private
    assert not private & {"gateway.toml", "sites.csv", "devices.csv"}
    assert len(private) == 6


async def test_a_brokers_password_stands_in_a_file_of_its_own(tmp_path: Path) -> None:
    async with DemoBroker() as broker:
        url = broker.url.replace("//", "//kuzet:s%40fe@")
        async with District(draw(1, seed=1), secret=new_secret(), broker=url) as district:
            files.signing_secret(tmp_path)
            files.write(tmp_path, district, console="127.0.0.1:0")
    assert "s%40fe" not in (tmp_path / "gateway.toml").read_text()
    mqtt = load_config(tmp_path / "gateway.toml", environ={}).mqtt
    assert mqtt is not None
    assert mqtt.username == "kuzet"
    assert mqtt.password is not None
    assert mqtt.password.get_secret_value() == "s@fe"


# --- the control API -----------------------------------------------------------------------------


async def test_the_control_lists_devices_and_presses_buttons(running: Running) -> None:
    async with aiohttp.ClientSession(running.control.url) as session:
        items = (await _get(session, "/devices"))["items"]
        assert {item["device_id"] for item in items} == set(running.district.devices)
        button = next(item for item in items if item["kind"] == "panic_button")
        assert button["connected"] is True
        async with Observer(running.district.broker_url) as observer:
            said = (await _post(session, f"/devices/{button['device_id']}/press"))["said"]
            topic = f"kuzet/{button['site_id']}/{button['device_id']}/event"
            (seen,) = await observer.see(topic)
            assert (seen.body["type"], seen.body["id"]) == ("panic.pressed", said["id"])


async def test_the_control_switches_faults(running: Running) -> None:
    camera_id = running.district.of_kind(Kind.CAMERA)[0]
    camera = running.district.devices[camera_id]
    assert isinstance(camera, SimulatedCamera)
    async with aiohttp.ClientSession(running.control.url) as session:
        path = f"/devices/{camera_id}/fault"
        assert await _post(session, path, {"fault": "down"}) == {"faults": ["down"]}
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(camera.host, camera.onvif_port)
        assert await _post(session, path, {"fault": "skew=1h"}) == {"faults": ["down", "skew"]}
        assert await _post(session, path, {"fault": None}) == {"faults": []}
        _, writer = await asyncio.open_connection(camera.host, camera.onvif_port)
        writer.close()


async def test_the_control_commands_the_center(running: Running) -> None:
    center = running.district.center
    batch = '[{"specversion":"1.0","id":"1","source":"/","type":"t","lane":"alarm"}]'
    async with aiohttp.ClientSession(running.control.url) as session:
        await _post(session, "/opscenter/answer", {"status": 503, "times": 1})
        assert (await _get(session, "/opscenter/received"))["items"] == []
        await _post(session, "/opscenter/power", {"on": False})
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.post(center.url, data=batch)
        await _post(session, "/opscenter/power", {"on": True})
        async with session.post(center.url, data=batch) as response:
            assert response.status == 401, "unsigned"
        assert (await _get(session, "/opscenter/received"))["refused"] == {"signature": 1}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/devices/nobody/press", "{}", 404),
        ("/devices/{button}/explode", "{}", 404),
        ("/devices/{button}/press", '{"hard": true}', 400),
        ("/devices/{button}/press", "{", 400),
        ("/devices/{button}/fault", '{"fault": "down"}', 400),
        ("/devices/{camera}/fault", '{"fault": "unplugged"}', 400),
        ("/opscenter/answer", '{"stauts": 500}', 400),
    ],
)
async def test_a_wrong_command_is_answered_by_what_is_wrong(
    running: Running, path: str, body: str, status: int
) -> None:
    button, camera = (running.district.of_kind(k)[0] for k in (Kind.PANIC_BUTTON, Kind.CAMERA))
    async with (
        aiohttp.ClientSession(running.control.url) as session,
        session.post(path.format(button=button, camera=camera), data=body) as response,
    ):
        assert response.status == status
        assert (await response.json())["error"]


async def test_a_button_without_power_cannot_be_pressed(running: Running) -> None:
    button = running.district.of_kind(Kind.PANIC_BUTTON)[0]
    async with aiohttp.ClientSession(running.control.url) as session:
        await _post(session, f"/devices/{button}/fault", {"fault": "unplugged"})
        async with session.post(f"/devices/{button}/press") as response:
            assert response.status == 409


# --- the script ----------------------------------------------------------------------------------


async def test_the_script_tells_what_comes_and_does_it(running: Running) -> None:
    told: list[str] = []
    steps = (
        Step(at_s=0.1, kind=Kind.PANIC_BUTTON, action="press", words="a press at {site}"),
        Step(at_s=0.2, kind=Kind.CAMERA, fault="down", lasts_s=0.3, words="{device} goes"),
    )
    cameras = [running.district.devices[one] for one in running.district.of_kind(Kind.CAMERA)]
    scenario = Scenario(running.district, seed=1, tell=told.append, steps=steps, round_s=60)
    async with Observer(running.district.broker_url) as observer:
        playing = asyncio.create_task(scenario.run())
        assert not told, "it waits for its beginning"
        scenario.begin()
        await until(lambda: any(one.body.get("type") == "panic.pressed" for one in observer.seen))
        await until(lambda: any(Fault.DOWN in camera.faults for camera in cameras))
        await until(lambda: not any(camera.faults for camera in cameras))
        await until(lambda: any(one.body.get("type") == "access.passed" for one in observer.seen))
        playing.cancel()
        await asyncio.wait((playing,))
    assert [line.partition(":")[0] for line in told[:3]] == ["in 0 s"] * 3
    assert "a press at" in told[0]
    assert "is well again" in told[2]


async def test_the_script_goes_on_when_a_device_has_no_power(running: Running) -> None:
    told: list[str] = []
    steps = (
        Step(at_s=0, kind=Kind.PANIC_BUTTON, action="press", words="a press at {site}"),
        Step(at_s=0.1, kind=Kind.CAMERA, action="motion", words="somebody moves"),
    )
    for button in running.district.of_kind(Kind.PANIC_BUTTON):
        device = running.district.devices[button]
        assert not isinstance(device, SimulatedCamera)
        await device.fail(MqttFault.UNPLUGGED)
    scenario = Scenario(running.district, seed=1, tell=told.append, steps=steps, round_s=60)
    scenario.begin()
    playing = asyncio.create_task(scenario.run())
    await until(lambda: len(told) == 3)
    playing.cancel()
    await asyncio.wait((playing,))
    assert told[1].startswith("not done")
    assert "somebody moves" in told[2]


def test_the_demo_presses_every_half_minute_and_ends_every_fault() -> None:
    presses = [step.at_s for step in STEPS if step.action == "press"]
    assert presses == [20, 50, 80, 110, 140, 170]
    assert all(step.lasts_s > 0 for step in STEPS if step.fault)
    assert all(bool(step.action) != bool(step.fault) for step in STEPS)


def _private_files(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir() if stat.S_IMODE(one.stat().st_mode) == 0o600}


async def _get(session: aiohttp.ClientSession, path: str) -> Any:
    async with session.get(path) as response:
        return await response.json()


async def _post(session: aiohttp.ClientSession, path: str, body: object = None) -> Any:
    async with session.post(path, json={} if body is None else body) as response:
        assert response.status == 200, await response.text()
        return await response.json()
