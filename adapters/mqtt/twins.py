"""Copies of panic devices' messages.

The telemetry session's one filter for all native devices catches those of panic devices too, which
have a session of their own. A copy is acknowledged once the message itself is: no press is
acknowledged anywhere before it is committed. And a copy is a second chance: where that session does
not hear the device, the copy is taken in its place.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable

from adapters.mqtt.message import Message, acknowledge
from gateway.ports import Clock

TWIN_WAIT_S = 5.0
"""How long a copy waits for its message: a press has 10 s to be told (EN 50131)."""
MOST_COPIES = 10_000
"""Copies that wait, and messages whose copies have not come yet."""


class Twins:
    """Matches messages and their copies by topic and bytes, in whichever order they come."""

    def __init__(self, heard_by_its_own: Callable[[str], bool], clock: Clock) -> None:
        """`heard_by_its_own`: whether the panic devices' session gets messages of a topic now."""
        self._heard_by_its_own = heard_by_its_own
        self._clock = clock
        self._done: OrderedDict[int, int] = OrderedDict()
        self._copies: dict[int, deque[Message]] = {}
        self._order: deque[tuple[float, int, Message]] = deque()

    def done(self, messages: Iterable[Message]) -> None:
        """Acknowledges messages of the panic devices' session, and their copies."""
        for message in messages:
            acknowledge((message,))
            key = _key(message)
            copies = self._copies.get(key)
            if copies:
                acknowledge((self._pop(key, copies),))
            else:
                self._done[key] = self._done.pop(key, 0) + 1
                if len(self._done) > MOST_COPIES:
                    self._done.popitem(last=False)

    def wait(self, copy: Message) -> None:
        """Takes a copy; acknowledges it when its message is done, or has been."""
        key = _key(copy)
        done = self._done.pop(key, 0)
        if done > 1:
            self._done[key] = done - 1
        if done:
            acknowledge((copy,))
            return
        self._copies.setdefault(key, deque()).append(copy)
        self._order.append((self._clock.monotonic(), key, copy))

    def orphans(self) -> list[Message]:
        """Copies whose message did not come in time and will not: to be taken in its place. Those
        whose message will come, or did before a restart, are acknowledged. To be called about every
        second."""
        found: list[Message] = []
        oldest = self._clock.monotonic() - TWIN_WAIT_S
        while self._order and (self._order[0][0] <= oldest or len(self._order) > MOST_COPIES):
            _, key, copy = self._order.popleft()
            copies = self._copies.get(key)
            if not copies or copies[0] is not copy:
                continue  # matched meanwhile
            self._pop(key, copies)
            if self._heard_by_its_own(copy.topic.decode()):
                acknowledge((copy,))
            else:
                found.append(copy)
        return found

    def _pop(self, key: int, copies: deque[Message]) -> Message:
        copy = copies.popleft()
        if not copies:
            del self._copies[key]
        return copy


def _key(message: Message) -> int:
    return hash((message.topic, message.payload))
