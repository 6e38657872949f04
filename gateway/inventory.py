"""The inventory: sites and devices from CSV, user names and passwords from `credentials.toml`.

docs/inventory.md is the reference of the files. Every error of all files is told at once. What
loads is consistent: every id that a row names is there and fits.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway.errors import ConfigError
from gateway.files import credentials as credentials_file
from gateway.files.columns import DEVICE_COLUMNS, SITE_COLUMNS
from gateway.files.table import Row, Table
from gateway.files.topics import TopicClaims
from gateway.files.values import choice, suggestion, url
from gateway.model import AdapterName, Device, DeviceKind, Inventory, Site
from gateway.ports import InventoryChange

NATIVE = "native"
DIALECTS = (NATIVE, "zigbee2mqtt")
"""The dialects of MQTT that every gateway reads."""

ADAPTERS_OF: Mapping[DeviceKind, tuple[AdapterName, ...]] = {
    DeviceKind.CAMERA: (AdapterName.ONVIF, AdapterName.RTSP),
    DeviceKind.RECORDER: (AdapterName.ONVIF, AdapterName.RTSP),
    DeviceKind.PANIC_BUTTON: (AdapterName.MQTT,),
    DeviceKind.TURNSTILE: (AdapterName.MQTT,),
    DeviceKind.INTERCOM: (AdapterName.MQTT, AdapterName.ONVIF),
}

SCHEMES_OF: Mapping[AdapterName, tuple[str, ...]] = {
    AdapterName.ONVIF: ("http", "https"),
    AdapterName.RTSP: ("rtsp", "rtsps"),
}

ONLY_MQTT = ("topic", "dialect", "heartbeat_s")
SECRETS_GO = "they belong in the credentials file"
NEVER_MQTT = ("address", "rtsp_port", "credentials")


def load_inventory(
    sites: Path,
    devices: Path,
    credentials: Path | None,
    *,
    mqtt_configured: bool,
    dialects: Collection[str] = DIALECTS,
    environ: Mapping[str, str] = os.environ,
) -> Inventory:
    """The inventory in these files; `dialects` are the names that a device's may have.

    A camera behind a recorder that leaves its address or credentials empty has the recorder's.
    Raises ConfigError with every mistake in all of the files. Reads files: about a second for a
    region, so call it in a thread.
    """
    site_table = Table(sites, SITE_COLUMNS, key="site_id")
    device_table = Table(devices, DEVICE_COLUMNS, key="device_id")
    logins = credentials_file.Reading({}, (), ())
    if credentials is not None:
        logins = credentials_file.read_credentials(credentials, environ)
    rules = _DeviceRules(device_table, site_table, logins.names, dialects)
    rules.check()
    if not mqtt_configured:
        rules.complain_of_mqtt()
    problems = [*site_table.problems, *device_table.problems, *logins.problems]
    if problems:
        raise ConfigError(sorted(problems))
    return Inventory(
        sites={
            site_id: Site(**row.values, extra=row.extra)
            for site_id, row in site_table.by_key().items()
        },
        devices=_devices(device_table.by_key()),
        credentials=logins.groups,
    )


def inventory_files(sites: Path, devices: Path, credentials: Path | None) -> tuple[Path, ...]:
    """The files that a change of the inventory may stand in: these, and those of the passwords."""
    if credentials is None:
        return (sites, devices)
    return (sites, devices, credentials, *credentials_file.secret_files(credentials))


def diff(old: Inventory, new: Inventory) -> InventoryChange:
    """What became of each device: changed are those whose own row, site's row, credentials or
    parent's row differ."""

    def facts(inventory: Inventory, device_id: str) -> tuple[object, ...]:
        device = inventory.devices[device_id]
        return (
            device,
            inventory.sites[device.site_id],
            inventory.credentials.get(device.credentials),
            inventory.devices.get(device.parent),
        )

    return InventoryChange(
        added=frozenset(new.devices.keys() - old.devices.keys()),
        removed=frozenset(old.devices.keys() - new.devices.keys()),
        changed=frozenset(
            device_id
            for device_id in old.devices.keys() & new.devices.keys()
            if facts(old, device_id) != facts(new, device_id)
        ),
    )


def _devices(rows: Mapping[str, Row]) -> dict[str, Device]:
    devices = {}
    for device_id, row in rows.items():
        values = dict(row.values)
        if "parent" in values:
            _inherit(values, rows[values["parent"]].values)
        devices[device_id] = Device(**values, extra=row.extra)
    return devices


def _inherit(values: dict[str, Any], recorder: Mapping[str, Any]) -> None:
    """Gives a camera what it leaves empty and its recorder has. The recorder's password is only for
    the recorder: a camera with another host does not get it."""
    inherited = ["credentials"]
    if "address" not in values:
        inherited += ["address", "rtsp_port"]
    elif _host(values) != _host(recorder):
        return
    for column in inherited:
        if column in recorder:
            values.setdefault(column, recorder[column])


def _host(values: Mapping[str, Any]) -> str | None:
    return urlsplit(str(values.get("address", ""))).hostname


# --- rules between columns, rows and files -------------------------------------------------------

Complaints = Iterator[tuple[str, str]]
"""The column at fault and what is wrong. A value that is itself wrong is absent, and is not told of
a second time."""


