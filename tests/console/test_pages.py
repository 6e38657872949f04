from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from lxml import html
from msgspec.structs import replace

from gateway.console import Role
from gateway.console.advice import ADVICE, REASONS
from gateway.model import AlarmState, Audience, Condition, Reason, State
from gateway.ports import DeviceHealth
from tests.console.conftest import NOW, OpenRoom, Room
from tests.console.neighbours import make_alarm

BUTTON = "s0001-panic_button-00003"


async def _page(room: Room, path: str = "/", role: Role = Role.OPERATOR) -> Any:
    return html.fromstring(await room.get(path, role))


def _items(page: Any, list_id: str) -> list[Any]:
    return list(page.xpath(f"//*[@id='{list_id}']/li"))


def _words(element: Any) -> str:
    return " ".join(" ".join(element.itertext()).split())


async def test_real_panic_comes_first_and_what_nobody_has_taken_before_the_rest(
    room: Room,
) -> None:
    taken = AlarmState.ACKNOWLEDGED
    room.desk.raise_(make_alarm(1, Condition.TAMPER))
    room.desk.raise_(make_alarm(2, Condition.PANIC, state=taken))
    room.desk.raise_(make_alarm(3, Condition.PANIC))
    room.desk.raise_(make_alarm(4, Condition.PANIC, exercise=True))
    room.desk.raise_(make_alarm(5, Condition.DOOR_FORCED))
    room.desk.raise_(make_alarm(6, Condition.DOOR_FORCED, state=taken))
    room.desk.raise_(make_alarm(7, Condition.PANIC, state=AlarmState.CLOSED))
    room.desk.raise_(make_alarm(8, Condition.RETAINED_PRESS, audience=Audience.TECHNICIAN))
    page = await _page(room)
    order = [item.get("id") for item in _items(page, "alarms-operators")]
    assert order == [f"alarm-a000{number}" for number in (3, 2, 5, 1, 6, 4)]
    assert [item.get("id") for item in _items(page, "alarms-technicians")] == ["alarm-a0008"]
    assert page.findtext(".//title") == "(4) PANIC · Kuzet · zhambyl"
    assert "exercise" in _words(page.get_element_by_id("alarm-a0004"))


async def test_an_alarm_tells_where_it_is_whom_to_call_and_since_when(room: Room) -> None:
    at = NOW - timedelta(minutes=2)
    room.desk.raise_(make_alarm(1, device_id=BUTTON, at=at, count=3))
    words = _words((await _page(room)).get_element_by_id("alarm-a0001"))
    for part in (
        "PANIC",
        "3 times",
        "Балабақша «Балдырған»",
        "Panic button, entrance 4",
        "14:28:00",
    ):
        assert part in words
    assert 'href="tel:+77262432100"' in await room.get("/")


async def test_an_alarm_of_the_gateway_or_of_a_removed_device_is_shown_too(room: Room) -> None:
    room.desk.raise_(
        make_alarm(1, Condition.DELIVERY_FAILED, site_id="gateway", device_id="opscenter")
    )
    room.desk.raise_(make_alarm(2, site_id="s9999", device_id="gone"))
    page = await _page(room)
    assert "Gateway zhambyl" in _words(page.get_element_by_id("alarm-a0001"))
    assert "s9999" in _words(page.get_element_by_id("alarm-a0002"))


@pytest.mark.parametrize(
    ("state", "role", "commands"),
    [
        (AlarmState.UNACKNOWLEDGED, Role.OPERATOR, ["/api/v1/alarms/a0001/acknowledge"]),
        (AlarmState.ACKNOWLEDGED, Role.ADMIN, ["/api/v1/alarms/a0001/clear"]),
        (AlarmState.UNACKNOWLEDGED, Role.TECHNICIAN, []),
        (AlarmState.UNACKNOWLEDGED, Role.VIEWER, []),
    ],
)
async def test_an_alarm_offers_what_the_reader_may_do_next(
    room: Room, state: AlarmState, role: Role, commands: list[str]
) -> None:
    room.desk.raise_(make_alarm(1, state=state))
    page = await _page(room, "/parts/alarms", role)
    assert [form.get("data-command") for form in page.xpath("//form")] == commands


