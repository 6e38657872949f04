"""Which topics a session subscribes to, and whose message a topic is."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from msgspec import Struct
from paho.mqtt.matcher import MQTTMatcher

from adapters.mqtt.dialects import DIALECTS
from adapters.mqtt.dialects.native import NATIVE, ROOT
from adapters.mqtt.dialects.said import Dialect
from gateway.model import Device

log = logging.getLogger(__name__)

NATIVE_FILTER = f"{ROOT}/+/+/+"
"""All native devices at once: also those that are sent but not in the inventory get noticed."""
KNOWN_TOPICS = 50_000
"""Topics whose devices are remembered: a few for each device of a region."""
LONGEST_FILTER = 65_535
"""Bytes (MQTT 5.0, 1.5.4)."""


class Route(Struct, frozen=True):
    """The devices that a topic belongs to, and how its payload is read."""

    dialect: Dialect
    devices: tuple[Device, ...]


class Match(Struct, frozen=True):
    """Whose a topic is. `elsewhere`: that of devices which another session is for."""

    routes: tuple[Route, ...]
    elsewhere: bool


class Subscriptions:
    """One session's filters, and the way from a topic to devices."""

    def __init__(
        self, own: Iterable[Device], elsewhere: Iterable[Device], *, native_at_once: bool
    ) -> None:
        """`own` devices are this session's. Messages of those `elsewhere` are another session's:
        they arrive here too where filters overlap. `native_at_once`: whether to subscribe to native
        devices by one filter for all, not by one for each."""
        self._own: _Topics[Device] = _Topics()
        self._elsewhere: _Topics[Device] = _Topics()
        self._known: dict[str, Match] = {}
        filters: dict[str, str] = {}
        for device in own:
            heard_on = _insert(self._own, device)
            if not heard_on:
                log.error(
                    "mqtt device=%s cannot be heard: dialect=%r topic=%r",
                    device.device_id,
                    device.dialect,
                    device.topic,
                )
            for topic in heard_on:
                shared = native_at_once and not device.topic and _dialect(device) is NATIVE
                filters[NATIVE_FILTER if shared else topic] = device.device_id
        for device in elsewhere:
            _insert(self._elsewhere, device)
        self._filters = tuple(_without_covered(filters))

    def filters(self) -> Sequence[tuple[str, str]]:
        """The filters to subscribe to, each with (one of) the devices that it is for. None covers
        another one: brokers would send such messages twice."""
        return self._filters

    def match(self, topic: str) -> Match | None:
        """Whose the topic is; None where nobody knows it."""
        known = self._known.get(topic)
        if known is not None:
            return known
        routes = _routes(self._own.match(topic))
        elsewhere = not routes
        if elsewhere:
            routes = _routes(self._elsewhere.match(topic))
        if not routes:
            return None
        if len(self._known) >= KNOWN_TOPICS:
            self._known.clear()
        match = self._known[topic] = Match(routes, elsewhere)
        return match


def _routes(devices: Iterable[Device]) -> tuple[Route, ...]:
    by_dialect: dict[int, list[Device]] = {}
    for device in devices:
        by_dialect.setdefault(id(_dialect(device)), []).append(device)
    return tuple(Route(DIALECTS[some[0].dialect], tuple(some)) for some in by_dialect.values())


def covers(wide: str, narrow: str) -> bool:
    """Whether every topic that matches `narrow` matches `wide` (MQTT 5.0, 4.7.1)."""
    wide_levels, narrow_levels = wide.split("/"), narrow.split("/")
    for position, level in enumerate(wide_levels):
        if level == "#":
            return True
        if position == len(narrow_levels):
            return False
        theirs = narrow_levels[position]
        if theirs == "#" or level not in ("+", theirs):
            return False
    return len(wide_levels) == len(narrow_levels)


def valid(topic_filter: str) -> bool:
    """Whether a broker may accept the filter (MQTT 5.0, 4.7)."""
    levels = topic_filter.split("/")
    return (
        0 < len(topic_filter.encode()) <= LONGEST_FILTER
        and "\0" not in topic_filter
        and all(level in ("+", "#") or not set(level) & {"+", "#"} for level in levels)
        and "#" not in levels[:-1]
    )


def _dialect(device: Device) -> Dialect | None:
    return DIALECTS.get(device.dialect)


def _insert(topics: _Topics[Device], device: Device) -> Sequence[str]:
    """Makes the device known by its filters; returns them, none where one of them is invalid."""
    dialect = _dialect(device)
    filters = () if dialect is None else dialect.filters(device)
    if not all(map(valid, filters)):
        return ()
    for topic_filter in filters:
        topics.add(topic_filter, device)
    return filters


def _without_covered(filters: dict[str, str]) -> Iterator[tuple[str, str]]:
    wild: _Topics[str] = _Topics()
    for topic_filter in filters:
        if "+" in topic_filter or "#" in topic_filter:
            wild.add(topic_filter, topic_filter)
    for topic_filter, device_id in filters.items():
        # A filter read as a topic finds all that cover it, and a few more.
        candidates = wild.match(topic_filter)
        if not any(one != topic_filter and covers(one, topic_filter) for one in candidates):
            yield topic_filter, device_id


_T = TypeVar("_T")


class _Topics(Generic[_T]):
    """Values by topic filter, found by topic."""

    def __init__(self) -> None:
        self._matcher = MQTTMatcher()  # type: ignore[no-untyped-call]

    def add(self, topic_filter: str, value: _T) -> None:
        try:
            self._matcher[topic_filter].append(value)
        except KeyError:
            self._matcher[topic_filter] = [value]

    def match(self, topic: str) -> Iterator[_T]:
        """Each value once."""
        found: dict[int, _T] = {}
        for values in self._matcher.iter_match(topic):  # type: ignore[no-untyped-call]
            found.update((id(value), value) for value in values)
        return iter(found.values())
