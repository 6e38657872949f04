"""What becomes of a press: each sentence of the contract is a test here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.intake.presses import (
    IDS_PER_DEVICE,
    NewPress,
    OldNews,
    PressLedger,
    Repeat,
    Unclear,
    Verdict,
    WireLedger,
)
from gateway.model import Event, EventType, FindingCause, Wire

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def ledger() -> PressLedger:
    return PressLedger(WireLedger())


def wire(packet_id: int = 1, **more: Any) -> Wire:
    facts = {"session": "s1", "dup": False, "retained": False, "digest": "same bytes", **more}
    return Wire(packet_id=packet_id, **facts)


def pressed(
    native_id: str | None = "p1",
    at: datetime | None = NOW,
    received: datetime = NOW,
    device_id: str = "button-1",
    **more: Any,
) -> Event:
    return Event(
        device_id=device_id,
        type=EventType.PANIC_PRESSED,
        received_at=received,
        occurred_at=at,
        native_id=native_id,
        **more,
    )


def new(verdict: Verdict) -> Event:
    assert isinstance(verdict, NewPress), verdict
    return verdict.event


def marks(event: Event) -> set[str]:
    return {key for key in ("late", "clock_suspect", "id_reused") if event.attributes.get(key)}


def test_a_press_is_a_press() -> None:
    event = new(ledger().judge(pressed()))
    assert event.type is EventType.PANIC_PRESSED
    assert len(event.record_id) == 32
    assert not marks(event)


def test_the_same_id_and_time_within_a_day_is_a_repeat() -> None:
    presses = ledger()
    first = new(presses.judge(pressed()))
    again = presses.judge(pressed(received=NOW + timedelta(hours=23, minutes=59)))
    assert again == Repeat(record_id=first.record_id)


def test_the_same_id_and_time_after_a_day_is_a_press() -> None:
    presses = ledger()
    first = new(presses.judge(pressed()))
    again = new(presses.judge(pressed(received=NOW + timedelta(hours=24))))
    assert again.record_id != first.record_id


def test_a_redelivery_is_a_repeat() -> None:
    presses = ledger()
    first = new(presses.judge(pressed(None, None, wire=wire())))
    again = presses.judge(
        pressed(None, None, received=NOW + timedelta(minutes=9), wire=wire(dup=True))
    )
    assert again == Repeat(record_id=first.record_id)


def test_dup_alone_proves_nothing() -> None:
    presses = ledger()
    presses.judge(pressed(None, None, wire=wire()))
    later = NOW + timedelta(seconds=5)
    for other in (
        wire(dup=True, packet_id=2),
        wire(dup=True, session="s2"),
        wire(dup=True, digest="other bytes"),
    ):
        new(presses.judge(pressed(None, None, received=later, wire=other)))


def test_identical_bytes_are_no_repeat() -> None:
    presses = ledger()
    first = new(presses.judge(pressed(None, None, wire=wire(1))))
    second = new(
        presses.judge(pressed(None, None, received=NOW + timedelta(seconds=1), wire=wire(2)))
    )
    assert first.record_id != second.record_id


def test_a_packet_id_used_again_without_dup_is_a_new_press() -> None:
    presses = ledger()
    first = new(presses.judge(pressed(None, None, wire=wire())))
    later = NOW + timedelta(minutes=1)
    second = new(presses.judge(pressed(None, None, received=later, wire=wire())))
    assert second.record_id != first.record_id
    redelivered = presses.judge(pressed(None, None, received=later, wire=wire(dup=True)))
    assert redelivered == Repeat(record_id=second.record_id)


def test_a_reused_id_with_another_time_is_a_marked_press() -> None:
    presses = ledger()
    presses.judge(pressed())
    event = new(presses.judge(pressed(at=NOW + timedelta(seconds=3), received=NOW)))
    assert marks(event) == {"id_reused"}


def test_an_id_without_time_proves_no_repeat() -> None:
    presses = ledger()
    first = new(presses.judge(pressed(at=None)))
    second = new(presses.judge(pressed(at=None, received=NOW + timedelta(seconds=1))))
    assert first.record_id != second.record_id
    assert marks(second) == {"id_reused"}


def test_an_old_press_is_told_as_late() -> None:
    event = new(ledger().judge(pressed(at=NOW - timedelta(hours=3))))
    assert marks(event) == {"late"}


def test_an_absurd_time_is_told_as_suspect() -> None:
    for at in (LONG_AGO, NOW + timedelta(days=1)):
        assert marks(new(ledger().judge(pressed(at=at)))) == {"clock_suspect"}
    unreadable = pressed(at=None, attributes={"device_time": "yesterday"})
    assert marks(new(ledger().judge(unreadable))) == {"clock_suspect"}


def test_a_retained_press_with_a_known_id_is_old_news() -> None:
    presses = ledger()
    presses.judge(pressed(at=LONG_AGO))
    retained = pressed(at=LONG_AGO, received=NOW + timedelta(minutes=1), wire=wire(retained=True))
    # The same id and time are proof already; another time is not, but the id is known.
    assert isinstance(presses.judge(retained), Repeat)
    other = pressed(at=None, received=NOW + timedelta(minutes=1), wire=wire(retained=True))
    assert isinstance(presses.judge(other), OldNews)


def test_a_retained_press_is_old_news_after_five_minutes() -> None:
    old = pressed(at=NOW - timedelta(minutes=6), wire=wire(retained=True))
    assert isinstance(ledger().judge(old), OldNews)
    fresh = pressed(at=NOW - timedelta(minutes=4), wire=wire(retained=True))
    assert not marks(new(ledger().judge(fresh)))


def test_a_retained_press_with_a_new_id_and_an_implausible_time_alarms() -> None:
    for at in (LONG_AGO, NOW + timedelta(days=2), None):
        event = new(ledger().judge(pressed(at=at, wire=wire(retained=True))))
        assert marks(event) == {"late", "clock_suspect"}


def test_a_retained_press_without_id_and_time_is_a_technicians_item() -> None:
    verdict = ledger().judge(pressed(None, None, wire=wire(retained=True)))
    assert isinstance(verdict, Unclear)
    assert verdict.finding.cause is FindingCause.RETAINED
    assert verdict.finding.device_id == "button-1"


def test_it_is_an_alarm_too_if_the_session_had_been_lost() -> None:
    lost = pressed(None, None, wire=wire(retained=True, session_lost=True))
    verdict = ledger().judge(lost)
    assert isinstance(verdict, NewPress)
    assert verdict.finding is not None
    assert marks(verdict.event) == {"late", "clock_suspect"}


def in_test(minutes: float = 30) -> PressLedger:
    presses = ledger()
    presses.start_test("button-1", start=NOW, end=NOW + timedelta(minutes=minutes))
    return presses


def test_the_first_press_in_test_mode_is_the_test_and_the_second_is_real() -> None:
    presses = in_test()
    assert presses.in_test(NOW) == {"button-1": NOW + timedelta(minutes=30)}
    test = new(presses.judge(pressed("t1")))
    assert (test.type, test.exercise) == (EventType.PANIC_TEST, True)
    assert presses.in_test(NOW) == {}
    real = new(presses.judge(pressed("t2")))
    assert (real.type, real.exercise) == (EventType.PANIC_PRESSED, False)


def test_a_repeat_of_the_test_press_is_a_repeat() -> None:
    presses = in_test()
    test = new(presses.judge(pressed("t1")))
    assert presses.judge(pressed("t1")) == Repeat(record_id=test.record_id)


def test_a_press_after_the_test_is_over_is_real() -> None:
    late = NOW + timedelta(minutes=31)
    assert new(in_test().judge(pressed(at=late, received=late))).exercise is False


def test_test_mode_lasts_an_hour_at_most() -> None:
    late = NOW + timedelta(minutes=61)
    assert new(in_test(600).judge(pressed(at=late, received=late))).exercise is False


def test_test_mode_is_of_one_button() -> None:
    assert new(in_test().judge(pressed(device_id="button-2"))).exercise is False


def test_a_press_made_before_the_test_began_is_real() -> None:
    before = pressed(at=NOW - timedelta(minutes=4), received=NOW + timedelta(seconds=1))
    assert new(in_test().judge(before)).exercise is False


def test_the_ledger_is_bounded_and_counts_in_doubt() -> None:
    presses = ledger()
    for number in range(IDS_PER_DEVICE + 1):
        presses.judge(pressed(f"n{number}"))
    assert isinstance(presses.judge(pressed("n1")), Repeat)
    new(presses.judge(pressed("n0")))  # forgotten: it counts


PRESSES = st.builds(
    pressed,
    native_id=st.sampled_from([None, "a", "b"]),
    at=st.sampled_from([None, LONG_AGO, NOW, NOW - timedelta(hours=1)]),
    received=st.integers(0, 90_000).map(lambda s: NOW + timedelta(seconds=s)),
    wire=st.builds(
        wire,
        packet_id=st.integers(1, 3),
        dup=st.booleans(),
        digest=st.sampled_from(["x", "y"]),
        session=st.sampled_from(["s1", "s2"]),
    ),
)


@given(st.lists(PRESSES, max_size=40))
def test_only_proof_silences_a_press(events: list[Event]) -> None:
    presses = ledger()
    committed: list[Event] = []
    for event in sorted(events, key=lambda event: event.received_at):
        verdict = presses.judge(event)
        if isinstance(verdict, Repeat):
            [known] = [old for old in committed if old.record_id == verdict.record_id]
            assert known.wire is not None
            assert event.wire is not None
            by_id = (
                event.native_id is not None
                and event.occurred_at is not None
                and (event.native_id, event.occurred_at) == (known.native_id, known.occurred_at)
                and event.received_at - known.received_at < timedelta(hours=24)
            )
            by_wire = event.wire.dup and (
                (event.wire.session, event.wire.packet_id, event.wire.digest)
                == (known.wire.session, known.wire.packet_id, known.wire.digest)
            )
            assert by_id or by_wire
        else:
            committed.append(new(verdict))
    assert len({event.record_id for event in committed}) == len(committed)


@given(st.lists(PRESSES, min_size=1, max_size=30))
def test_a_restart_changes_no_judgement(events: list[Event]) -> None:
    presses = ledger()
    ordered = sorted(events, key=lambda event: event.received_at)
    committed = [
        verdict.event
        for verdict in map(presses.judge, ordered[:-1])
        if isinstance(verdict, NewPress)
    ]
    restarted = ledger()
    for event in committed:
        restarted.learn(event)
    last = presses.judge(ordered[-1])
    assert type(restarted.judge(ordered[-1])) is type(last)