@pytest.mark.parametrize(
    ("role", "verbs"),
    [(Role.TECHNICIAN, ["maintenance", "test-mode"]), (Role.VIEWER, [])],
)
async def test_a_button_offers_what_the_reader_may_do(
    room: Room, role: Role, verbs: list[str]
) -> None:
    page = await _page(room, f"/parts/devices?q={BUTTON}", role)
    forms = page.xpath("//li//form")
    assert [form.get("data-command").rpartition("/")[2] for form in forms] == verbs


async def test_every_reason_is_told_with_its_advice(room: Room) -> None:
    for number, reason in enumerate(Reason):
        device = room.fleet.device(BUTTON)
        told = replace(device, device_id=f"x{number}", state=State.OFFLINE, reason=reason)
        room.fleet.put(told)
    words = _words(await _page(room, "/parts/devices"))
    for reason in Reason:
        assert REASONS[reason] in words
        assert ADVICE[reason] in words


async def test_what_a_device_tells_cannot_become_part_of_the_page(room: Room) -> None:
    sly = '"><script>alert(1)</script>'
    device = room.fleet.device(BUTTON)
    room.fleet.put(replace(device, name=sly, details={"maker": sly, sly: 1, "reasons": [sly]}))
    room.desk.raise_(make_alarm(1, device_id=BUTTON, detail=sly))
    page = await room.get(f"/?q={sly}")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


async def test_the_list_begins_with_what_is_broken_newest_first(open_room: OpenRoom) -> None:
    async with open_room(sites=10, devices=300) as room:
        page = await _page(room)
        states = [item.get("class").split()[1] for item in _items(page, "devices-list")]
        order = ["offline", "degraded", "unknown", "maintenance", "online"]
        assert states == sorted(states, key=order.index)
        assert states[0] == "offline"
        since = [
            item.xpath(".//*[@class='since']/time")[0].get("datetime")
            for item in _items(page, "devices-list")
            if item.get("class") == "device offline"
        ]
        assert since == sorted(since, reverse=True)


async def test_a_region_is_shown_page_by_page_and_counted_as_a_whole(open_room: OpenRoom) -> None:
    async with open_room(sites=900, devices=17_000) as room:
        text = await room.get("/")
        assert len(text) < 200_000
        page: Any = html.fromstring(text)
        assert len(_items(page, "devices-list")) == 50
        assert _words(page.get_element_by_id("devices-heading")) == "Devices 17000"
        counts = {
            link.get("class"): int(link.findtext("b"))
            for link in page.xpath("//*[@id='counts']/a[@class!='sites']")
        }
        assert sum(counts.values()) == 17_000
        assert counts["offline"] == len(
            [device for device in room.fleet.devices() if device.state is State.OFFLINE]
        )
        (onward,) = page.xpath("//*[@id='devices-pages']/a")
        assert onward.get("href") == "/?page=2"
        last = await _page(room, "/?page=99999")
        assert _words(last.get_element_by_id("devices-pages")) == "← Back 16951–17000 / 17000"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=PANIC_button", ["s0001-panic_button-00002", "s0002-panic_button-00003"]),
        ("q=Балдырған&kind=camera", ["s0001-camera-00000"]),
        ("q=shu&kind=camera", ["s0002-camera-00001"]),
        ("site=s0002&kind=intercom", ["s0002-intercom-00009"]),
        ("kind=turnstile&q=&state=", ["s0001-turnstile-00004", "s0002-turnstile-00005"]),
        ("state=offline", ["s0002-panic_button-00003"]),
        ("q=nothing+like+it", []),
    ],
)
async def test_devices_are_found_by_what_people_know(
    open_room: OpenRoom, query: str, found: list[str]
) -> None:
    async with open_room(sites=2, devices=10) as room:
        page = await _page(room, f"/parts/devices?{query}")
        ids = sorted(item.get("id") for item in _items(page, "devices-list"))
        assert ids == [f"device-{device_id}" for device_id in found]


