from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.model import AlarmState, Audience, Condition, State
from tests.console.conftest import NOW, OpenRoom, Room
from tests.console.neighbours import make_alarm

BUTTON = "s0001-panic_button-00003"

ALARM_FIELDS = [
    "alarm_id",
    "device_id",
    "site_id",
    "condition",
    "severity",
    "state",
    "active",
    "acknowledged",
    "shelved_until",
    "raised_at",
    "cleared_at",
    "acknowledged_by",
    "count",
    "exercise",
]
"""As the contract lists them."""
DEVICE_FIELDS = [
    "device_id",
    "site_id",
    "kind",
    "name",
    "state",
    "reason",
    "since",
    "last_seen",
    "details",
]


async def _all_pages(room: Room, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = await room.get(f"{path}{cursor}")
        items += page["items"]
        if page["next"] is None:
            return items
        cursor = f"&cursor={page['next']}"


async def test_an_alarm_has_the_fields_of_the_contract(room: Room) -> None:
    room.desk.raise_(make_alarm(1))
    (alarm,) = (await room.get("/api/v1/alarms"))["items"]
    assert set(ALARM_FIELDS) <= set(alarm)
    assert alarm == await room.get("/api/v1/alarms/a0001")
    assert alarm["raised_at"] == "2026-10-05T09:00:01Z"
    assert (alarm["condition"], alarm["state"]) == ("panic", "unacknowledged")


async def test_a_device_has_exactly_the_fields_of_the_contract(room: Room) -> None:
    device = await room.get(f"/api/v1/devices/{BUTTON}")
    assert list(device) == DEVICE_FIELDS
    assert device["details"] == {"battery": 0.83}


async def test_alarms_come_newest_first_and_page_by_page(room: Room) -> None:
    for number in (3, 1, 5, 2, 4):
        room.desk.raise_(make_alarm(number))
    same_moment = make_alarm(4).raised_at
    room.desk.raise_(replace(make_alarm(6), raised_at=same_moment))
    alarms = await _all_pages(room, "/api/v1/alarms?limit=2")
    assert [alarm["alarm_id"] for alarm in alarms] == [f"a000{n}" for n in (5, 6, 4, 3, 2, 1)]


async def test_an_alarm_raised_between_two_pages_moves_none(room: Room) -> None:
    for number in range(1, 5):
        room.desk.raise_(make_alarm(number))
    first = await room.get("/api/v1/alarms?limit=2")
    room.desk.raise_(make_alarm(9))
    rest = await room.get(f"/api/v1/alarms?limit=500&cursor={first['next']}")
    assert [alarm["alarm_id"] for alarm in rest["items"]] == ["a0002", "a0001"]
    assert rest["next"] is None


async def test_alarms_are_chosen_by_state_site_and_audience(room: Room) -> None:
    room.desk.raise_(make_alarm(1))
    room.desk.raise_(make_alarm(2, state=AlarmState.ACKNOWLEDGED))
    room.desk.raise_(make_alarm(3, state=AlarmState.CLOSED, site_id="s0002"))
    room.desk.raise_(make_alarm(4, Condition.RETAINED_PRESS, audience=Audience.TECHNICIAN))

    async def ids(query: str) -> list[str]:
        return [alarm["alarm_id"] for alarm in (await room.get(f"/api/v1/alarms{query}"))["items"]]

    assert await ids("") == ["a0003", "a0002", "a0001"]
    assert await ids("?state=unacknowledged") == ["a0001"]
    assert await ids("?state=unacknowledged&state=closed") == ["a0003", "a0001"]
    assert await ids("?site=s0002") == ["a0003"]
    assert await ids("?audience=technician") == ["a0004"]


async def test_acknowledging_twice_is_answered_alike(room: Room) -> None:
    room.desk.raise_(make_alarm(1))
    path = "/api/v1/alarms/a0001/acknowledge"
    for _ in range(2):
        status, alarm = await room.ask("POST", path)
        assert (status, alarm["state"], alarm["acknowledged_by"]) == (
            200,
            "acknowledged",
            "api:admin",
        )


async def test_a_panic_alarm_cannot_be_shelved(room: Room) -> None:
    room.desk.raise_(make_alarm(1))
    for body in ({}, {"comment": "later"}, {"comment": "later", "minutes": 5}):
        status, problem = await room.ask("POST", "/api/v1/alarms/a0001/shelve", json=body)
        assert (status, problem["detail"]) == (409, "a panic alarm cannot be shelved")


async def test_shelving_hands_its_time_on(room: Room) -> None:
    room.desk.raise_(make_alarm(1, Condition.TAMPER))
    body = {"comment": "painters at work", "minutes": 45}
    assert (await room.ask("POST", "/api/v1/alarms/a0001/shelve", json=body))[0] == 200
    (command,) = room.desk.commands
    assert (command.minutes, command.comment) == (45.0, "painters at work")


async def test_what_cannot_be_written_down_is_not_done_and_says_so(room: Room) -> None:
    room.desk.raise_(make_alarm(1))
    room.desk.broken = True
    status, problem = await room.ask("POST", "/api/v1/alarms/a0001/acknowledge")
    assert (status, problem["title"]) == (503, "Service Unavailable")


@pytest.mark.parametrize(
    "path", ["/api/v1/alarms/none", "/api/v1/devices/none", "/api/v1/devices/a%2Fb%00"]
)
async def test_the_unknown_is_not_found(room: Room, path: str) -> None:
    status, problem = await room.ask("GET", path)
    assert (status, problem["title"]) == (404, "Not Found")


ACKNOWLEDGE = "/api/v1/alarms/a0001/acknowledge"
MAINTENANCE = f"/api/v1/devices/{BUTTON}/maintenance"
TEST_MODE = f"/api/v1/devices/{BUTTON}/test-mode"
JSON = "application/json"


@pytest.mark.parametrize(
    ("path", "body", "content_type", "status"),
    [
        (ACKNOWLEDGE, b"comment=x", "application/x-www-form-urlencoded", 415),
        (ACKNOWLEDGE, b"{}", "text/plain", 415),
        (ACKNOWLEDGE, b"{", JSON, 400),
        (ACKNOWLEDGE, b"\xff\xfe", JSON, 400),
        (ACKNOWLEDGE, b"[" * 5_000, JSON, 400),
        (ACKNOWLEDGE, b"[]", JSON, 422),
        (ACKNOWLEDGE, b'{"comment": 1}', JSON, 422),
        (ACKNOWLEDGE, b'{"coment": "typo"}', JSON, 422),
        (ACKNOWLEDGE, b'{"comment": "%s"}' % (b"x" * 1001), JSON, 422),
        (ACKNOWLEDGE, b'{"comment": "%s"}' % (b"x" * 66_000), JSON, 413),
        ("/api/v1/alarms/a0001/comment", b"", JSON, 422),
        ("/api/v1/alarms/a0001/comment", b'{"comment": "  "}', JSON, 422),
        (MAINTENANCE, b'{"minutes": "30", "reason": "x"}', JSON, 422),
        (MAINTENANCE, b'{"minutes": NaN, "reason": "x"}', JSON, 422),
        (MAINTENANCE, b'{"minutes": 1e99, "reason": "x"}', JSON, 422),
        (MAINTENANCE, b'{"minutes": -1, "reason": "x"}', JSON, 422),
        (MAINTENANCE, b'{"minutes": 30}', JSON, 422),
        (TEST_MODE, b'{"minutes": 61, "reason": "x"}', JSON, 422),
    ],
)
async def test_a_body_that_will_not_do_changes_nothing_and_hears_why(
    room: Room, path: str, body: bytes, content_type: str, status: int
) -> None:
    room.desk.raise_(make_alarm(1))
    headers = {"Content-Type": content_type}
    answer, problem = await room.ask("POST", path, data=body, headers=headers)
    assert (answer, problem["status"]) == (status, status), problem
    assert room.desk.commands == []
    assert room.desk.ordered == []


async def test_every_wrong_field_is_named(room: Room) -> None:
    body = {"minutes": -5, "reason": "", "why": "?"}
    _, problem = await room.ask("POST", MAINTENANCE, json=body)
    assert {error["field"] for error in problem["errors"]} == {"minutes", "reason", "why"}


@pytest.mark.parametrize(
    "query",
    ["state=asleep", "limit=0", "limit=501", "limit=x", "cursor=%21", "cursor=e30", "sites=s0001"],
)
async def test_a_query_that_will_not_do_names_its_parameter(room: Room, query: str) -> None:
    status, problem = await room.ask("GET", f"/api/v1/alarms?{query}")
    assert status == 422
    assert problem["errors"][0]["field"].partition(".")[0] == query.partition("=")[0]


async def test_a_parameter_given_twice_is_refused(room: Room) -> None:
    status, problem = await room.ask("GET", "/api/v1/alarms?limit=1&limit=2")
    assert (status, problem["errors"][0]["field"]) == (422, "limit")


async def test_a_wrong_method_names_the_right_ones(room: Room) -> None:
    headers = {"Authorization": "Bearer admin-token-of-a-test"}
    async with room.http.delete(f"{room.url}{ACKNOWLEDGE}", headers=headers) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_devices_are_listed_by_id_and_chosen_by_what_they_are(open_room: OpenRoom) -> None:
    async with open_room(sites=30, devices=900) as room:
        devices = await _all_pages(room, "/api/v1/devices?limit=200")
        assert [device["device_id"] for device in devices] == sorted(room.fleet.known)
        broken = await _all_pages(room, "/api/v1/devices?limit=10&state=offline&state=degraded")
        assert {device["state"] for device in broken} == {"offline", "degraded"}
        assert len(broken) == sum(
            device.state in (State.OFFLINE, State.DEGRADED) for device in room.fleet.devices()
        )
        buttons = await _all_pages(room, "/api/v1/devices?kind=panic_button&site=s0007&limit=1")
        assert [device["site_id"] for device in buttons] == ["s0007"]


async def test_sites_tell_how_their_devices_are(room: Room) -> None:
    sites = await _all_pages(room, "/api/v1/sites?limit=2")
    assert [site["site_id"] for site in sites] == ["s0001", "s0002", "s0003"]
    assert sites[0]["district"] == "Bayzak"
    assert sites[0]["devices"] == {"offline": 1, "online": 4}


async def test_maintenance_shows_in_the_list_at_once(room: Room) -> None:
    query = "/api/v1/devices?state=maintenance"
    assert (await room.get(query))["items"] == []
    status, device = await room.ask("POST", MAINTENANCE, json={"minutes": 30, "reason": "lens"})
    assert (status, device["state"], device["reason"]) == (200, "maintenance", "maintenance")
    assert [item["device_id"] for item in (await room.get(query))["items"]] == [BUTTON]


async def test_test_mode_is_for_panic_buttons(room: Room) -> None:
    body = {"minutes": 10, "reason": "monthly test"}
    assert (await room.ask("POST", TEST_MODE, json=body))[0] == 200
    assert room.desk.ordered == [("test_mode", BUTTON, "api:admin", 10.0, "monthly test")]
    camera = "/api/v1/devices/s0001-camera-00000/test-mode"
    assert (await room.ask("POST", camera, json=body))[0] == 409


async def test_a_button_in_test_says_until_when(room: Room) -> None:
    room.in_test[BUTTON] = NOW + timedelta(minutes=10)
    device = await room.get(f"/api/v1/devices/{BUTTON}")
    assert device["details"]["test_until"] == "2026-10-05T09:40:00+00:00"
    (listed,) = (await room.get("/api/v1/devices?kind=panic_button&site=s0001"))["items"]
    assert listed == device


@pytest.mark.parametrize("path", ["probe", "picture"])
async def test_what_is_not_there_yet_is_not_pretended(room: Room, path: str) -> None:
    assert (await room.ask("POST", f"/api/v1/devices/{BUTTON}/{path}"))[0] == 404
    assert (await room.ask("GET", "/api/v1/coverage"))[0] == 404
    assert (await room.ask("GET", "/api/v1/uptime"))[0] == 404
