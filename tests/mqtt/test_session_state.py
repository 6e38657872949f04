"""What is known of a session survives restarts, and what cannot be known is not guessed."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from adapters.mqtt.session_state import FORGOTTEN, SessionState, StateFile
from tests.mqtt.neighbours import NOW

STATE = SessionState(session="one", broker="127.0.0.1:1883", connected_at=NOW, filters=("a", "b"))


@pytest.fixture
def file(tmp_path: Path) -> StateFile:
    return StateFile(tmp_path / "var", "zhambyl-alarm")


def test_at_first_there_has_never_been_a_session(file: StateFile) -> None:
    file.unsettle()
    assert file.load() == (None, True)


def test_a_settled_session_is_known_again(file: StateFile) -> None:
    file.settle(STATE)
    assert file.load() == (STATE, True)


def test_after_a_crash_before_connack_it_is_not(file: StateFile) -> None:
    file.settle(STATE)
    file.unsettle()
    assert file.load() == (STATE, False)
    file.unsettle()
    assert file.load() == (STATE, False)
    file.settle(STATE)
    assert file.load() == (STATE, True)


def test_a_crash_while_settling_leaves_the_new_state(file: StateFile, tmp_path: Path) -> None:
    file.settle(STATE)
    file.unsettle()
    left_over = (tmp_path / "var/mqtt-zhambyl-alarm.unsettled").read_bytes()
    file.settle(SessionState(session="two", broker="b", connected_at=NOW))
    (tmp_path / "var/mqtt-zhambyl-alarm.unsettled").write_bytes(left_over)
    state, settled = file.load()
    assert state is not None
    assert (state.session, settled) == ("two", True)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"session": 1}', b"[" * 5000])
def test_a_file_that_cannot_be_read_is_a_session_forgotten(
    file: StateFile, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    file.settle(STATE)
    (tmp_path / "var/mqtt-zhambyl-alarm.json").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert file.load() == (FORGOTTEN, False)
    assert "mqtt-zhambyl-alarm.json" in caplog.text


def test_unsettling_needs_no_room_on_the_disk(file: StateFile, tmp_path: Path) -> None:
    file.settle(STATE)
    before = {one.stat().st_ino for one in (tmp_path / "var").iterdir()}
    file.unsettle()
    assert {one.stat().st_ino for one in (tmp_path / "var").iterdir()} == before


def test_client_ids_are_no_paths(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "var", "../../etc/x")
    file.settle(STATE)
    assert [one.parent for one in tmp_path.rglob("*.json")] == [tmp_path / "var"]


async def test_threads_write_one_after_the_other(file: StateFile) -> None:
    await asyncio.gather(*(asyncio.to_thread(file.settle, STATE) for _ in range(20)))
    assert file.load() == (STATE, True)
