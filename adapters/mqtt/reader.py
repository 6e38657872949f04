"""Reads messages: from topic and bytes to observations, behind the fence.

The fence is the one place where every exception is caught. What a device sends reaches decoders
only in here, so no message can stop the flow, whatever is in it and however a decoder fails.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from adapters.mqtt.dialects.native import ROOT
from adapters.mqtt.dialects.said import Fault, Happened, Unreadable
from adapters.mqtt.frames import MAX_PAYLOAD
from adapters.mqtt.heard import Heard
from adapters.mqtt.message import Message
from adapters.mqtt.standing import Standing
from adapters.mqtt.subscriptions import Route, Subscriptions
from gateway.model import DeviceKind, Finding, FindingCause, Observation
from gateway.ports import Clock, Metrics

log = logging.getLogger(__name__)

EXCERPT = 512
"""Characters of a message, and of its topic, that a finding shows."""
DETAIL = 200
STRANGERS_LOGGED = 1_000
"""Unknown topics that are logged, once each; all are counted."""


class Reader:
    """Reads the messages of one session. `subscriptions` may be replaced at any time."""

    def __init__(
        self, subscriptions: Subscriptions, standing: Standing, clock: Clock, metrics: Metrics
    ) -> None:
        self.subscriptions = subscriptions
        self._standing = standing
        self._clock = clock
        self._metrics = metrics
        self._unread: set[str] = set()
        self._strangers: set[str] = set()
        self._strangers_pressed: set[str] = set()

    def read(self, message: Message, *, in_its_place: bool = False) -> list[Observation] | None:
        """What the message is to the gateway; nothing where it says nothing, cannot be read, or is
        of a device that nobody knows. None where it is another session's affair, unless it is to
        be read `in_its_place`. Never raises."""
        try:
            topic = message.topic.decode()
        except UnicodeDecodeError:
            self._stranger("unknown_topic", _excerpt(message.topic), message)
            return []
        match = self.subscriptions.match(topic)
        if match is None:
            native = topic.startswith(f"{ROOT}/")
            self._stranger("unknown_device" if native else "unknown_topic", topic, message)
            return []
        if match.elsewhere and not in_its_place:
            return None
        observations: list[Observation] = []
        for route in match.routes:
            try:
                observations += self._understand(route, topic, message)
            except Exception as error:  # noqa: BLE001 -- the decode fence
                observations += self._unreadable(route, topic, message, error)
        return observations

    def forget_strangers(self) -> None:
        """The inventory changed: who is unknown now is logged anew."""
        self._strangers.clear()
        self._strangers_pressed.clear()

    def _understand(self, route: Route, topic: str, message: Message) -> list[Observation]:
        if message.size > MAX_PAYLOAD:
            raise Unreadable(Fault.TOO_LARGE, f"{message.size} bytes")
        heard = Heard(message, self._clock.monotonic())
        observations: list[Observation] = []
        for said in route.dialect.decode(route.devices, topic, message.payload):
            if isinstance(said, Happened):
                observations += self._standing.happened(said, heard)
            else:
                observations += self._standing.read(said, heard)
        if self._unread:
            self._unread.difference_update(device.device_id for device in route.devices)
        return observations

    def _unreadable(
        self, route: Route, topic: str, message: Message, error: Exception
    ) -> Sequence[Finding]:
        """Counts, and logs once for each device until it is read again. What a panic device said
        may have been a press: it becomes a finding, which names the button. A topic that its
        dialect does not have is no place for presses, unless it speaks of one."""
        fault = error.fault if isinstance(error, Unreadable) else Fault.DECODER
        detail = error.detail if isinstance(error, Unreadable) else type(error).__name__
        elsewhere = fault is Fault.UNKNOWN_TOPIC
        self._metrics.error("mqtt" if elsewhere else "decode", fault)
        fresh = [one.device_id for one in route.devices if one.device_id not in self._unread]
        if fresh:
            self._unread.update(fresh)
            log.warning(
                "mqtt message unreadable device=%s topic=%s reason=%s: %s",
                ",".join(fresh[:3]),
                topic[:EXCERPT],
                fault,
                detail[:DETAIL],
                exc_info=error if fault is Fault.DECODER else None,
            )
        if elsewhere and not _speaks_of_a_press(message):
            return ()
        return [
            Finding(
                device_id=device.device_id,
                cause=FindingCause.UNREADABLE,
                received_at=message.received_at,
                topic=topic[:EXCERPT],
                excerpt=_excerpt(message.payload),
                detail=f"{fault}: {detail}"[:DETAIL],
                wire=Heard(message, 0.0).wire(),
            )
            for device in route.devices
            if device.kind is DeviceKind.PANIC_BUTTON
        ]

    def _stranger(self, reason: str, topic: str, message: Message) -> None:
        """Counts a message that nobody is known to have sent. A press among them is told apart:
        somewhere a button is mounted that no inventory has."""
        self._metrics.error("mqtt", reason)
        pressed = _speaks_of_a_press(message)
        logged = self._strangers_pressed if pressed else self._strangers
        if topic in logged or len(logged) == STRANGERS_LOGGED:
            return
        logged.add(topic)
        log.log(
            logging.WARNING if pressed else logging.INFO,
            "mqtt %s topic=%s: %s%s",
            "press of an unknown device" if pressed else "message nobody knows",
            _printable(topic[:EXCERPT]),
            reason,
            ", the last that is logged" if len(logged) == STRANGERS_LOGGED else "",
        )


def _speaks_of_a_press(message: Message) -> bool:
    return b'"panic.pressed"' in message.payload


def _excerpt(content: bytes) -> str:
    """The beginning of something unreadable, in characters that a log or a page may show."""
    return _printable(content[:EXCERPT].decode(errors="backslashreplace"))[:EXCERPT]


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
