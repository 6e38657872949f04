"""What holds for every test of the MQTT adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.mqtt import session
from tests.rig import TELEMETRY_CONF, Mosquitto


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconnects at once: a test has no time for politeness."""
    monkeypatch.setattr(session, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(session, "LONGEST_PAUSE_S", 0.1)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    """One for both sessions; not the one that saves each change, as some tests send thousands."""
    async with Mosquitto(tmp_path / "broker", TELEMETRY_CONF) as started:
        yield started
