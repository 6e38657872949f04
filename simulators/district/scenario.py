"""The script of a demo: what goes wrong in a district, again and again, told beforehand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from simulators.district import actions
from simulators.district.district import District
from simulators.district.plan import Kind
from simulators.mqtt import NoPower, NotSaid, Turnstile

Tell = Callable[[str], None]


class Step(Struct, frozen=True, kw_only=True):
    """At `at_s` of each round something happens to a device of `kind`: an action, or a fault that
    lasts `lasts_s`. `words` says it; `{device}` and `{site}` stand for whom it hits."""

    at_s: float
    kind: Kind
    words: str
    action: str = ""
    fault: str = ""
    lasts_s: float = 0.0


ROUND_S = 180.0

_PRESS = "a press at {site}"

STEPS = (
    Step(at_s=20, kind=Kind.PANIC_BUTTON, action="press", words=_PRESS),
    Step(
        at_s=30,
        kind=Kind.CAMERA,
        fault="down",
        lasts_s=30,
        words="camera {device} is unplugged for 30 s",
    ),
    Step(at_s=50, kind=Kind.PANIC_BUTTON, action="press", words=_PRESS),
    Step(
        at_s=65,
        kind=Kind.TURNSTILE,
        action="force",
        words="somebody forces the turnstile at {site}",
    ),
    Step(at_s=80, kind=Kind.PANIC_BUTTON, action="press", words=_PRESS),
    Step(
        at_s=90,
        kind=Kind.PANIC_BUTTON,
        fault="low_battery",
        lasts_s=40,
        words="the battery of {device} is nearly empty, for 40 s",
    ),
    Step(at_s=110, kind=Kind.PANIC_BUTTON, action="press", words=_PRESS),
    Step(
        at_s=120,
        kind=Kind.INTERCOM,
        action="force_door",
        words="the door at {site} is forced",
    ),
    Step(
        at_s=125,
        kind=Kind.CAMERA,
        fault="skew=1h",
        lasts_s=30,
        words="the clock of camera {device} is an hour wrong, for 30 s",
    ),
    Step(at_s=140, kind=Kind.PANIC_BUTTON, action="press", words=_PRESS),
    Step(
        at_s=150,
        kind=Kind.PANIC_BUTTON,
        fault="unplugged",
        lasts_s=20,
        words="{device} loses its power for 20 s",
    ),
    Step(at_s=170, kind=Kind.PANIC_BUTTON, action="press", words=_PRESS),
)
"""A press every 30 s, and between them one fault of each kind. A wrong password is not among them:
after two tries a polite gateway leaves such a camera alone for a day."""

PASS_EVERY_S = (1.0, 3.0)
"""Pupils come one by one."""

NOTICE_S = 20.0
"""How long before it happens each thing is told at the latest."""


class _Moment(Struct, frozen=True, kw_only=True):
    at_s: float
    words: str
    device_id: str
    action: str = ""
    fault: str = ""
    ends: bool = False


class Scenario:
    """Plays `steps` round after round over a district; `tell` gets a line for each thing before it
    happens."""

    def __init__(
        self,
        district: District,
        *,
        seed: int,
        tell: Tell,
        steps: Sequence[Step] = STEPS,
        round_s: float = ROUND_S,
    ) -> None:
        self._district = district
        self._chance = random.Random(seed)
        self._tell = tell
        self._steps = steps
        self._round_s = round_s
        self._begun = asyncio.Event()

    @property
    def begun(self) -> bool:
        return self._begun.is_set()

    def begin(self) -> None:
        """The first round starts now."""
        self._begun.set()

    async def run(self) -> None:
        """Waits for `begin`, then plays until cancelled."""
        await self._begun.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._rounds(), name="scenario")
            group.create_task(self._passes(), name="passes")

    async def _rounds(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            for moment in self._round():
                await _until(began + moment.at_s - NOTICE_S)
                ahead_s = max(0.0, began + moment.at_s - loop.time())
                self._tell(f"in {ahead_s:.0f} s: {moment.words}")
                await _until(began + moment.at_s)
                await self._do(moment)
            began += self._round_s
            await _until(began)

    def _round(self) -> list[_Moment]:
        """The moments of one round in their order, each with a device drawn for it."""
        moments = [moment for step in self._steps for moment in self._moments(step)]
        return sorted(moments, key=lambda moment: moment.at_s)

    def _moments(self, step: Step) -> Iterator[_Moment]:
        candidates = self._district.of_kind(step.kind)
        if not candidates:
            return
        device_id = self._chance.choice(candidates)
        site = self._district.site_of[device_id]
        words = step.words.format(device=device_id, site=f"{site.site_id} ({site.name})")
        yield _Moment(
            at_s=step.at_s,
            words=words,
            device_id=device_id,
            action=step.action,
            fault=step.fault,
        )
        if step.fault:
            yield _Moment(
                at_s=step.at_s + step.lasts_s,
                words=f"{device_id} is well again",
                device_id=device_id,
                fault=step.fault,
                ends=True,
            )

    async def _do(self, moment: _Moment) -> None:
        device = self._district.devices[moment.device_id]
        try:
            if moment.ends:
                await actions.recover(device, moment.fault)
            elif moment.fault:
                await actions.fail(device, moment.fault)
            else:
                kind = self._district.kinds[moment.device_id]
                await actions.act(device, kind, moment.action, {})
        except (NoPower, NotSaid) as error:
            # Whoever holds the control API may have unplugged it meanwhile.
            self._tell(f"not done, {moment.words}: {error!r}")

    async def _passes(self) -> None:
        turnstiles = self._district.of_kind(Kind.TURNSTILE)
        while turnstiles:
            await asyncio.sleep(self._chance.uniform(*PASS_EVERY_S))
            turnstile = self._district.devices[self._chance.choice(turnstiles)]
            if isinstance(turnstile, Turnstile):
                card = f"{self._chance.randrange(10**10):010}"
                await self._pass(turnstile, card)

    async def _pass(self, turnstile: Turnstile, card: str) -> None:
        try:
            await turnstile.let_pass(card)
        except NoPower:
            return


async def _until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - asyncio.get_running_loop().time()))
