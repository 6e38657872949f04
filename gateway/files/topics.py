"""MQTT topic filters: whether one is valid, and whether two could match the same message.

MQTT 3.1.1 and 5.0, section 4.7.
"""

from __future__ import annotations

from typing import Generic, TypeVar

MAX_TOPIC_BYTES = 65_535
"""A string on the wire has a length of two bytes (MQTT 1.5.3)."""

MAX_TOPIC_LEVELS = 200
"""mosquitto refuses a filter with more than 200 slashes."""

Owner = TypeVar("Owner")


def topic_filter(text: str) -> str:
    """A valid topic filter. Raises ValueError."""
    if len(text.encode()) > MAX_TOPIC_BYTES:
        raise ValueError(f"is longer than {MAX_TOPIC_BYTES} bytes")
    levels = text.split("/")
    if len(levels) > MAX_TOPIC_LEVELS:
        raise ValueError(f"has more than {MAX_TOPIC_LEVELS} levels")
    if levels[0] == "$share":
        raise ValueError("a shared subscription may give a press to another gateway")
    if any("#" in level for level in levels[:-1]) or ("#" in levels[-1] and levels[-1] != "#"):
        raise ValueError("'#' stands for all levels that are left: only alone, at the end")
    if any("+" in level and level != "+" for level in levels):
        raise ValueError("'+' stands for one whole level: only alone between two '/'")
    return text


class TopicClaims(Generic[Owner]):
    """Whose topic is whose: finds a claim that could match a message of another one."""

    def __init__(self) -> None:
        self._root: _Level[Owner] = _Level()

    def claim(self, topic: str, owner: Owner) -> Owner | None:
        """Claims a valid topic filter; returns the owner of an earlier claim that overlaps."""
        levels = topic.split("/")
        rival = _overlapping(self._root, levels, 0)
        level = self._root
        for name in levels:
            level = level.below.setdefault(name, _Level())
        if level.owner is None:
            level.owner = owner
        return rival


class _Level(Generic[Owner]):
    """One level of all claimed filters; `owner` has a filter that ends here."""

    __slots__ = ("below", "owner")

    def __init__(self) -> None:
        self.below: dict[str, _Level[Owner]] = {}
        self.owner: Owner | None = None


def _overlapping(level: _Level[Owner], names: list[str], depth: int) -> Owner | None:
    rest = level.below.get("#")
    if rest is not None and not (depth == 0 and names[0].startswith("$")):
        return rest.owner  # `a/#` matches `a` too (4.7.1.2)
    if depth == len(names):
        return level.owner
    name = names[depth]
    for other, below in _candidates(level, name):
        # A leading wildcard matches no topic that begins with `$` (4.7.2).
        if depth == 0 and name != other and "$" in (name[:1], other[:1]):
            continue
        rival = _first_owner(below) if name == "#" else _overlapping(below, names, depth + 1)
        if rival is not None:
            return rival
    return level.owner if name == "#" else None


def _candidates(level: _Level[Owner], name: str) -> list[tuple[str, _Level[Owner]]]:
    if name in ("+", "#"):
        return list(level.below.items())
    return [(other, level.below[other]) for other in (name, "+") if other in level.below]


def _first_owner(level: _Level[Owner]) -> Owner | None:
    if level.owner is not None:
        return level.owner
    found = (_first_owner(below) for below in level.below.values())
    return next((owner for owner in found if owner is not None), None)
