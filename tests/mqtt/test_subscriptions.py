"""Which topics are subscribed to, and whose they are."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from adapters.mqtt.subscriptions import KNOWN_TOPICS, Match, Subscriptions, covers, valid
from tests.mqtt.neighbours import button, turnstile

LEVELS = st.lists(st.sampled_from(["a", "b", "+", ""]), min_size=1, max_size=4)
FILTERS = st.builds(
    lambda levels, end: "/".join([*levels, *(["#"] if end else [])]), LEVELS, st.booleans()
)
TOPICS = st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=5).map("/".join)


def test_panic_devices_have_a_filter_each() -> None:
    plan = Subscriptions([button(), button("button-2")], [], native_at_once=False)
    assert plan.filters() == (
        ("kuzet/school-1/button-1/#", "button-1"),
        ("kuzet/school-1/button-2/#", "button-2"),
    )


def test_all_other_native_devices_share_one() -> None:
    gates = [turnstile("gate-1"), turnstile("gate-2"), turnstile("gate-3", topic="old/gate/#")]
    plan = Subscriptions(gates, [button()], native_at_once=True)
    assert [topic for topic, _ in plan.filters()] == ["kuzet/+/+/+", "old/gate/#"]


def test_zigbee_devices_have_two() -> None:
    door = turnstile(dialect="zigbee2mqtt", topic="zigbee2mqtt/door")
    plan = Subscriptions([door], [], native_at_once=True)
    assert [topic for topic, _ in plan.filters()] == [
        "zigbee2mqtt/door",
        "zigbee2mqtt/door/availability",
    ]


def test_a_filter_that_another_covers_is_left_out() -> None:
    gates = [turnstile("gate-1"), turnstile("gate-2", topic="kuzet/school-9/gate-2/event")]
    plan = Subscriptions(gates, [], native_at_once=True)
    assert [topic for topic, _ in plan.filters()] == ["kuzet/+/+/+"]


def found(match: Match | None) -> tuple[list[str], bool]:
    assert match is not None
    return [one.device_id for route in match.routes for one in route.devices], match.elsewhere


def test_a_topic_finds_its_device() -> None:
    plan = Subscriptions(
        [turnstile("gate-1"), turnstile("gate-2")], [button()], native_at_once=True
    )
    for _ in range(2):  # the second answer is a remembered one
        assert found(plan.match("kuzet/school-1/gate-2/event")) == (["gate-2"], False)
        assert found(plan.match("kuzet/school-1/button-1/event")) == (["button-1"], True)
        assert plan.match("kuzet/school-1/gate-3/event") is None
        assert plan.match("kuzet/school-2/gate-2/event") is None, "the device is at another site"


def test_topics_of_strangers_are_not_remembered() -> None:
    plan = Subscriptions([turnstile("gate")], [], native_at_once=True)
    for number in range(100):
        plan.match(f"kuzet/school-1/{number}/event")
    assert len(plan._known) == 0
    for number in range(KNOWN_TOPICS + 10):
        plan.match(f"kuzet/school-1/gate/{number}")
    assert len(plan._known) <= KNOWN_TOPICS


@pytest.mark.parametrize("topic", ["a/#/b", "a/b+", "#a", ""])
def test_a_device_that_cannot_be_heard_is_named(
    topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        broken = turnstile("broken", dialect="zigbee2mqtt", topic=topic)
        plan = Subscriptions([broken, turnstile("gate", dialect="latin")], [], native_at_once=True)
    assert plan.filters() == ()
    assert "device=broken" in caplog.text
    assert "device=gate" in caplog.text


@given(wide=FILTERS, narrow=FILTERS, topic=TOPICS)
def test_a_covering_filter_matches_all_that_the_covered_one_does(
    wide: str, narrow: str, topic: str
) -> None:
    if covers(wide, narrow) and topic_matches_sub(narrow, topic):
        assert topic_matches_sub(wide, topic)


@given(wide=FILTERS, topic=TOPICS)
def test_a_topic_is_covered_exactly_when_it_matches(wide: str, topic: str) -> None:
    assert covers(wide, topic) == topic_matches_sub(wide, topic)


@given(FILTERS)
def test_filters_as_the_standard_has_them_are_valid(topic_filter: str) -> None:
    assert valid(topic_filter) == bool(topic_filter)
