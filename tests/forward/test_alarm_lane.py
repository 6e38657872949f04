"""The alarm lane: at once, never held up, in order within an alarm, and nothing lost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest

from gateway.errors import DeliveryError, EndpointFault, Permanent, Retryable, TooLarge
from gateway.forward import Kind
from gateway.model import Audience, Condition, Lane, Record, Transition
from tests.forward.neighbours import Judge, Rig
from tests.forward.records import alarm, command, press

DOWN = Retryable("no connection")
GONE = EndpointFault("it answered 404")
REFUSED = Permanent("it answered 400")


def always(error: DeliveryError | None) -> Judge:
    return lambda lane, ids: error


def refuses(*poisoned: str, error: DeliveryError = REFUSED) -> Judge:
    """Fails every batch that holds one of these records."""
    return lambda lane, ids: error if set(ids) & set(poisoned) else None


async def test_a_press_goes_at_once_and_is_settled() -> None:
    rig = Rig()
    async with rig.running():
        await rig.journal.append([press()])
        await rig.clock.advance()
        assert rig.scripted.accepted == [press().record_id]
        assert rig.alarms.backlog().records == 0
        assert rig.clock.monotonic() == 0.0


async def test_within_a_batch_panic_goes_first_and_the_rest_keeps_its_order() -> None:
    rig = Rig()
    records = [
        alarm("a"),
        press("button-1"),
        alarm("b"),
        alarm("p", condition=Condition.PANIC),
    ]
    await rig.journal.append(records)
    async with rig.running():
        ids = [record.record_id for record in records]
        assert rig.scripted.accepted == [ids[1], ids[3], ids[0], ids[2]]


async def test_a_batch_holds_at_most_a_hundred_records() -> None:
    rig = Rig()
    await rig.journal.append([press(f"button-{n}") for n in range(250)])
    async with rig.running():
        assert [len(trial.ids) for trial in rig.scripted.tries] == [100, 100, 50]


async def test_what_stays_inside_is_settled_unseen() -> None:
    rig = Rig()
    async with rig.running():
        await rig.journal.append([command(), alarm("t", audience=Audience.TECHNICIAN)])
        await rig.clock.advance()
        assert rig.scripted.tries == []
        assert rig.alarms.settled == 2


async def test_a_sink_gets_only_the_kinds_that_it_is_to_get() -> None:
    rig = Rig(forward=frozenset({Kind.ALARM}))
    async with rig.running():
        await rig.journal.append([press(), alarm()])
        await rig.clock.advance()
        assert rig.scripted.accepted == [alarm().record_id]
        assert rig.alarms.settled == 2


async def test_a_failed_batch_is_tried_twice_and_then_each_record_alone() -> None:
    rig = Rig()
    rig.scripted.judge = always(DOWN)
    records = [press("button-1"), press("button-2")]
    await rig.journal.append(records)
    async with rig.running():
        await rig.clock.advance(3.5)
        tries = [(trial.at, len(trial.ids)) for trial in rig.scripted.tries]
        assert tries == [(0.0, 2), (1.0, 2), (3.0, 1), (3.0, 1)]
        assert rig.alarms.settled == 2


@pytest.mark.parametrize("error", [DOWN, GONE])
async def test_an_alarm_is_tried_for_ever_on_the_contracts_timer(error: DeliveryError) -> None:
    rig = Rig()
    rig.scripted.judge = always(error)
    await rig.journal.append([press()])
    async with rig.running():
        await rig.clock.advance(600.0)
        times = [trial.at for trial in rig.scripted.tries]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert gaps[:4] == [1.0, 2.0, 4.0, 8.0]
        assert all(12.0 <= gap <= 15.0 for gap in gaps[4:])
        assert len(gaps) > 40


async def test_retry_after_is_obeyed_up_to_fifteen_seconds() -> None:
    rig = Rig()
    rig.scripted.judge = always(Retryable("it answered 429", 7.0))
    await rig.journal.append([press()])
    async with rig.running():
        await rig.clock.advance(15.0)
        assert [trial.at for trial in rig.scripted.tries] == [0.0, 7.0, 14.0]
        rig.scripted.judge = always(Retryable("it answered 429", 3600.0))
        await rig.clock.advance(40.0)
        assert [trial.at for trial in rig.scripted.tries][3:] == [21.0, 36.0, 51.0]


async def test_a_new_press_waits_for_no_batch_that_fails() -> None:
    rig = Rig()
    late = press("button-late")
    rig.scripted.judge = lambda lane, ids: None if late.record_id in ids else DOWN
    async with rig.running():
        for number in range(40):
            await rig.journal.append([press(f"button-{number}")])
            await rig.clock.advance(0.01)
        at = rig.clock.monotonic()
        await rig.journal.append([late])
        await rig.clock.advance()
        assert rig.scripted.tries_of(late.record_id)[0].at == at
        assert late.record_id in rig.scripted.accepted


async def test_a_new_press_waits_for_no_batch_that_hangs() -> None:
    rig = Rig()
    rig.scripted.judge = always(DOWN)
    rig.scripted.takes_s = 5.0
    async with rig.running():
        for number in range(7):
            await rig.journal.append([press(f"button-{number}")])
            await rig.clock.advance()
        rig.scripted.takes_s = 0.0
        rig.scripted.judge = always(None)
        await rig.journal.append([press("button-late")])
        await rig.clock.advance()
        assert press("button-late").record_id in rig.scripted.accepted


async def test_no_more_than_eight_batches_and_eight_single_alarms_at_once() -> None:
    rig = Rig()
    rig.scripted.judge = always(DOWN)
    rig.scripted.takes_s = 5.0
    async with rig.running():
        for number in range(60):
            await rig.journal.append([press(f"button-{number}")])
            await rig.clock.advance(0.2)
        await rig.clock.advance(120.0)
        assert 8 <= rig.scripted.most_at_once <= 16


async def test_a_poisoned_alarm_delays_none() -> None:
    rig = Rig()
    poison = press("button-3")
    rig.scripted.judge = refuses(poison.record_id)
    records = [press(f"button-{number}") for number in range(6)]
    await rig.journal.append(records)
    async with rig.running():
        await rig.clock.advance()
        healthy = {record.record_id for record in records} - {poison.record_id}
        assert set(rig.scripted.accepted) == healthy
        assert rig.clock.monotonic() == 0.0
        assert rig.alarms.settled == len(records)


async def test_a_refused_alarm_is_visible_told_and_tried_every_minute() -> None:
    rig = Rig()
    rig.scripted.judge = always(REFUSED)
    await rig.journal.append([press()])
    async with rig.running():
        await rig.clock.advance(130.0)
        assert [trial.at for trial in rig.scripted.tries] == [0.0, 60.0, 120.0]
        (aside,) = await rig.alarms.aside()
        assert aside.reason == "it answered 400"
        assert aside.retry_at is not None
        assert rig.conditions.active("opscenter/refused")
        rig.scripted.judge = always(None)
        await rig.clock.advance(60.0)
        assert rig.scripted.accepted == [press().record_id]
        assert not rig.conditions.active("opscenter/refused")
        assert rig.alarms.backlog().records == 0


async def test_a_batch_too_large_goes_one_by_one_at_once() -> None:
    rig = Rig()
    rig.scripted.judge = lambda lane, ids: TooLarge("413") if len(ids) > 1 else None
    await rig.journal.append([press(f"button-{number}") for number in range(20)])
    async with rig.running():
        assert len(rig.scripted.accepted) == 20
        assert [len(trial.ids) for trial in rig.scripted.tries] == [20] + [1] * 20


async def test_a_single_alarm_too_large_counts_as_refused() -> None:
    rig = Rig()
    rig.scripted.judge = always(TooLarge("it answered 413"))
    await rig.journal.append([press()])
    async with rig.running():
        await rig.clock.advance(61.0)
        assert [trial.at for trial in rig.scripted.tries] == [0.0, 60.0]
        assert rig.conditions.active("opscenter/refused")


async def test_an_endpoint_at_fault_is_told_and_untold() -> None:
    rig = Rig()
    rig.scripted.judge = always(GONE)
    await rig.journal.append([press()])
    async with rig.running():
        await rig.clock.advance(0.5)
        assert rig.conditions.active("opscenter")
        assert "it answered 404" in rig.conditions.details
        assert rig.forwarder.health()[Lane.ALARM].state == "retrying"
        rig.scripted.judge = always(None)
        await rig.clock.advance(0.6)
        assert not rig.conditions.active("opscenter")
        assert rig.forwarder.health()[Lane.ALARM].state == "ok"


async def test_telling_that_hangs_delays_no_alarm() -> None:
    rig = Rig()
    rig.conditions.open.clear()
    rig.scripted.judge = always(GONE)
    await rig.journal.append([press()])
    async with rig.running():
        await rig.clock.advance(0.5)
        rig.scripted.judge = always(None)
        await rig.clock.advance(1.0)
        assert rig.scripted.accepted == [press().record_id]
        rig.conditions.open.set()


# --- order within an alarm -----------------------------------------------------------------------


def story(name: str = "a") -> list[str]:
    return [record.record_id for record in told(name)]


def told(name: str = "a") -> Sequence[Record]:
    return [
        alarm(name),
        alarm(name, Transition.UPDATED, count=2),
        alarm(name, Transition.ACKNOWLEDGED, count=2),
    ]


async def test_a_record_waits_for_the_earlier_one_of_its_alarm() -> None:
    rig = Rig()
    rig.scripted.judge = refuses(story()[0], error=DOWN)
    async with rig.running():
        for record in told():
            await rig.journal.append([record])
            await rig.clock.advance(0.1)
        other = alarm("b")
        await rig.journal.append([other])
        await rig.clock.advance(20.0)
        assert rig.scripted.accepted == [other.record_id]
        rig.scripted.judge = always(None)
        await rig.clock.advance(15.0)
        assert rig.scripted.accepted == [other.record_id, *story()]
        assert rig.alarms.backlog().records == 0


async def test_a_record_waits_for_an_earlier_one_that_is_under_way() -> None:
    rig = Rig()
    rig.scripted.takes_s = 0.5
    async with rig.running():
        for record in told():
            await rig.journal.append([record])
            await rig.clock.advance(0.1)
        await rig.clock.advance(3.0)
        assert rig.scripted.accepted == story()
        ends = [trial.at for trial in rig.scripted.tries]
        assert all(later - earlier >= 0.5 for earlier, later in pairwise(ends))


async def test_order_within_an_alarm_holds_over_a_long_outage() -> None:
    rig = Rig()
    rig.scripted.judge = always(DOWN)
    async with rig.running():
        for name in "abc":
            await rig.journal.append(told(name))
            await rig.clock.advance(40.0)
        rig.scripted.takes_s = 0.1
        rig.scripted.judge = always(None)
        await rig.clock.advance(30.0)
        for name in "abc":
            assert [one for one in rig.scripted.accepted if one in story(name)] == story(name)


async def test_a_refused_record_holds_back_nothing_of_its_own_alarm() -> None:
    rig = Rig()
    rig.scripted.judge = refuses(story()[0])
    async with rig.running():
        for record in told():
            await rig.journal.append([record])
            await rig.clock.advance(0.1)
        assert rig.scripted.accepted == story()[1:]


async def test_a_press_waits_for_no_refused_press_of_its_button_after_a_restart_either() -> None:
    rig = Rig()
    rig.scripted.judge = refuses(press(number=0).record_id)
    await rig.journal.append([press(number=0)])
    async with rig.running():
        await rig.clock.advance(5.0)
    again = rig.after_crash()
    async with again.running():
        await again.journal.append([press(number=1)])
        await again.clock.advance(2.0)
        assert again.scripted.accepted == [press(number=1).record_id]


async def test_a_record_that_the_center_fails_on_alone_holds_back_nothing_for_long() -> None:
    rig = Rig()
    rig.scripted.judge = refuses(press(number=0).record_id, error=DOWN)
    async with rig.running():
        for number in range(3):
            await rig.journal.append([press(number=number)])
            await rig.clock.advance(0.1)
        for number in range(30):
            await rig.journal.append([press("button-other", number)])
            await rig.clock.advance(1.0)
        of_button = [press(number=number).record_id for number in (1, 2)]
        assert [one for one in rig.scripted.accepted if one in of_button] == of_button
        assert len(rig.scripted.tries_of(press(number=0).record_id)) > 4


async def test_a_person_may_have_a_refused_alarm_tried_now() -> None:
    rig = Rig()
    rig.scripted.judge = always(REFUSED)
    await rig.journal.append([press()])
    async with rig.running():
        await rig.clock.advance(5.0)
        (aside,) = await rig.alarms.aside()
        await rig.alarms.set_aside([aside.stored], "to be tried again", rig.clock.now())
        await rig.clock.advance(1.0)
        assert len(rig.scripted.tries) == 2


async def test_order_within_an_alarm_holds_over_a_crash() -> None:
    rig = Rig()
    rig.scripted.judge = always(DOWN)
    async with rig.running():
        for record in told():
            await rig.journal.append([record])
            await rig.clock.advance(1.5)
        await rig.clock.advance(20.0)
    again = rig.after_crash()
    again.scripted.judge = always(None)
    async with again.running():
        await again.clock.advance(20.0)
        assert again.scripted.accepted == story()
        assert again.alarms.backlog().records == 0


# --- recovery ------------------------------------------------------------------------------------


async def test_a_success_after_failures_makes_the_others_due_at_once() -> None:
    rig = Rig()
    rig.scripted.judge = always(DOWN)
    await rig.journal.append([press(f"button-{number}") for number in range(50)])
    async with rig.running():
        await rig.clock.advance(100.0)
        rig.scripted.judge = always(None)
        await rig.journal.append([press("button-late")])
        await rig.clock.advance(0.25)
        assert len(set(rig.scripted.accepted)) == 51
        assert rig.alarms.backlog().records == 0


async def test_waiting_panic_goes_before_other_waiting_alarms() -> None:
    rig = Rig()
    rig.scripted.judge = always(DOWN)
    others = [alarm(f"a{number}") for number in range(30)]
    await rig.journal.append([*others, press()])
    async with rig.running():
        await rig.clock.advance(40.0)
        before = len(rig.scripted.tries)
        rig.scripted.takes_s = 0.01
        rig.scripted.judge = always(None)
        await rig.clock.advance(20.0)
        first = rig.scripted.tries[before : before + 9]
        assert any(press().record_id in trial.ids for trial in first)
        assert len(rig.scripted.accepted) == 31


# --- the fallback --------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [GONE, REFUSED])
async def test_what_the_sink_cannot_take_is_handed_over_once(error: DeliveryError) -> None:
    rig = Rig(fallback=frozenset())
    rig.scripted.judge = always(error)
    await rig.journal.append([press()])
    async with rig.running():
        await rig.clock.advance(0.5)
        (aside,) = await rig.fallback.aside(due=rig.clock.now())
        assert aside.stored.record.record_id == press().record_id
        assert aside.reason == f"handed over by opscenter: {error}"
        await rig.fallback.release([aside.stored.sequence])
        await rig.clock.advance(300.0)
        assert await rig.fallback.aside() == []


async def test_a_center_that_is_only_away_hands_nothing_over() -> None:
    rig = Rig(fallback=frozenset())
    rig.scripted.judge = always(DOWN)
    await rig.journal.append([press()])
    async with rig.running():
        await rig.clock.advance(120.0)
        assert await rig.fallback.aside() == []


async def test_nothing_is_handed_over_that_the_fallback_gets_anyway() -> None:
    rig = Rig(fallback=frozenset({Kind.ALARM}))
    rig.scripted.judge = always(GONE)
    await rig.journal.append([press(), alarm()])
    async with rig.running():
        await rig.clock.advance(30.0)
        handed = [aside.stored.record.record_id for aside in await rig.fallback.aside()]
        assert handed == [press().record_id]


async def test_what_waits_behind_a_handed_over_alarm_is_handed_over_too() -> None:
    rig = Rig(fallback=frozenset())
    rig.scripted.judge = always(REFUSED)
    async with rig.running():
        for record in told():
            await rig.journal.append([record])
            await rig.clock.advance(5.0)
        handed = [aside.stored.record.record_id for aside in await rig.fallback.aside()]
        assert handed == story()


async def test_a_fallback_delivers_what_was_handed_to_it_and_it_does_not_forward_itself() -> None:
    rig = Rig(forward=frozenset({Kind.ALARM}))
    await rig.journal.append([press()])
    (stored,) = [one async for one in rig.journal.read(Lane.ALARM)]
    async with rig.running():
        await rig.clock.advance()
        assert rig.scripted.accepted == []
        await rig.alarms.set_aside([stored], "handed over by opscenter: 404", rig.clock.now())
        await rig.clock.advance(1.0)
        assert rig.scripted.accepted == [press().record_id]
        assert await rig.alarms.aside() == []


# --- an ill journal ------------------------------------------------------------------------------


async def test_alarms_go_on_from_memory_while_the_journal_takes_nothing() -> None:
    rig = Rig()
    rig.scripted.judge = always(DOWN)
    rig.alarms.ill = True
    await rig.journal.append([press("button-1"), press("button-2")])
    async with rig.running():
        await rig.clock.advance(30.0)
        assert rig.alarms.settled == 0, "the cursor stays before what is in memory only"
        rig.scripted.judge = always(None)
        await rig.clock.advance(16.0)
        assert len(rig.scripted.accepted) == 2
        rig.alarms.ill = False
        await rig.clock.advance(2.0)
        assert rig.alarms.settled == 2
        assert len(rig.scripted.accepted) == 2


async def test_what_could_not_be_set_aside_is_set_aside_later() -> None:
    rig = Rig()
    rig.scripted.judge = always(DOWN)
    rig.alarms.ill = True
    await rig.journal.append([press()])
    async with rig.running():
        await rig.clock.advance(10.0)
        rig.alarms.ill = False
        await rig.clock.advance(20.0)
        assert rig.alarms.settled == 1
        assert len(await rig.alarms.aside()) == 1


async def test_reading_stops_while_a_thousand_alarms_are_in_memory_only() -> None:
    rig = Rig()
    rig.scripted.judge = always(DOWN)
    rig.alarms.ill = True
    await rig.journal.append([press(f"button-{number}") for number in range(3000)])
    async with rig.running():
        await rig.clock.advance(60.0)
        tried = {one for trial in rig.scripted.tries for one in trial.ids}
        assert len(tried) == 1000
        rig.alarms.ill = False
        rig.scripted.judge = always(None)
        await rig.clock.advance(30.0)
        assert len(set(rig.scripted.accepted)) == 3000
        assert rig.alarms.backlog().records == 0


async def test_a_record_that_a_person_dropped_is_forgotten() -> None:
    rig = Rig()
    rig.scripted.judge = always(REFUSED)
    await rig.journal.append([press()])
    async with rig.running():
        await rig.clock.advance(1.0)
        await rig.alarms.release([1])
        rig.scripted.judge = always(None)
        await rig.clock.advance(120.0)
        assert rig.scripted.accepted == []
        assert not rig.conditions.active("opscenter/refused")
