from __future__ import annotations

import pytest

from gateway.console import Role
from gateway.console.routes import API, MONITORING, PAGES, Route
from tests.console.conftest import OpenRoom, Room
from tests.console.neighbours import make_alarm

DEVICE = "s0001-panic_button-00003"

BODIES = {
    "acknowledge": {},
    "clear": {"comment": "false alarm"},
    "comment": {"comment": "on the way"},
    "shelve": {"comment": "noise"},
    "test-mode": {"minutes": 10, "reason": "monthly test"},
    "maintenance": {"minutes": 30, "reason": "new lens"},
}


def _path(route: Route) -> str:
    return route.path.format(alarm_id="a0001", device_id=DEVICE, version="x", name="none")


@pytest.mark.parametrize("route", [*API, *PAGES, *MONITORING], ids=lambda route: route.path)
async def test_only_what_is_declared_open_answers_strangers(room: Room, route: Route) -> None:
    status, _ = await room.ask(route.method, _path(route), None)
    if route.roles is None:
        assert status not in (401, 303) or route.path == "/sign-out"
    elif route.path == "/":
        assert status == 303
    else:
        assert status == 401


@pytest.mark.parametrize("path", ["/nothing", "/api/v1/nothing", "/api/v1/devices/x/probe"])
async def test_strangers_do_not_learn_which_paths_there_are(room: Room, path: str) -> None:
    assert (await room.ask("GET", path, None))[0] in (303, 401)
    assert (await room.ask("GET", path))[0] == 404


@pytest.mark.parametrize(
    ("verb", "allowed"),
    [
        ("alarms/a0001/acknowledge", {Role.OPERATOR, Role.ADMIN}),
        ("alarms/a0001/comment", {Role.OPERATOR, Role.ADMIN}),
        ("alarms/a0001/clear", {Role.OPERATOR, Role.ADMIN}),
        (f"devices/{DEVICE}/test-mode", {Role.TECHNICIAN, Role.OPERATOR, Role.ADMIN}),
        (f"devices/{DEVICE}/maintenance", {Role.TECHNICIAN, Role.OPERATOR, Role.ADMIN}),
    ],
)
async def test_each_role_may_do_what_is_its_own(room: Room, verb: str, allowed: set[Role]) -> None:
    room.desk.raise_(make_alarm(1))
    body = BODIES[verb.rpartition("/")[2]]
    for role in Role:
        status, answer = await room.ask("POST", f"/api/v1/{verb}", role, json=body)
        assert status == (200 if role in allowed else 403), (role, answer)


async def test_every_role_may_read(room: Room) -> None:
    room.desk.raise_(make_alarm(1))
    for role in Role:
        for path in ("/", "/api/v1/alarms", "/api/v1/alarms/a0001", f"/api/v1/devices/{DEVICE}"):
            assert (await room.ask("GET", path, role))[0] == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer wrong",
        "Bearer",
        "Basic YWRtaW46YWRtaW4=",
        "Bearer admin-token-of-a-test2",
        "Bearer \xff",
    ],
)
async def test_a_wrong_token_is_nobody(room: Room, authorization: str) -> None:
    status, problem = await room.ask(
        "GET", "/api/v1/alarms", None, headers={"Authorization": authorization}
    )
    assert (status, problem["title"]) == (401, "Unauthorized")


async def test_a_gateway_without_tokens_lets_no_program_in(open_room: OpenRoom) -> None:
    async with open_room(tokens=()) as room:
        headers = {"Authorization": "Bearer "}
        assert (await room.ask("GET", "/api/v1/alarms", None, headers=headers))[0] == 401


async def test_a_command_carries_the_name_of_who_gave_it(room: Room) -> None:
    room.desk.raise_(make_alarm(1))
    await room.ask("POST", "/api/v1/alarms/a0001/acknowledge", json={"comment": "seen"})
    room.users.add("aigerim", Role.OPERATOR, "correct horse")
    await room.sign_in("aigerim", "correct horse")
    own = {"Origin": room.url}
    path = f"/api/v1/devices/{DEVICE}/maintenance"
    await room.ask("POST", path, None, json=BODIES["maintenance"], headers=own)
    (command,) = room.desk.commands
    assert (command.by, command.comment, command.at) == ("api:admin", "seen", room.clock.now())
    assert room.desk.ordered == [("maintenance", DEVICE, "aigerim", 30.0, "new lens")]


async def test_a_refused_program_hears_why_as_problem_json(room: Room) -> None:
    room.desk.raise_(make_alarm(1))
    path = f"{room.url}/api/v1/alarms/a0001/acknowledge"
    headers = {"Authorization": "Bearer viewer-token-of-a-test"}
    async with room.http.post(path, json={}, headers=headers) as answer:
        assert (answer.status, answer.content_type) == (403, "application/problem+json")
        assert await answer.json(content_type=None) == {
            "status": 403,
            "title": "Forbidden",
            "detail": "a viewer may not do this",
        }
    async with room.http.get(f"{room.url}/api/v1/alarms") as answer:
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/", "/sign-in", "/api/v1/alarms", "/healthz", "/nothing"])
async def test_every_answer_has_the_security_headers(room: Room, path: str) -> None:
    async with room.http.get(room.url + path, allow_redirects=False) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Server"] == "kuzet"
