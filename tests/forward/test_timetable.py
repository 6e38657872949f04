"""Which undelivered record may go next."""

from __future__ import annotations

from gateway.forward.timetable import Item, Timetable


def waiting(
    table: Timetable, sequence: int, key: str, *, due: float = 0.0, panic: bool = False
) -> Item:
    item = Item(sequence, key, panic=panic)
    table.add(item)
    table.wait(item, due)
    return item


def test_panic_goes_before_what_was_due_earlier() -> None:
    table = Timetable()
    waiting(table, 1, "tamper", due=1.0)
    panic = waiting(table, 2, "panic", due=5.0, panic=True)
    assert table.take(5.0) is panic


def test_nothing_goes_before_its_time() -> None:
    table = Timetable()
    item = waiting(table, 1, "a", due=2.0)
    assert table.take(1.9) is None
    assert table.next_due() == 2.0
    assert table.take(2.0) is item


def test_an_item_under_way_is_not_taken_twice() -> None:
    table = Timetable()
    waiting(table, 1, "a")
    assert table.take(0.0) is not None
    assert table.take(0.0) is None
    assert table.next_due() is None


def test_within_an_alarm_the_earlier_goes_first_and_the_later_waits_for_it() -> None:
    table = Timetable()
    first = waiting(table, 1, "a", due=10.0)
    second = waiting(table, 2, "a", due=0.0)
    other = waiting(table, 3, "b", due=0.0)
    assert table.take(9.0) is other
    assert table.take(9.0) is None
    assert table.take(10.0) is first
    assert table.take(10.0) is None
    table.done(first)
    assert table.take(10.0) is second


def test_an_earlier_record_that_comes_late_holds_back_the_later_one() -> None:
    table = Timetable()
    later = waiting(table, 7, "a")
    earlier = waiting(table, 3, "a")
    assert table.take(0.0) is earlier
    assert table.take(0.0) is None
    table.done(earlier)
    assert table.take(0.0) is later


def test_done_is_harmless_twice_and_wait_after_done_does_nothing() -> None:
    table = Timetable()
    item = waiting(table, 1, "a")
    table.done(item)
    table.done(item)
    table.wait(item, 0.0)
    assert len(table) == 0
    assert table.take(100.0) is None


def test_hurry_makes_everything_due_but_the_refused() -> None:
    table = Timetable()
    failed = waiting(table, 1, "a", due=15.0)
    refused = Item(2, "b", panic=False)
    table.add(refused)
    table.wait(refused, 60.0, refused=True)
    table.hurry(1.0)
    assert table.take(1.0) is failed
    assert table.take(59.0) is None
    assert table.take(60.0) is refused


def test_poison_holds_back_nothing_and_goes_by_itself() -> None:
    table = Timetable()
    poison = waiting(table, 1, "a", due=60.0)
    behind = waiting(table, 2, "a")
    last = waiting(table, 3, "a")
    assert table.take(0.0) is None
    table.poison(poison)
    assert table.take(0.0) is behind
    assert table.take(0.0) is None, "those behind still wait for one another"
    assert table.take(60.0) is poison
    table.done(poison)
    table.done(behind)
    assert table.take(60.0) is last


def test_counts_the_refused() -> None:
    table = Timetable()
    item = Item(1, "a", panic=False)
    table.add(item)
    table.wait(item, 60.0, refused=True)
    assert table.refused == 1
    table.take(60.0)
    table.wait(item, 75.0)
    assert table.refused == 0
    table.wait(item, 120.0, refused=True)
    table.done(item)
    assert table.refused == 0


def test_resume_brings_back_what_a_former_life_left_under_way() -> None:
    table = Timetable()
    item = waiting(table, 1, "a")
    table.take(0.0)
    table.resume(3.0)
    assert table.take(3.0) is item
