"""Tells what is wrong with a sink, without ever making a delivery wait for the telling."""

from __future__ import annotations

import asyncio
import logging

from gateway.errors import JournalError
from gateway.model import Condition
from gateway.ports import Clock, Conditions

log = logging.getLogger(__name__)

TELL_AGAIN_S = 1.0
"""Pause after the journal did not take what was told; what is then told is the state of then."""


class Troubles:
    """What is wrong with one sink, by subject and cause; `run` tells each change of a subject.

    Telling commits to the journal, which may be slow or ill, and a delivery must not wait for that.
    So `report` only notes the present, and `run` tells the latest state of each subject.
    """

    def __init__(self, conditions: Conditions, clock: Clock) -> None:
        self._conditions = conditions
        self._clock = clock
        self._causes: dict[str, dict[str, str]] = {}
        self._told: dict[str, bool] = {}
        self._changed = asyncio.Event()

    def report(self, subject: str, cause: str, *, active: bool, detail: str = "") -> None:
        """Notes that `cause` is, or is no longer, a trouble of `subject`; a subject is in trouble
        while it has any cause. The first report of a subject is always told: a trouble that the
        gateway's last life told may be over."""
        causes = self._causes.setdefault(subject, {})
        before = bool(causes)
        if active:
            causes[cause] = detail
        else:
            causes.pop(cause, None)
        if before is not bool(causes) or subject not in self._told:
            self._changed.set()

    async def run(self) -> None:
        """Tells for ever."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            for subject in tuple(self._causes):
                await self._tell(subject)

    async def _tell(self, subject: str) -> None:
        causes = self._causes[subject]
        active = bool(causes)
        if self._told.get(subject) is active:
            return
        try:
            await self._conditions.tell(
                Condition.DELIVERY_FAILED, subject, active=active, detail="; ".join(causes.values())
            )
        except JournalError as error:
            log.warning("trouble not told: subject=%s error=%s", subject, error)
            await self._clock.sleep(TELL_AGAIN_S)
            self._changed.set()
        else:
            self._told[subject] = active
