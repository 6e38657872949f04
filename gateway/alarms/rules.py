"""Which events become alarms: one row for each, nothing hidden in code.

An event that has no row here is an event and no alarm (ISA-18.2: an alarm needs a response).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct

from gateway.model import Audience, Condition, EventType, FindingCause, Severity


class Ending(Enum):
    """What ends an alarm of a rule."""

    LATCHED = "latched"
    """Only an operator's clear, with a comment: panic."""
    RETURNS = "returns"
    """The condition's own end, as the device reports it."""
    MOMENTARY = "momentary"
    """There is no end to wait for: the acknowledgement closes it."""


class Rule(Struct, frozen=True, kw_only=True):
    """How a condition is raised. `shelvable` is false where silence could cost a life."""

    condition: Condition
    severity: Severity
    ending: Ending
    audience: Audience = Audience.OPERATOR
    shelvable: bool = True


PANIC = Rule(
    condition=Condition.PANIC,
    severity=Severity.CRITICAL,
    ending=Ending.LATCHED,
    shelvable=False,
)
TAMPER = Rule(condition=Condition.TAMPER, severity=Severity.HIGH, ending=Ending.RETURNS)
ACCESS_FORCED = Rule(
    condition=Condition.ACCESS_FORCED, severity=Severity.HIGH, ending=Ending.MOMENTARY
)
DOOR_FORCED = Rule(condition=Condition.DOOR_FORCED, severity=Severity.HIGH, ending=Ending.RETURNS)

RAISED_BY: Mapping[EventType, Rule] = {
    EventType.PANIC_PRESSED: PANIC,
    EventType.TAMPER_OPENED: TAMPER,
    EventType.ACCESS_FORCED: ACCESS_FORCED,
    EventType.DOOR_FORCED: DOOR_FORCED,
}

ENDED_BY: Mapping[EventType, Rule] = {
    EventType.TAMPER_CLOSED: TAMPER,
    EventType.DOOR_CLOSED: DOOR_FORCED,
}

OF_FINDING: Mapping[FindingCause, Rule] = {
    FindingCause.UNREADABLE: Rule(
        condition=Condition.UNREADABLE_MESSAGE,
        severity=Severity.HIGH,
        ending=Ending.MOMENTARY,
        audience=Audience.TECHNICIAN,
    ),
    FindingCause.RETAINED: Rule(
        condition=Condition.RETAINED_PRESS,
        severity=Severity.MEDIUM,
        ending=Ending.MOMENTARY,
        audience=Audience.TECHNICIAN,
    ),
}

OF_GATEWAY: Mapping[Condition, Rule] = {
    condition: Rule(condition=condition, severity=Severity.HIGH, ending=Ending.RETURNS)
    for condition in (Condition.DELIVERY_FAILED, Condition.DISK_LOW, Condition.RECORD_CORRUPT)
}

OF_CONDITION: Mapping[Condition, Rule] = {
    rule.condition: rule
    for rule in (
        *RAISED_BY.values(),
        *OF_FINDING.values(),
        *OF_GATEWAY.values(),
        Rule(condition=Condition.SITE_DARK, severity=Severity.HIGH, ending=Ending.RETURNS),
    )
}
"""The rule of every condition, for commands on alarms that are already there."""
