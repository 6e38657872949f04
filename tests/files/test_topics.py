from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from gateway.files.topics import TopicClaims, topic_filter


@pytest.mark.parametrize("topic", ["a", "/", "a//b", "+", "#", "+/+/#", "$SYS/x", "школа/№ 1"])
def test_valid_filters_are_taken(topic: str) -> None:
    assert topic_filter(topic) == topic


@pytest.mark.parametrize(
    "topic",
    [
        "#/a",
        "a/#/b",
        "a#",
        "a/b#",
        "a+",
        "+a/b",
        "a/+b/c",
        "$share/group/a",
        "/" * 200,
        "a" * 65_536,
    ],
)
def test_invalid_filters_are_refused(topic: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        topic_filter(topic)


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/c", False),
        ("a/b", "a", False),
        ("a/+", "a/b", True),
        ("a/+", "+/b", True),
        ("a/+", "b/+", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/#", "b", False),
        ("a/+/c", "a/b/#", True),
        ("a/+/c/d", "a/b/c", False),
        ("#", "a/b", True),
        ("#", "$SYS/b", False),
        ("+/b", "$SYS/b", False),
        ("$SYS/+", "$SYS/b", True),
        ("a/#", "a/$b", True),
        ("a/+", "a/$b", True),
        ("+", "", True),
    ],
)
def test_overlapping_filters_are_found(one: str, other: str, overlap: bool) -> None:
    for first, second in ((one, other), (other, one)):
        claims = TopicClaims[str]()
        assert claims.claim(first, "first") is None
        assert claims.claim(second, "second") == ("first" if overlap else None)


LEVELS = st.lists(st.sampled_from(["a", "b", "+", "$a"]), min_size=1, max_size=3)
FILTERS = st.builds(
    lambda levels, rest: "/".join(levels + rest), LEVELS, st.sampled_from([[], ["#"]])
)
TOPICS = [
    "/".join(levels)
    for count in (1, 2, 3, 4)
    for levels in itertools.product(("a", "b", "$a", "c"), repeat=count)
]


@given(st.lists(FILTERS, min_size=2, max_size=4))
def test_filters_overlap_if_and_only_if_some_topic_matches_both(filters: list[str]) -> None:
    """An independent matcher (paho's) on every topic of up to four levels says the same."""
    *earlier, last = filters
    claims = TopicClaims[str]()
    for topic in earlier:
        claims.claim(topic, topic)
    overlap = any(
        topic_matches_sub(last, topic) and any(topic_matches_sub(one, topic) for one in earlier)
        for topic in TOPICS
    )
    assert (claims.claim(last, last) is not None) == overlap
