"""The console page as people use it, in a real browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.console import Listen, Role
from gateway.model import AlarmState, Condition, Reason, State
from tests.console.browser import Browser, browsing
from tests.console.conftest import OpenRoom, Room
from tests.console.neighbours import make_alarm
from tests.peers import free_port, until

LIVE = "document.getElementById('live')?.dataset.state === 'live'"
LOST = "!document.getElementById('lost').hidden"
FITS = "document.documentElement.scrollWidth <= window.innerWidth"
BUTTON = "s0001-panic_button-00003"


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    async with browsing(tmp_path / "profile") as opened:
        yield opened


@pytest.fixture
async def room(open_room: OpenRoom) -> AsyncIterator[Room]:
    # A port that stays the same over a restart, as the page expects of its gateway.
    async with open_room(listen=Listen(host="127.0.0.1", port=free_port())) as opened:
        opened.users.add("aigerim", Role.OPERATOR, "correct horse")
        yield opened


async def _sign_in(browser: Browser, room: Room) -> None:
    await browser.resize(1280, 900)
    await browser.open(room.url)
    await browser.type("input[name=name]", "aigerim")
    await browser.type("input[name=password]", "correct horse")
    await browser.click("button.primary")
    await browser.until(LIVE)


async def test_an_operator_sees_a_panic_alarm_arrive_and_takes_it(
    browser: Browser, room: Room
) -> None:
    await _sign_in(browser, room)
    assert await browser.script("return document.querySelectorAll('.alarm').length") == 0
    room.desk.raise_(make_alarm(1, device_id=BUTTON))
    await browser.until("document.querySelector('#alarm-a0001.panic.new')")
    assert await browser.script("return document.title") == "(1) PANIC · Kuzet · zhambyl"

    await browser.type("#alarm-a0001 input[name=comment]", "police called")
    room.desk.raise_(make_alarm(2, Condition.DOOR_FORCED))
    room.desk.raise_(make_alarm(1, device_id=BUTTON, count=2))
    await browser.until("document.querySelector('#alarm-a0001')?.innerText.includes('2 times')")
    typed = "document.querySelector('#alarm-a0001 input[name=comment]')"
    assert await browser.script(f"return {typed}.value") == "police called"
    assert await browser.script(f"return document.activeElement === {typed}")

    await browser.click("#alarm-a0001 button")
    await browser.until("document.querySelector('#alarm-a0001.acknowledged')")
    (command,) = room.desk.commands
    assert (command.by, command.comment) == ("aigerim", "police called")

    await browser.type("#alarm-a0001 input[name=comment]", "false alarm")
    await browser.click("#alarm-a0001 button")
    await browser.until("!document.querySelector('#alarm-a0001')")
    assert room.desk.known["a0001"].state is AlarmState.CLOSED
    assert await browser.complaints() == []


async def test_a_broken_device_moves_to_the_top_and_stays_open_while_it_changes(
    browser: Browser, room: Room
) -> None:
    await _sign_in(browser, room)
    device = room.fleet.device("s0002-camera-00001")
    broken = replace(device, state=State.OFFLINE, reason=Reason.TIMEOUT, since=room.clock.now())
    room.clock.passed += 1  # The fleet is looked at anew at most four times a second.
    room.fleet.put(broken)
    first = "document.querySelector('#devices-list > li')"
    await browser.until(f"{first}.id === 'device-s0002-camera-00001'")
    await browser.click("#device-s0002-camera-00001 summary")
    await browser.type("#device-s0002-camera-00001 input[name=reason]", "new lens")
    room.clock.passed += 1
    room.fleet.put(replace(broken, reason=Reason.REFUSED))
    await browser.until(f"{first}.innerText.includes('Connection refused')")
    assert await browser.script(f"return {first}.querySelector('details').open")

    await browser.click("#device-s0002-camera-00001 form button")
    await until(lambda: room.desk.ordered)
    assert room.desk.ordered == [("maintenance", "s0002-camera-00001", "aigerim", 60.0, "new lens")]
    await browser.until("document.querySelector('#device-s0002-camera-00001.maintenance')")


async def test_a_page_that_cannot_hear_the_gateway_says_so_and_recovers(
    browser: Browser, room: Room
) -> None:
    await _sign_in(browser, room)
    (serving,) = (task for task in asyncio.all_tasks() if task.get_name() == "console")
    serving.cancel()
    await browser.until(LOST)
    assert not await browser.script(f"return {LIVE}")
    await asyncio.wait((serving,))
    room.desk.raise_(make_alarm(1))
    again = asyncio.create_task(room.console.run(), name="console again")
    try:
        await browser.until(f"{LIVE} && !{LOST}", timeout_s=30)
        # Raised while the page heard nothing: it is there as soon as the page says that it is live.
        assert await browser.script("return document.querySelectorAll('.alarm.panic').length") == 1
    finally:
        again.cancel()
        await asyncio.wait((again,))


async def test_a_command_that_is_not_done_says_so_on_the_card(browser: Browser, room: Room) -> None:
    room.desk.raise_(make_alarm(1))
    await _sign_in(browser, room)
    room.desk.broken = True
    await browser.click("#alarm-a0001 button")
    told = "document.querySelector('#alarm-a0001 .failed')"
    await browser.until(f"!{told}.hidden")
    assert "Refused: the gateway cannot write this down now" in await browser.script(
        f"return {told}.textContent"
    )


async def test_when_the_sign_in_is_over_the_page_asks_for_it(browser: Browser, room: Room) -> None:
    await _sign_in(browser, room)
    room.users.add("aigerim", Role.OPERATOR, "another horse")
    room.desk.raise_(make_alarm(1))
    await browser.until("location.pathname === '/sign-in'")


async def test_it_fits_a_phone_in_every_language_and_asks_nobody_else(
    browser: Browser, room: Room
) -> None:
    room.desk.raise_(make_alarm(1, device_id=BUTTON))
    await _sign_in(browser, room)
    await browser.resize(390, 844)
    for code, word in (("ru", "ТРЕВОЖНАЯ КНОПКА"), ("kk", "ДАБЫЛ ТҮЙМЕСІ"), ("en", "PANIC")):
        await browser.click(f"button[value={code}]")
        await browser.until(f"document.documentElement.lang === '{code}' && {LIVE}")
        assert word in await browser.script("return document.querySelector('.alarm').innerText")
        assert await browser.script(f"return {FITS}")
        hosts = "performance.getEntriesByType('resource').map(entry => new URL(entry.name).host)"
        assert await browser.script(f"return [...new Set({hosts})]") == [
            room.url.removeprefix("http://")
        ]
    assert await browser.complaints() == []
