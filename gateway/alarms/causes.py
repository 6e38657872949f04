"""What a record says about an alarm's condition: that it begins, or that it ended."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from gateway.alarms.rules import ENDED_BY, OF_FINDING, OF_GATEWAY, RAISED_BY, Rule
from gateway.model import Body, Event, Finding, GatewayCondition

GATEWAY_SITE = "gateway"
"""The site id of alarms about the gateway itself; their device id is what is wrong (a sink)."""


class Cause(Struct, frozen=True, kw_only=True):
    """A condition of a rule begins (`active`) or ends at a device."""

    rule: Rule
    device_id: str
    site_id: str
    active: bool
    at: datetime
    detail: str = ""


def cause_of(body: Body) -> Cause | None:
    """What `body` says; None where it concerns no alarm. An exercise pages nobody."""
    match body:
        case Event():
            rule = RAISED_BY.get(body.type)
            ends = ENDED_BY.get(body.type)
            if body.exercise or (rule is None and ends is None):
                return None
            return Cause(
                rule=rule or ends,  # type: ignore[arg-type] # one of them is there, see above
                device_id=body.device_id,
                site_id=body.site_id,
                active=rule is not None,
                at=body.received_at,
            )
        case Finding():
            return Cause(
                rule=OF_FINDING[body.cause],
                device_id=body.device_id,
                site_id=body.site_id,
                active=True,
                at=body.received_at,
                detail=f"{body.topic}: {body.detail}",
            )
        case GatewayCondition() if body.condition in OF_GATEWAY:
            return Cause(
                rule=OF_GATEWAY[body.condition],
                device_id=body.subject,
                site_id=GATEWAY_SITE,
                active=body.active,
                at=body.at,
                detail=body.detail,
            )
        case _:
            return None
