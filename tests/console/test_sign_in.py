from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.console import Role, UserStore
from gateway.console.access import SESSION_COOKIE
from gateway.console.door import (
    KEYS_KEPT,
    TRIES_PER_ADDRESS,
    TRIES_PER_NAME,
    TRY_WINDOW_S,
    Door,
    TooManyTries,
    Tries,
)
from gateway.console.sessions import SESSION_S, SESSIONS_KEPT, Sessions
from tests.console.conftest import Room, SteeredClock
from tests.console.neighbours import make_alarm


@pytest.fixture
def signed_up(room: Room) -> Room:
    room.users.add("aigerim", Role.OPERATOR, "correct horse")
    return room


async def test_a_page_sends_strangers_to_the_sign_in_and_back(signed_up: Room) -> None:
    url = f"{signed_up.url}/?state=offline"
    async with signed_up.http.get(url, allow_redirects=False) as answer:
        assert answer.status == 303
        assert answer.headers["Location"] == "/sign-in?next=%2F%3Fstate%3Doffline"
    async with signed_up.http.get(url) as answer:
        assert 'name="next" value="/?state=offline"' in await answer.text()


async def test_the_right_password_opens_a_session_that_scripts_cannot_read(signed_up: Room) -> None:
    answer = await signed_up.sign_in("aigerim", "correct horse")
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    cookie = answer.cookies[SESSION_COOKIE]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"
    assert not cookie["secure"]  # Over TLS it is: see test_server.py.
    assert cookie["max-age"] == str(12 * 3600)
    page = await signed_up.get("/", role=None)
    assert "aigerim" in page


async def test_a_wrong_password_opens_nothing_and_is_not_repeated(signed_up: Room) -> None:
    answer = await signed_up.sign_in("aigerim", "wrong password")
    assert answer.status == 401
    assert SESSION_COOKIE not in answer.cookies
    body = await answer.text()
    assert "Wrong name or password." in body
    assert "wrong password" not in body


async def test_signing_out_ends_the_session_everywhere(signed_up: Room) -> None:
    answer = await signed_up.sign_in("aigerim", "correct horse")
    session = answer.cookies[SESSION_COOKIE].value
    async with signed_up.http.post(
        f"{signed_up.url}/sign-out", headers={"Origin": signed_up.url}, allow_redirects=False
    ) as out:
        assert out.status == 303
    status, _ = await signed_up.ask(
        "GET", "/api/v1/alarms", None, cookies={SESSION_COOKIE: session}
    )
    assert status == 401


async def test_a_session_ends_after_a_shift(signed_up: Room) -> None:
    await signed_up.sign_in("aigerim", "correct horse")
    signed_up.clock.passed += SESSION_S - 1
    assert (await signed_up.ask("GET", "/api/v1/alarms", None))[0] == 200
    signed_up.clock.passed += 1
    assert (await signed_up.ask("GET", "/api/v1/alarms", None))[0] == 401


async def test_a_new_password_ends_the_sessions_of_the_old_one(signed_up: Room) -> None:
    await signed_up.sign_in("aigerim", "correct horse")
    signed_up.users.add("aigerim", Role.OPERATOR, "another horse")
    assert (await signed_up.ask("GET", "/api/v1/alarms", None))[0] == 401


async def test_a_sign_in_gets_a_session_id_of_its_own(signed_up: Room) -> None:
    signed_up.http.cookie_jar.update_cookies({SESSION_COOKIE: "chosen-by-a-stranger"})
    answer = await signed_up.sign_in("aigerim", "correct horse")
    assert answer.cookies[SESSION_COOKIE].value != "chosen-by-a-stranger"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {},
    ],
)
async def test_another_site_cannot_act_with_a_persons_cookie(
    signed_up: Room, headers: dict[str, str]
) -> None:
    signed_up.desk.raise_(make_alarm(1))
    await signed_up.sign_in("aigerim", "correct horse")
    path = "/api/v1/alarms/a0001/acknowledge"
    status, problem = await signed_up.ask("POST", path, None, json={}, headers=headers)
    assert (status, problem["detail"]) == (403, "the request comes from another site")
    assert signed_up.desk.commands == []
    own: dict[str, str] = {"Origin": signed_up.url}
    assert (await signed_up.ask("POST", path, None, json={}, headers=own))[0] == 200


async def test_another_site_cannot_sign_a_person_in_or_out(signed_up: Room) -> None:
    stranger = {"Origin": "https://elsewhere.example"}
    answer = await signed_up.sign_in("aigerim", "correct horse", **stranger)
    assert answer.status == 403
    assert (await signed_up.ask("POST", "/sign-out", None, headers=stranger))[0] == 403