async def test_buttons_in_test_are_marked_counted_and_found(room: Room) -> None:
    room.in_test[BUTTON] = NOW + timedelta(minutes=10)
    page = await _page(room, "/?test=1")
    (row,) = _items(page, "devices-list")
    assert "in test" in _words(row)
    assert "In test until 14:40:00" in _words(row)
    assert _words(page.xpath("//*[@id='counts']/a[@class='test']")[0]) == "1 in test"


async def test_a_device_under_maintenance_tells_what_it_last_said_itself(room: Room) -> None:
    device: DeviceHealth = room.fleet.device(BUTTON)
    details = {"own_state": "offline", "own_reason": "heartbeat_lost"}
    room.fleet.put(
        replace(device, state=State.MAINTENANCE, reason=Reason.MAINTENANCE, details=details)
    )
    row = _words((await _page(room)).get_element_by_id(f"device-{BUTTON}"))
    assert "Under maintenance" in row
    assert "Reports have stopped" in row
    assert "own_state" not in row


@pytest.mark.parametrize(
    ("language", "heading"), [("ru", "Тревоги"), ("kk", "Дабылдар"), ("en", "Alarms")]
)
async def test_the_page_speaks_the_readers_language(
    room: Room, language: str, heading: str
) -> None:
    headers = {"Accept-Language": language}
    page: Any = html.fromstring(await room.get("/", headers=headers))
    assert page.get("lang") == language
    assert _words(page.get_element_by_id("alarms-heading")) == heading


async def test_a_chosen_language_stays(room: Room) -> None:
    own = {"Origin": room.url, "Accept-Language": "ru"}
    form = {"language": "kk", "next": "/?state=offline"}
    async with room.http.post(
        f"{room.url}/language", data=form, headers=own, allow_redirects=False
    ) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/?state=offline")
    page: Any = html.fromstring(
        await room.get("/sign-in", role=None, headers={"Accept-Language": "ru"})
    )
    assert page.get("lang") == "kk"
    form = {"language": "tlh", "next": "/"}
    assert (await room.ask("POST", "/language", None, data=form, headers=own))[0] == 422


async def test_files_are_kept_for_ever_under_a_name_that_changes_with_them(room: Room) -> None:
    page = await _page(room)
    (script,) = page.xpath("//script")
    async with room.http.get(room.url + script.get("src")) as answer:
        assert (answer.status, answer.content_type) == (200, "text/javascript")
        assert "immutable" in answer.headers["Cache-Control"]
    async with room.http.get(f"{room.url}/static/old/console.js") as answer:
        assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    for path in ("/static/x/none.js", "/static/x/..%2Fserver.py", "/static/x/babel.cfg"):
        assert (await room.ask("GET", path, None))[0] == 404


async def test_there_is_no_inline_script_or_style_anywhere(room: Room) -> None:
    room.desk.raise_(make_alarm(1))
    for path in ("/", "/sign-in"):
        page = await _page(room, path)
        assert not page.xpath("//script[not(@src)] | //style | //*[@style]")
        assert not page.xpath("//@*[starts-with(name(), 'on')]")


async def test_problems_of_people_are_pages_and_of_scripts_are_json(room: Room) -> None:
    status, page = await room.ask("GET", "/nothing", headers={"Accept-Language": "ru"})
    assert (status, "Такой страницы нет." in page) == (404, True)
    status, problem = await room.ask("GET", "/parts/alarms", None)
    assert (status, problem["status"]) == (401, 401)
    assert (await room.ask("GET", "/?state=asleep"))[0] == 422
