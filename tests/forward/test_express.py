"""The memory road: what the journal does not take in time goes out all the same."""

from __future__ import annotations

from collections import Counter

from gateway.errors import Permanent, Retryable
from gateway.forward import Kind
from gateway.model import Lane
from tests.forward.neighbours import Rig
from tests.forward.records import alarm, command, press

DOWN = Retryable("no connection")


async def test_a_record_that_cannot_be_committed_goes_out_from_memory() -> None:
    rig = Rig()
    async with rig.running():
        rig.forwarder.express([press(), alarm()])
        await rig.clock.advance()
        assert set(rig.scripted.accepted) == {press().record_id, alarm().record_id}


async def test_the_journals_road_does_not_deliver_again_what_went_out_from_memory() -> None:
    rig = Rig()
    async with rig.running():
        rig.forwarder.express([press()])
        await rig.clock.advance()
        await rig.journal.append([press(), press(number=1)])
        await rig.clock.advance()
        assert rig.scripted.accepted == [press().record_id, press(number=1).record_id]
        assert rig.alarms.settled == 2


async def test_a_record_offered_again_is_delivered_once() -> None:
    rig = Rig()
    async with rig.running():
        for _ in range(5):
            rig.forwarder.express([press()])
            await rig.clock.advance(1.0)
        assert rig.scripted.accepted == [press().record_id]


async def test_a_failing_record_is_tried_on_the_alarm_timer_until_delivered() -> None:
    rig = Rig()
    rig.scripted.judge = lambda lane, ids: DOWN
    async with rig.running():
        rig.forwarder.express([press()])
        await rig.clock.advance(16.0)
        assert [trial.at for trial in rig.scripted.tries] == [0.0, 1.0, 3.0, 7.0, 15.0]
        rig.scripted.judge = lambda lane, ids: None
        await rig.clock.advance(15.0)
        assert rig.scripted.accepted == [press().record_id]


async def test_once_the_journal_has_a_record_it_alone_delivers_it() -> None:
    rig = Rig()
    rig.scripted.judge = lambda lane, ids: DOWN
    async with rig.running():
        rig.forwarder.express([press()])
        await rig.clock.advance(0.5)
        await rig.journal.append([press()])
        await rig.clock.advance(0.1)
        rig.scripted.judge = lambda lane, ids: None
        await rig.clock.advance(60.0)
        assert rig.scripted.accepted == [press().record_id]
        assert rig.alarms.backlog().records == 0


async def test_a_refused_record_is_told_and_delays_none() -> None:
    rig = Rig()
    poison = press("button-bad").record_id
    rig.scripted.judge = lambda lane, ids: Permanent("400") if poison in ids else None
    async with rig.running():
        rig.forwarder.express([press("button-bad"), press("button-good")])
        await rig.clock.advance()
        assert rig.scripted.accepted == [press("button-good").record_id]
        assert rig.conditions.active("opscenter/refused")


async def test_only_what_the_sink_is_to_get_goes_out() -> None:
    rig = Rig(forward=frozenset({Kind.ALARM}))
    async with rig.running():
        rig.forwarder.express([press(), command(), alarm()])
        await rig.clock.advance()
        assert rig.scripted.accepted == [alarm().record_id]


async def test_memory_holds_a_thousand_records_and_has_a_limit() -> None:
    rig = Rig()
    rig.scripted.judge = lambda lane, ids: DOWN
    async with rig.running():
        rig.forwarder.express([press(f"button-{number}") for number in range(5000)])
        await rig.clock.advance(1.0)
        rig.scripted.judge = lambda lane, ids: None
        for _ in range(300):
            await rig.clock.advance(0.1)
        assert 1000 <= len(set(rig.scripted.accepted)) <= 2000


async def test_what_was_taken_before_the_start_goes_out_at_the_start() -> None:
    rig = Rig()
    rig.forwarder.express([press()])
    async with rig.running():
        assert Counter(rig.scripted.accepted) == {press().record_id: 1}
        assert rig.scripted.tries[0].lane is Lane.ALARM