@pytest.mark.parametrize(
    "target",
    ["//elsewhere.example", "https://elsewhere.example", "/\\elsewhere.example", "/\r\nX: y"],
)
async def test_the_sign_in_leads_to_no_other_site(signed_up: Room, target: str) -> None:
    form = {"name": "aigerim", "password": "correct horse", "next": target}
    async with signed_up.http.post(
        f"{signed_up.url}/sign-in",
        data=form,
        headers={"Origin": signed_up.url},
        allow_redirects=False,
    ) as answer:
        assert answer.headers["Location"] == "/"


async def test_guessing_is_slowed_down_and_says_for_how_long(signed_up: Room) -> None:
    for _ in range(TRIES_PER_NAME):
        assert (await signed_up.sign_in("aigerim", "guess")).status == 401
    refused = await signed_up.sign_in("aigerim", "correct horse")
    assert refused.status == 429
    assert refused.headers["Retry-After"] == str(int(TRY_WINDOW_S))
    signed_up.clock.passed += TRY_WINDOW_S
    assert (await signed_up.sign_in("aigerim", "correct horse")).status == 303


async def test_without_accounts_the_sign_in_says_how_to_make_one(room: Room) -> None:
    assert "kuzet user add NAME --role admin" in await room.get("/sign-in", role=None)


# --- tries and sessions by themselves ------------------------------------------------------------


def test_an_address_that_tries_many_names_has_to_wait() -> None:
    tries = Tries(SteeredClock())
    for number in range(TRIES_PER_ADDRESS):
        assert tries.wait_s("10.0.0.9", f"name{number}") == 0
        tries.failed("10.0.0.9", f"name{number}")
    assert tries.wait_s("10.0.0.9", "another") == TRY_WINDOW_S
    assert tries.wait_s("10.0.0.10", "another") == 0


def test_a_stranger_cannot_lock_an_operator_out() -> None:
    tries = Tries(SteeredClock())
    tries.succeeded("10.0.0.5", "aigerim")
    for number in range(TRIES_PER_NAME):
        tries.failed(f"10.9.0.{number}", "aigerim")
    assert tries.wait_s("10.9.9.9", "aigerim") > 0
    assert tries.wait_s("10.0.0.5", "aigerim") == 0


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("not an address", "10.0.0.1", False),
    ],
)
def test_an_ipv6_network_counts_as_one_place(first: str, second: str, same: bool) -> None:
    tries = Tries(SteeredClock())
    for number in range(TRIES_PER_ADDRESS):
        tries.failed(first, f"name{number}")
    assert (tries.wait_s(second, "another") > 0) is same


def test_what_is_remembered_of_tries_is_bounded() -> None:
    tries = Tries(SteeredClock())
    for number in range(KEYS_KEPT):
        tries.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", f"name{number}")
        tries.succeeded("10.0.0.5", f"other{number}")
    assert len(tries._failures) <= KEYS_KEPT
    assert len(tries._known) <= KEYS_KEPT


async def test_a_crowd_at_the_door_is_turned_away_instead_of_kept_in_line(tmp_path: Path) -> None:
    door = Door(UserStore(tmp_path / "users.json"), SteeredClock())
    answers = await asyncio.gather(
        *(door.enter(f"10.0.0.{n}", f"n{n}", "long enough") for n in range(12)),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers[:8]] == [type(None)] * 8
    assert [type(answer) for answer in answers[8:]] == [TooManyTries] * 4


def test_sessions_are_bounded_and_the_oldest_goes_first(tmp_path: Path) -> None:
    users = UserStore(tmp_path / "users.json")
    users.add("aigerim", Role.OPERATOR, "correct horse")
    sessions, (user,) = Sessions(users, SteeredClock()), users.list()
    first, second = sessions.begin(user), sessions.begin(user)
    for _ in range(SESSIONS_KEPT - 1):
        sessions.begin(user)
    assert sessions.user(first) is None
    assert sessions.user(second) == user


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"name": "x"}', "application/json", 415),
        (b"name=%FF%FE&password=%FF", "application/x-www-form-urlencoded", 401),
        (b"name=x&password=y", "application/x-www-form-urlencoded; charset=nonsense", 400),
        (b"a=" + b"x" * 70_000, "application/x-www-form-urlencoded", 413),
    ],
)
async def test_odd_forms_are_answered_and_no_fault_of_ours(
    room: Room, body: bytes, content_type: str, status: int
) -> None:
    headers = {"Origin": room.url, "Content-Type": content_type}
    answer, _ = await room.ask("POST", "/sign-in", None, data=body, headers=headers)
    assert answer == status
