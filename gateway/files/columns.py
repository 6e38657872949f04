"""The columns of `sites.csv` and `devices.csv`: what each may hold.

What has to hold between columns, rows and files is in `gateway.inventory`.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.files.table import Column
from gateway.files.topics import topic_filter
from gateway.files.values import decimal, flag, identifier, iso_date, member, whole
from gateway.model import AdapterName, DeviceKind, Ownership, SiteKind, Technology

MAX_HEARTBEAT_S = 7 * 86_400.0
"""A week: battery devices may be silent for a day, and none is watched that is silent for weeks."""


def _ids(text: str) -> tuple[str, ...]:
    return tuple(identifier(part) for part in text.split())


SITE_COLUMNS: Mapping[str, Column] = {
    "site_id": Column(identifier, required=True),
    "name": Column(required=True),
    "kind": Column(member(SiteKind), required=True),
    "district": Column(),
    "ownership": Column(member(Ownership)),
    "group": Column(whole(1, 3)),
    "boarding": Column(flag),
    "pupils": Column(whole(0, 1_000_000)),
    "guard_company": Column(),
    "account": Column(),
    "provider": Column(),
    "contractor": Column(),
    "phone": Column(),
    "address": Column(),
    "latitude": Column(decimal(-90, 90)),
    "longitude": Column(decimal(-180, 180)),
}

DEVICE_COLUMNS: Mapping[str, Column] = {
    "device_id": Column(identifier, required=True),
    "site_id": Column(identifier, required=True),
    "kind": Column(member(DeviceKind), required=True),
    "name": Column(required=True),
    "adapter": Column(member(AdapterName), required=True),
    "address": Column(),
    "rtsp_port": Column(whole(1, 65_535)),
    "credentials": Column(),
    "parent": Column(identifier),
    "channel": Column(whole(1, 1_024)),
    "technology": Column(member(Technology)),
    "location": Column(),
    "dialect": Column(),
    "topic": Column(topic_filter),
    "heartbeat_s": Column(decimal(0.1, MAX_HEARTBEAT_S)),
    "linked": Column(_ids),
    "installed_on": Column(iso_date),
    "maker": Column(),
    "model": Column(),
    "serial": Column(),
}