class _DeviceRules:
    """What holds between a device's columns, and between devices, sites and credentials."""

    def __init__(
        self,
        devices: Table,
        sites: Table,
        groups: Collection[str] | None,
        dialects: Collection[str],
    ) -> None:
        self._table = devices
        self._rows = devices.by_key()
        self._sites = sites.by_key() if sites.readable else None
        self._groups = groups
        self._dialects = dialects
        self._behind: dict[tuple[str, int], Row] = {}
        self._topics = TopicClaims[Row]()

    def check(self) -> None:
        """Adds every problem to the table of the devices."""
        for row in self._table.rows:
            for column, message in chain(
                self._site(row),
                self._adapter(row),
                self._address(row),
                self._credentials(row),
                self._recorder(row),
                self._dialect(row),
                self._topic(row),
                self._links(row),
            ):
                self._table.complain(row, column, message)

    def complain_of_mqtt(self) -> None:
        """Adds one problem if there are MQTT devices: the settings name no broker for them."""
        rows = [row for row in self._table.rows if row.values.get("adapter") is AdapterName.MQTT]
        if rows:
            others = f" (and {len(rows) - 1} more devices)" if len(rows) > 1 else ""
            self._table.complain(rows[0], "adapter", f"needs [mqtt] in the settings{others}")

    def _site(self, row: Row) -> Complaints:
        site_id = row.values.get("site_id")
        if site_id and self._sites is not None and site_id not in self._sites:
            yield "site_id", f"there is no site '{site_id}' in the sites file"

    def _adapter(self, row: Row) -> Complaints:
        kind, adapter = row.values.get("kind"), row.values.get("adapter")
        if adapter is None:
            return
        if kind is not None and adapter not in ADAPTERS_OF[kind]:
            yield "adapter", f"must be {' or '.join(ADAPTERS_OF[kind])} for a {kind}"
        elif adapter is AdapterName.MQTT:
            for column in NEVER_MQTT:
                if column in row.values:
                    yield column, "must be empty for mqtt: the settings name the broker"
        else:
            for column in ONLY_MQTT:
                if column in row.values:
                    yield column, f"must be empty: it is for mqtt, not for {adapter}"

    def _address(self, row: Row) -> Complaints:
        kind: DeviceKind | None = row.values.get("kind")
        adapter: AdapterName | None = row.values.get("adapter")
        if adapter is None or adapter is AdapterName.MQTT:
            return
        if kind is not None and adapter not in ADAPTERS_OF[kind]:
            return
        if "address" in row.values:
            try:
                url(row.values["address"], SCHEMES_OF[adapter], secrets_go=SECRETS_GO)
            except ValueError as error:
                yield "address", str(error)
        elif row.lacks("address") and row.lacks("parent"):
            yield "address", "is empty"
        elif recorder := self._rows.get(row.values.get("parent", "")):
            theirs = recorder.values.get("adapter", adapter)
            if row.lacks("address") and theirs is not adapter:
                yield "address", f"is empty, and the recorder's is of no use: it is for {theirs}"

    def _credentials(self, row: Row) -> Complaints:
        group = row.values.get("credentials")
        if group and self._groups is not None and group not in self._groups:
            # The text is not repeated: it may be a password.
            near = suggestion(group, self._groups)
            yield "credentials", f"the file 'credentials' of the settings has no such group{near}"

    def _recorder(self, row: Row) -> Complaints:
        """Behind which recorder, at which channel."""
        values = row.values
        if row.lacks("parent"):
            if "channel" in values:
                yield "channel", "needs a 'parent': the recorder that the channel is of"
            return
        if values.get("kind", DeviceKind.CAMERA) is not DeviceKind.CAMERA:
            yield "parent", "must be empty: only a camera stands behind a recorder"
            return
        if row.lacks("channel"):
            yield "channel", "is empty: which of the recorder's, counted from 1?"
        if "parent" not in values:
            return
        if "channel" in values:
            first = self._behind.setdefault((values["parent"], values["channel"]), row)
            if first is not row:
                yield "channel", f"the camera in line {first.line} is on this channel too"
        if wrong := self._wrong_recorder(values["parent"], values.get("site_id")):
            yield "parent", wrong

    def _wrong_recorder(self, parent: str, site_id: str | None) -> str | None:
        recorder = self._rows.get(parent)
        if recorder is None:
            return f"there is no device '{parent}'"
        kind = recorder.values.get("kind", DeviceKind.RECORDER)
        if kind is not DeviceKind.RECORDER:
            return f"'{parent}' (line {recorder.line}) is a {kind}, not a recorder"
        theirs = recorder.values.get("site_id", site_id)
        if site_id is not None and theirs != site_id:
            return f"'{parent}' (line {recorder.line}) is at another site: '{theirs}'"
        return None

    def _dialect(self, row: Row) -> Complaints:
        if row.values.get("adapter") is AdapterName.MQTT:
            try:
                choice(self._dialects, row.values.get("dialect", NATIVE))
            except ValueError as error:
                yield "dialect", str(error)

    def _topic(self, row: Row) -> Complaints:
        values = row.values
        if values.get("adapter") is not AdapterName.MQTT:
            return
        topic = values.get("topic")
        if row.lacks("topic"):
            if values.get("dialect", NATIVE) != NATIVE:
                yield "topic", f"is empty: only the dialect {NATIVE} has a topic of its own"
            elif "device_id" in values and "site_id" in values:
                topic = f"kuzet/{values['site_id']}/{values['device_id']}/#"
        rival = self._topics.claim(topic, row) if topic else None
        if rival is not None and rival.values.get("device_id") != values.get("device_id"):
            yield "topic", f"the device in line {rival.line} would get its messages too"

    def _links(self, row: Row) -> Complaints:
        for device_id in row.values.get("linked", ()):
            camera = self._rows.get(device_id)
            if camera is None:
                yield "linked", f"there is no device '{device_id}'"
            elif camera.values.get("kind", DeviceKind.CAMERA) is not DeviceKind.CAMERA:
                yield "linked", f"'{device_id}' (line {camera.line}) is no camera"
