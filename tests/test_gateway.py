"""The whole gateway, seen from outside: over MQTT, HTTP, its files and its signals."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from tests.center import Center
from tests.peers import require, until
from tests.rig import Kuzet, Mosquitto, Publisher, passed, press

ROOT = Path(__file__).parent.parent


async def kuzet_says(kuzet: Kuzet, *words: str, stdin: str = "") -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a verb, run in the gateway's folder."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", *words),
        cwd=kuzet.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
    )
    out, err = await process.communicate(stdin.encode())
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_a_press_by_mosquitto_pub_reaches_the_center_within_a_second(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with (
        Center() as center,
        Mosquitto(tmp_path / "broker") as broker,
        Kuzet(tmp_path / "kuzet", broker=broker.url, center=center.url),
    ):
        message = json.dumps(
            {"type": "panic.pressed", "id": "17", "time": datetime.now(UTC).isoformat(), "seq": 3}
        )
        sent = loop.time()
        publish = await asyncio.create_subprocess_exec(
            *(require("mosquitto_pub"), "-p", str(broker.port), "-q", "1"),
            *("-t", "kuzet/school-1/button-0/event", "-m", message),
        )
        assert await publish.wait() == 0
        await until(lambda: center.of_type("alarm.raised"))
        assert loop.time() - sent < 1.0  # the contract's own limit
        event = center.presses["17"]
        assert event["source"] == "/kuzet/rig/school-1/button-0"
        assert event["severity"] == "critical"
        assert event["lane"] == "alarm"
        assert event["data"]["attributes"]["seq"] == 3
        [raised] = center.of_type("alarm.raised")
        assert raised["data"]["condition"] == "panic"
        assert raised["data"]["state"] == "unacknowledged"
        assert not center.faults


async def test_an_alarm_lives_through_restarts_and_ends_by_its_clear(tmp_path: Path) -> None:
    async with Center() as center, Mosquitto(tmp_path / "broker") as broker:
        kuzet = Kuzet(tmp_path / "kuzet", broker=broker.url, center=center.url)
        async with kuzet, Publisher(broker.port, "button") as publisher:
            topic = "kuzet/school-1/button-0/event"
            await publisher.send(topic, press("p1"), "p1")
            await until(lambda: center.of_type("alarm.raised"))
            [raised] = center.of_type("alarm.raised")
            where = f"/api/v1/alarms/{raised['data']['alarm_id']}"

            status, alarm = await kuzet.post(f"{where}/acknowledge", {"comment": "calling"})
            assert (status, alarm["state"]) == (200, "acknowledged")
            status, again = await kuzet.post(f"{where}/acknowledge", {"comment": "twice"})
            assert (status, again) == (200, alarm)

            assert await kuzet.stop() == 0
            await kuzet.start()
            assert await kuzet.get(where) == alarm, "a restart changes nothing"

            await publisher.send(topic, press("p2"), "p2")
            await until(lambda: len(center.of_type("alarm.raised")) == 2)
            alarm = await kuzet.get(where)
            assert (alarm["state"], alarm["count"]) == ("unacknowledged", 2)

            status, problem = await kuzet.post(f"{where}/shelve", {"comment": "x", "minutes": 5})
            assert (status, problem["status"]) == (409, 409)
            status, alarm = await kuzet.post(f"{where}/clear", {"comment": "teacher's child"})
            assert (status, alarm["state"]) == (200, "closed")
            await until(lambda: center.of_type("alarm.cleared"))

            code, story, _ = await kuzet_says(kuzet, "alarm", "show", alarm["alarm_id"])
            assert code == 0
            steps = [line.split(" ")[2].rstrip(":") for line in story.splitlines()[1:]]
            assert steps == ["raised", "acknowledged", "raised", "cleared"], story
            code, said, _ = await kuzet_says(kuzet, "journal", "verify")
            assert code == 0
            assert "each as it was written" in said


async def test_the_test_press_is_an_exercise_and_the_next_one_is_not(tmp_path: Path) -> None:
    async with (
        Center() as center,
        Mosquitto(tmp_path / "broker") as broker,
        Kuzet(tmp_path / "kuzet", broker=broker.url, center=center.url) as kuzet,
        Publisher(broker.port, "button") as publisher,
    ):
        status, _ = await kuzet.post(
            "/api/v1/devices/button-0/test-mode", {"minutes": 30, "reason": "monthly test"}
        )
        assert status == 200
        topic = "kuzet/school-1/button-0/event"
        for ident in ("t1", "t2"):
            await publisher.send(topic, press(ident), ident)
        await until(lambda: center.of_type("alarm.raised"))
        [test] = center.of_type("event.panic.test")
        assert (test["exercise"], test["data"]["attributes"]["id"]) == (True, "t1")
        assert list(center.presses) == ["t2"]


async def test_a_changed_inventory_is_taken_over_while_running(tmp_path: Path) -> None:
    async with (
        Center() as center,
        Mosquitto(tmp_path / "broker") as broker,
        Kuzet(tmp_path / "kuzet", broker=broker.url, center=center.url) as kuzet,
        Publisher(broker.port, "button") as publisher,
    ):
        devices = kuzet.folder / "devices.csv"
        good = devices.read_text()
        devices.write_text(good + "button-new,school-1,panic_button,New,mqtt,\nbad row\n")
        await until(lambda: "devices.csv:" in kuzet.log())
        assert len((await kuzet.get("/api/v1/devices?limit=500"))["items"]) == 8

        devices.write_text(good + "button-new,school-1,panic_button,New,mqtt,\n")
        shown = await kuzet.shows(
            "/api/v1/devices?limit=500", lambda answer: len(answer["items"]) == 9
        )
        assert "button-new" in {device["device_id"] for device in shown["items"]}
        await publisher.send("kuzet/school-1/button-new/event", press("n1"), "n1")
        await until(lambda: "n1" in center.presses)


async def test_sigterm_delivers_what_was_taken(tmp_path: Path) -> None:
    async with Center() as center, Mosquitto(tmp_path / "broker") as broker:
        kuzet = Kuzet(tmp_path / "kuzet", broker=broker.url, center=center.url)
        async with kuzet, Publisher(broker.port, "stream") as publisher:
            for number in range(200):
                topic = f"kuzet/school-1/{kuzet.turnstiles[0]}/event"
                await publisher.send(topic, passed(f"m{number}"), f"m{number}")
            await publisher.send("kuzet/school-1/button-0/event", press("p"), "p")
            await publisher.settled()
            assert await kuzet.stop(10) == 0
            await kuzet.start()
            await until(lambda: len(center.ids_of) == 201)
        assert all(len(ids) == 1 for ids in center.ids_of.values())


async def test_what_the_center_refuses_waits_for_a_person(tmp_path: Path) -> None:
    async with (
        Center() as center,
        Mosquitto(tmp_path / "broker") as broker,
        Kuzet(tmp_path / "kuzet", broker=broker.url, center=center.url) as kuzet,
        Publisher(broker.port, "stream") as publisher,
    ):
        await until(lambda: center.of_type("gateway.started"))
        center.answer = 422
        topic = f"kuzet/school-1/{kuzet.turnstiles[0]}/event"
        await publisher.send(topic, passed("bad"), "bad")
        await until(lambda: center.refused >= 1)

        out = ""
        async with asyncio.timeout(20):
            while "for a person" not in out:
                _, out, _ = await kuzet_says(kuzet, "quarantine", "list")
        sink, lane, sequence, kind = out.split()[:4]
        assert (sink, lane, kind) == ("opscenter", "telemetry", "access.passed")

        center.answer = 202
        code, said, _ = await kuzet_says(kuzet, "quarantine", "retry", "opscenter", sequence)
        assert (code, said.split()[0]) == (0, "1")
        await until(lambda: "bad" in center.ids_of, 30)


async def test_people_get_accounts_by_the_command_line(tmp_path: Path) -> None:
    kuzet = Kuzet(tmp_path / "kuzet", broker="mqtt://127.0.0.1:1", center="http://127.0.0.1:1/")
    words = ("user", "add", "aigul", "--role")
    code, said, _ = await kuzet_says(kuzet, *words, "operator", stdin="a long password\n")
    assert (code, said.strip()) == (0, "aigul may sign in as operator")
    code, _, why = await kuzet_says(kuzet, *words, "boss", stdin="a long password\n")
    assert code == 2
    assert "operator" in why


async def test_check_names_every_mistake_on_standard_error(tmp_path: Path) -> None:
    kuzet = Kuzet(tmp_path / "kuzet", broker="mqtt://127.0.0.1:1", center="http://127.0.0.1:1/")
    code, said, _ = await kuzet_says(kuzet, "check")
    assert (code, "in order" in said) == (0, True)

    settings = kuzet.folder / "gateway.toml"
    settings.write_text(
        settings.read_text()
        .replace("health_interval_s = 2", "helth_interval_s = 2")
        .replace("max_batch = 500", "max_batch = 0")
        .replace('locale = "ru"', 'locale = "de"')
        .replace('name = "opscenter"', 'name = "ops center"')
        .replace('"event", "health"]', '"events"]')
    )
    (kuzet.folder / "devices.csv").write_bytes(
        "\ufeffdevice_id;site_id;kind;name;adapter;address;channel\r\n"
        "a b;school-1;camera;One;onvif;http://10.0.0.1;\r\n"
        "c2;nowhere;camera;Two;onvif;http://10.0.0.2;\r\n"
        "c3;school-1;kamera;Three;onvif;http://10.0.0.3;\r\n"
        "c4;school-1;camera;Four;onvif;rtsp://10.0.0.4;\r\n"
        "c5;school-1;camera;Five;rtsp;rtsp://10.0.0.5;none\r\n"
        "c5;school-1;camera;Six;rtsp;rtsp://10.0.0.6;\r\n".encode()
    )
    code, _, why = await kuzet_says(kuzet, "check")
    assert code == 2
    lines = why.splitlines()
    places = {line.split(": ")[0] for line in lines}
    assert len(places) >= 10, why
    assert {int(line.split(":")[1]) for line in lines if "devices.csv" in line} == set(range(2, 8))
    assert all(line.count(":") >= 3 for line in lines)
