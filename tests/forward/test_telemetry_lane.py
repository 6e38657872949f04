"""The telemetry lane: in order, batch after batch; what is refused goes to quarantine."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gateway.errors import EndpointFault, Permanent, Retryable, TooLarge
from gateway.forward import Kind
from gateway.model import Lane
from tests.forward.neighbours import Rig
from tests.forward.records import health, passed

DOWN = Retryable("no connection")
REFUSED = Permanent("it answered 422: direction?")


def ids(count: int) -> list[str]:
    return [passed(number).record_id for number in range(count)]


async def test_records_arrive_in_order_in_batches_and_are_settled() -> None:
    rig = Rig(max_batch=40)
    await rig.journal.append([passed(number) for number in range(100)])
    async with rig.running():
        assert rig.scripted.accepted == ids(100)
        assert [len(trial.ids) for trial in rig.scripted.tries] == [40, 40, 20]
        assert rig.telemetry.settled == 100


async def test_what_comes_during_the_flow_is_gathered() -> None:
    rig = Rig()
    async with rig.running():
        for number in range(100):
            await rig.journal.append([passed(number)])
            await rig.clock.advance(0.01)
        await rig.clock.advance(0.1)
        assert rig.scripted.accepted == ids(100)
        assert len(rig.scripted.tries) <= 22


async def test_only_the_wanted_kinds_go_and_the_cursor_passes_all() -> None:
    rig = Rig(forward=frozenset({Kind.HEALTH}))
    await rig.journal.append([passed(0), health(), passed(1)])
    async with rig.running():
        assert rig.scripted.accepted == [health().record_id]
        assert rig.telemetry.settled == 3


async def test_a_failing_batch_is_tried_with_growing_pauses_up_to_a_minute() -> None:
    rig = Rig()
    rig.scripted.judge = lambda lane, ids: DOWN
    await rig.journal.append([passed(0)])
    async with rig.running():
        await rig.clock.advance(600.0)
        times = [trial.at for trial in rig.scripted.tries]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        for gap, longest in zip(gaps, [1, 2, 4, 8, 16, 32, 60, 60, 60], strict=False):
            assert 0.8 * longest <= gap <= longest
        assert rig.forwarder.health()[Lane.TELEMETRY].state == "retrying"
        assert rig.telemetry.settled == 0
        rig.scripted.judge = lambda lane, ids: None
        await rig.clock.advance(60.0)
        assert rig.scripted.accepted == ids(1)
        assert rig.forwarder.health()[Lane.TELEMETRY].state == "ok"


async def test_retry_after_is_obeyed() -> None:
    rig = Rig()
    rig.scripted.judge = lambda lane, ids: Retryable("it answered 503", 120.0)
    await rig.journal.append([passed(0)])
    async with rig.running():
        await rig.clock.advance(250.0)
        assert [trial.at for trial in rig.scripted.tries] == [0.0, 120.0, 240.0]


async def test_an_endpoint_at_fault_pauses_the_lane_with_a_probe_a_minute() -> None:
    rig = Rig()
    rig.scripted.judge = lambda lane, ids: EndpointFault("it answered 401")
    await rig.journal.append([passed(0)])
    async with rig.running():
        await rig.clock.advance(125.0)
        assert [trial.at for trial in rig.scripted.tries] == [0.0, 60.0, 120.0]
        assert rig.forwarder.health()[Lane.TELEMETRY].state == "paused"
        assert rig.conditions.active("opscenter")
        rig.scripted.judge = lambda lane, ids: None
        await rig.clock.advance(60.0)
        assert rig.scripted.accepted == ids(1)
        assert not rig.conditions.active("opscenter")


async def test_a_batch_too_large_is_halved_in_order() -> None:
    rig = Rig()
    rig.scripted.judge = lambda lane, ids: TooLarge("413") if len(ids) > 30 else None
    await rig.journal.append([passed(number) for number in range(100)])
    async with rig.running():
        assert rig.scripted.accepted == ids(100)
        assert await rig.telemetry.aside() == []


@pytest.mark.parametrize("error", [REFUSED, TooLarge("it answered 413")])
async def test_the_refused_record_alone_goes_to_quarantine(error: Permanent | TooLarge) -> None:
    rig = Rig()
    poison = passed(57).record_id
    rig.scripted.judge = lambda lane, ids: error if poison in ids else None
    await rig.journal.append([passed(number) for number in range(100)])
    async with rig.running():
        await rig.clock.advance()
        assert rig.scripted.accepted == [one for one in ids(100) if one != poison]
        (aside,) = await rig.telemetry.aside()
        assert aside.stored.record.record_id == poison
        assert (aside.reason, aside.retry_at) == (str(error), None)
        assert rig.telemetry.settled == 100
        assert len(rig.scripted.tries_of(poison)) <= 8


async def test_a_quarantined_record_that_a_person_releases_for_another_try_is_delivered() -> None:
    rig = Rig()
    rig.scripted.judge = lambda lane, ids: REFUSED
    await rig.journal.append([passed(0), passed(1)])
    async with rig.running():
        await rig.clock.advance(1.0)
        asides = await rig.telemetry.aside()
        assert len(asides) == 2
        await rig.clock.advance(600.0)
        assert len(rig.scripted.tries) == 3, "nobody asked for another try"
        rig.scripted.judge = lambda lane, ids: REFUSED if passed(1).record_id in ids else None
        stored = [aside.stored for aside in asides]
        await rig.telemetry.set_aside(stored, "tried again", rig.clock.now())
        await rig.clock.advance(6.0)
        assert rig.scripted.accepted == [passed(0).record_id]
        (aside,) = await rig.telemetry.aside()
        assert aside.stored.record.record_id == passed(1).record_id
        assert aside.retry_at is None


async def test_nothing_is_passed_over_while_the_quarantine_takes_nothing() -> None:
    rig = Rig()
    rig.scripted.judge = lambda lane, ids: REFUSED
    rig.telemetry.ill = True
    await rig.journal.append([passed(0)])
    async with rig.running():
        await rig.clock.advance(30.0)
        assert rig.telemetry.settled == 0
        rig.telemetry.ill = False
        await rig.clock.advance(1.0)
        assert rig.telemetry.settled == 1
        assert len(await rig.telemetry.aside()) == 1


async def test_a_restart_in_the_middle_sends_again_with_the_same_ids() -> None:
    rig = Rig(max_batch=10)
    accepted_until = passed(10).record_id
    rig.scripted.judge = lambda lane, ids: DOWN if accepted_until in ids else None
    await rig.journal.append([passed(number) for number in range(30)])
    async with rig.running():
        await rig.clock.advance(5.0)
        assert rig.scripted.accepted == ids(10)
    again = rig.after_crash()
    again.scripted.judge = lambda lane, ids: None
    async with again.running():
        await again.clock.advance()
        assert again.scripted.accepted == ids(30)[10:]
