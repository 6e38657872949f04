"""What the console page shows, in the order in which people need it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct

from gateway.console.board import FleetPicture
from gateway.console.bodies import PageQuery
from gateway.console.context import Context
from gateway.errors import NotFound
from gateway.model import Alarm, AlarmState, Audience, Condition, Severity, Site, State
from gateway.ports import DeviceHealth

ALARMS_SHOWN = 100
"""More than a person can take in; the API has all."""
DEVICES_SHOWN = 50

URGENCY: Mapping[Severity, int] = {severity: rank for rank, severity in enumerate(Severity)}
OF_THE_GATEWAY = frozenset(
    (Condition.DELIVERY_FAILED, Condition.DISK_LOW, Condition.RECORD_CORRUPT)
)
"""Conditions of the gateway itself: their alarms have no site."""


NOT_SEEN = frozenset(("reasons", "own_reason", "own_state"))
"""Details that are told in words of their own."""


class AlarmCard(Struct, frozen=True, kw_only=True):
    """An alarm with what an operator needs beside it."""

    alarm: Alarm
    site: Site | None
    device: str
    of_gateway: bool


class AlarmsView(Struct, frozen=True, kw_only=True):
    """The alarms that ask for something: `operators` to be answered, `technicians`' work items."""

    operators: Sequence[AlarmCard]
    technicians: Sequence[AlarmCard]
    unacknowledged: int
    panics: int
    """Panic alarms that nobody has acknowledged."""
    more: int
    """How many are not shown for want of room."""


class DeviceRow(Struct, frozen=True, kw_only=True):
    """A device with its site."""

    health: DeviceHealth
    site: Site | None
    in_test: bool
    other_reasons: Sequence[str]
    seen: Mapping[str, Any]
    """What the last check saw, without what is shown elsewhere."""


class DevicesView(Struct, frozen=True, kw_only=True):
    """One page of the devices asked for, and the counts of all."""

    rows: Sequence[DeviceRow]
    total: int
    first: int
    before: str | None
    """The address of the page before; None on the first one. `after` likewise."""
    after: str | None
    asked: PageQuery
    site: Site | None
    picture: FleetPicture
    sites: int
    failing_sites: int
    """Those with a device offline."""


def alarms_view(context: Context) -> AlarmsView:
    standing = [alarm for alarm in context.alarms.alarms() if alarm.state is not AlarmState.CLOSED]
    sites = context.sites()
    operators = sorted(
        (alarm for alarm in standing if alarm.audience is Audience.OPERATOR), key=_urgency
    )
    technicians = sorted(
        (alarm for alarm in standing if alarm.audience is Audience.TECHNICIAN), key=_urgency
    )
    waiting = [alarm for alarm in operators if not alarm.acknowledged]
    return AlarmsView(
        operators=[_card(context, sites, alarm) for alarm in operators[:ALARMS_SHOWN]],
        technicians=[_card(context, sites, alarm) for alarm in technicians[:ALARMS_SHOWN]],
        unacknowledged=len(waiting),
        panics=sum(1 for alarm in waiting if alarm.condition is Condition.PANIC),
        more=max(0, len(operators) - ALARMS_SHOWN) + max(0, len(technicians) - ALARMS_SHOWN),
    )


def _urgency(alarm: Alarm) -> tuple[bool, bool, bool, bool, int, float]:
    """Real before exercises, panic before all, what nobody has taken before the rest."""
    return (
        alarm.exercise,
        alarm.condition is not Condition.PANIC,
        alarm.state is AlarmState.SHELVED,
        alarm.acknowledged,
        URGENCY[alarm.severity],
        -alarm.raised_at.timestamp(),
    )


def _card(context: Context, sites: Mapping[str, Site], alarm: Alarm) -> AlarmCard:
    try:
        name = context.fleet.device(alarm.device_id).name
    except NotFound:
        # Taken out of the inventory since, or the alarm is about the gateway itself.
        name = ""
    return AlarmCard(
        alarm=alarm,
        site=sites.get(alarm.site_id),
        device=name,
        of_gateway=alarm.condition in OF_THE_GATEWAY,
    )


def devices_view(picture: FleetPicture, sites: Mapping[str, Site], asked: PageQuery) -> DevicesView:
    """Looks through the whole fleet: up to 10 ms for 17,000 devices, so call it in a thread."""
    known = chain(picture.troubled, picture.online)
    found = [device for device in known if _wanted(device, picture, sites, asked)]
    # A list that became shorter while someone read its last page shows what is now its last page.
    last = max(1, -(-len(found) // DEVICES_SHOWN))
    number = min(asked.page, last)
    first = (number - 1) * DEVICES_SHOWN
    return DevicesView(
        rows=[_row(device, picture, sites) for device in found[first : first + DEVICES_SHOWN]],
        total=len(found),
        first=first,
        before=address(asked, page=number - 1) if number > 1 else None,
        after=address(asked, page=number + 1) if number < last else None,
        asked=asked,
        site=sites.get(asked.site),
        picture=picture,
        sites=len(sites),
        failing_sites=sum(
            1 for counts in picture.troubled_at_site.values() if State.OFFLINE in counts
        ),
    )


def address(asked: PageQuery, **changed: object) -> str:
    """The console page that shows what was asked for, with some of it changed."""
    wanted = {"page": 1, **asked.model_dump(exclude_defaults=True), **changed}
    told = {name: str(value) for name, value in wanted.items() if value}
    if told["page"] == "1":
        del told["page"]
    return "/?" + urlencode(told) if told else "/"


def _wanted(
    device: DeviceHealth, picture: FleetPicture, sites: Mapping[str, Site], asked: PageQuery
) -> bool:
    if asked.state is not None and device.state is not asked.state:
        return False
    if asked.kind is not None and device.kind is not asked.kind:
        return False
    if asked.site and device.site_id != asked.site:
        return False
    if asked.test and device.device_id not in picture.in_test:
        return False
    if not asked.q:
        return True
    site = sites.get(device.site_id)
    place = f"{site.name}\n{site.district}" if site else ""
    looked_in = f"{device.device_id}\n{device.name}\n{device.site_id}\n{place}"
    return asked.q.casefold() in looked_in.casefold()


def _row(device: DeviceHealth, picture: FleetPicture, sites: Mapping[str, Site]) -> DeviceRow:
    reasons = device.details.get("reasons")
    others = [str(reason) for reason in reasons] if isinstance(reasons, list | tuple) else []
    # In maintenance or behind a dead recorder: what the device itself last said.
    if "own_reason" in device.details:
        others.append(str(device.details["own_reason"]))
    return DeviceRow(
        health=device,
        site=sites.get(device.site_id),
        in_test=device.device_id in picture.in_test,
        other_reasons=[reason for reason in others if reason != device.reason],
        seen={name: value for name, value in device.details.items() if name not in NOT_SEEN},
    )
