"""The breaker: who may sign in, over restarts, channels and changes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from adapters import breaker as breaking
from adapters.breaker import Breaker, says_locked
from gateway.errors import DeviceFault
from gateway.model import Credentials, Reason
from tests.simulated_clock import SimulatedClock

WRONG = Credentials(username="operator", password="Wrong-password-1")
RIGHT = Credentials(username="operator", password="Right-password-1")
DAY = timedelta(days=1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "refused.jsonl"


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


def lines(file: Path) -> list[bytes]:
    return file.read_bytes().splitlines()


def replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


async def refuse(
    breaker: Breaker, host: str = "h", credentials: Credentials = WRONG, *, locked: bool = False
) -> None:
    async with breaker.trial(host, credentials) as trial:
        trial.refused(locked)


async def accept(breaker: Breaker, credentials: Credentials = WRONG) -> None:
    async with breaker.trial("h", credentials) as trial:
        trial.passed()


async def held_off(
    breaker: Breaker, host: str = "h", credentials: Credentials = WRONG
) -> Reason | None:
    try:
        async with breaker.trial(host, credentials):
            return None
    except DeviceFault as fault:
        return fault.reason


async def test_after_two_refusals_nobody_tries_for_a_day(file: Path, clock: SimulatedClock) -> None:
    breaker = Breaker(clock=clock, path=file)
    await refuse(breaker)
    assert await held_off(breaker) is None
    await refuse(breaker)
    assert await held_off(breaker) is Reason.AUTH_FAILED
    clock.jump(DAY - timedelta(seconds=1))
    assert await held_off(breaker) is Reason.AUTH_FAILED
    clock.jump(timedelta(seconds=1))
    await refuse(breaker)  # the day's one try
    assert await held_off(breaker) is Reason.AUTH_FAILED
    clock.jump(DAY)
    assert await held_off(breaker) is None


async def test_restarts_give_no_further_tries(file: Path, clock: SimulatedClock) -> None:
    tries = 0
    for _ in range(4):
        breaker = Breaker(clock=clock, path=file)
        if await held_off(breaker) is None:
            await refuse(breaker)
            tries += 1
    assert tries == 2


async def test_other_credentials_hosts_and_users_are_free(
    file: Path, clock: SimulatedClock
) -> None:
    breaker = Breaker(clock=clock, path=file)
    await refuse(breaker)
    await refuse(breaker)
    assert await held_off(breaker, credentials=RIGHT) is None
    assert await held_off(breaker, host="other") is None
    other = Credentials(username="admin", password=WRONG.password)
    assert await held_off(breaker, credentials=other) is None


async def test_changing_there_and_back_does_not_forget(file: Path, clock: SimulatedClock) -> None:
    breaker = Breaker(clock=clock, path=file)
    await refuse(breaker)
    await refuse(breaker)
    async with breaker.trial("h", RIGHT) as trial:
        trial.passed()
    assert await held_off(breaker) is Reason.AUTH_FAILED


async def test_success_takes_refusals_back_on_disk_too(file: Path, clock: SimulatedClock) -> None:
    breaker = Breaker(clock=clock, path=file)
    await refuse(breaker)
    await accept(breaker)
    again = Breaker(clock=clock, path=file)
    await refuse(again)
    assert await held_off(again) is None


async def test_no_answer_counts_for_nothing(file: Path, clock: SimulatedClock) -> None:
    breaker = Breaker(clock=clock, path=file)
    for _ in range(5):
        async with breaker.trial("h", WRONG):
            pass
        with pytest.raises(TimeoutError):
            async with breaker.trial("h", WRONG):
                raise TimeoutError
    assert await held_off(breaker) is None


async def test_credentials_that_were_right_get_a_pause_before_their_second_try(
    file: Path, clock: SimulatedClock
) -> None:
    """onvif-quirks: a 401 can mean "too many connections" (Dahua), a session slot still held
    (Hikvision)."""
    breaker = Breaker(clock=clock, path=file)
    await accept(breaker)
    await refuse(breaker)
    assert await held_off(breaker) is Reason.AUTH_FAILED
    clock.jump(timedelta(minutes=5))
    await accept(breaker)
    assert await held_off(breaker) is None


async def test_a_locked_account_is_left_alone_for_an_hour(
    file: Path, clock: SimulatedClock
) -> None:
    breaker = Breaker(clock=clock, path=file)
    await refuse(breaker, locked=True)
    assert await held_off(Breaker(clock=clock, path=file)) is Reason.LOCKED_OUT
    clock.jump(timedelta(hours=1))
    assert await held_off(breaker) is None


async def test_sixteen_channels_at_once_make_two_tries(file: Path, clock: SimulatedClock) -> None:
    breaker = Breaker(clock=clock, path=file)
    tries = 0

    async def channel() -> None:
        nonlocal tries
        try:
            async with breaker.trial("recorder", WRONG) as trial:
                tries += 1
                await asyncio.sleep(0)
                trial.refused(False)
        except DeviceFault:
            return

    async with asyncio.TaskGroup() as channels:
        for _ in range(16):
            channels.create_task(channel())
    assert tries == 2


async def test_a_cancelled_trial_lets_the_next_one_in(file: Path, clock: SimulatedClock) -> None:
    breaker = Breaker(clock=clock, path=file)
    inside = asyncio.Event()

    async def hang() -> None:
        async with breaker.trial("h", WRONG):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await inside.wait()
    task.cancel()
    await asyncio.wait([task])
    assert await held_off(breaker) is None


async def test_the_file_holds_no_secret(file: Path, clock: SimulatedClock) -> None:
    await refuse(Breaker(clock=clock, path=file))
    assert len(lines(file)) == 2
    assert WRONG.password.encode() not in b"".join(lines(file))


def test_the_file_is_private(file: Path, clock: SimulatedClock) -> None:
    Breaker(clock=clock, path=file)
    assert file.stat().st_mode & 0o777 == 0o600


async def test_a_line_cut_short_costs_only_itself(file: Path, clock: SimulatedClock) -> None:
    breaker = Breaker(clock=clock, path=file)
    await refuse(breaker)
    await refuse(breaker)
    with file.open("ab") as torn:
        torn.write(b'{"host":"h","user')
    again = Breaker(clock=clock, path=file)
    assert await held_off(again) is Reason.AUTH_FAILED
    await refuse(again, host="next")
    assert len(lines(file)) == 3


@pytest.fixture
def nonsense(file: Path) -> Path:
    file.write_bytes(b"\xff\xfenonsense\n[]\n{}\n")
    return file


async def test_a_file_of_nonsense_is_written_anew(nonsense: Path, clock: SimulatedClock) -> None:
    file = nonsense
    breaker = Breaker(clock=clock, path=file)
    await refuse(breaker)
    await refuse(breaker)
    assert await held_off(Breaker(clock=clock, path=file)) is Reason.AUTH_FAILED


async def test_what_nobody_tries_any_more_is_forgotten(file: Path, clock: SimulatedClock) -> None:
    await refuse(Breaker(clock=clock, path=file))
    clock.jump(timedelta(days=8))
    Breaker(clock=clock, path=file)
    assert len(lines(file)) == 1


async def test_a_time_from_the_future_holds_nobody_off(file: Path, clock: SimulatedClock) -> None:
    clock.jump(timedelta(days=3650))
    breaker = Breaker(clock=clock, path=file)
    await refuse(breaker)
    await refuse(breaker)
    clock.jump(-timedelta(days=3650))
    assert await held_off(Breaker(clock=clock, path=file)) is None


async def test_memory_and_file_are_bounded(
    file: Path, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaking, "MAX_ENTRIES", 10)
    monkeypatch.setattr(breaking, "_SPARE_LINES", 20)
    breaker = Breaker(clock=clock, path=file)
    for number in range(200):
        await refuse(breaker, host=f"h{number}")
        await accept(breaker, Credentials(username=f"u{number}", password="p"))
    assert len(lines(file)) < 70
    await refuse(breaker, host="h199")
    assert await held_off(breaker, host="h199") is Reason.AUTH_FAILED


async def test_a_disk_that_fails_is_told_once_and_stops_nothing(
    file: Path, clock: SimulatedClock, caplog: pytest.LogCaptureFixture
) -> None:
    breaker = Breaker(clock=clock, path=file)
    replace_by_folder(file)
    await refuse(breaker)
    await refuse(breaker)
    assert await held_off(breaker) is Reason.AUTH_FAILED
    assert len([one for one in caplog.records if "not kept on disk" in one.message]) == 1


async def test_nothing_stays_behind_of_those_who_waited(file: Path, clock: SimulatedClock) -> None:
    breaker = Breaker(clock=clock, path=file)
    async with AsyncExitStack() as stack:
        for number in range(20):
            await stack.enter_async_context(breaker.trial(f"h{number}", WRONG))
    assert not breaker._turns


@pytest.mark.parametrize(
    ("text", "locked"),
    [
        (b"<lockStatus>lock</lockStatus>", True),
        (b"The account is Locked.", True),
        (b"User lockout", True),
        (b"<lockStatus>unlock</lockStatus>", False),
        (b"style='display:block'", False),
        (b"Unauthorized", False),
    ],
)
def test_what_says_that_an_account_is_locked(text: bytes, locked: bool) -> None:
    assert says_locked(b"", text) is locked
