"""The contract, kept by the journal on disk and by the one in memory for other rooms' tests."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from gateway.journal import lane as lane_module
from gateway.journal.tail import Tail
from gateway.ports import Journal
from tests.journal.contract import JournalContract
from tests.journal.neighbours import Folder, OpenJournal
from tests.memory_journal import MemoryJournal
from tests.simulated_clock import SimulatedClock


class TestSqliteJournal(JournalContract):
    @pytest.fixture
    def open_journal(self, folder: Folder) -> OpenJournal:
        return folder.open


class TestSqliteJournalWithoutTail(JournalContract):
    """All consumers read from disk, as those do that fell behind."""

    @pytest.fixture
    def open_journal(self, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> OpenJournal:
        monkeypatch.setattr(lane_module, "Tail", functools.partial(Tail, limit=0))
        return folder.open


class TestMemoryJournal(JournalContract):
    @pytest.fixture
    def open_journal(self) -> OpenJournal:
        journals = [MemoryJournal(SimulatedClock())]

        @asynccontextmanager
        async def opened() -> AsyncIterator[Journal]:
            yield cast("Journal", journals[-1])
            journals.append(journals[-1].restart())

        return opened
