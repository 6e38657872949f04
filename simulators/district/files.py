"""Writes what a gateway needs to watch a district: settings, inventory, credentials, secrets."""

from __future__ import annotations

import csv
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from simulators.camera import SimulatedCamera
from simulators.district.district import HEARTBEAT_S, USERNAME, District
from simulators.district.plan import MqttPlan, SitePlan
from simulators.mqtt import Dialect
from simulators.opscenter import new_secret

SIGNING_SECRET = "opscenter.secret"
API_TOKEN = "api.token"
BROKER_PASSWORD = "broker.password"

HEALTH_INTERVAL_S = 5
"""Seconds: whoever watches a demo wants to see a camera fall and rise."""

_KIND_NAMES = {"panic_button": "Тревожная кнопка", "turnstile": "Турникет", "intercom": "Домофон"}

Row = Mapping[str, object]


def signing_secret(folder: Path) -> str:
    """The operations center's secret; made and kept in the folder the first time."""
    return _kept(folder / SIGNING_SECRET, new_secret())


def api_token(folder: Path) -> str:
    """The token for the console's API; made and kept in the folder the first time."""
    return _kept(folder / API_TOKEN, secrets.token_hex(24))


def write(folder: Path, district: District, *, console: str) -> None:
    """Writes the files of a district that runs; `console` is where the gateway's is to listen."""
    api_token(folder)
    _csv(folder / "sites.csv", [_site(site) for site in district.sites])
    _csv(folder / "devices.csv", _devices(district))
    credentials = ""
    for group, password in district.passwords.items():
        _private(folder / f"{group}.password", password)
        credentials += f'[{group}]\nusername = "{USERNAME}"\npassword_file = "{group}.password"\n\n'
    _private(folder / "credentials.toml", credentials)
    settings = _settings(district, console=console, broker=_broker_section(folder, district))
    (folder / "gateway.toml").write_text(settings, encoding="utf-8")


def _settings(district: District, *, console: str, broker: str) -> str:
    return f"""# Written by the simulators, for the district that they run.
[gateway]
name = "demo"
data_dir = "var"
locale = "ru"
timezone = "Asia/Almaty"
references = []

[inventory]
sites = "sites.csv"
devices = "devices.csv"
credentials = "credentials.toml"

[cameras]
health_interval_s = {HEALTH_INTERVAL_S}

[mqtt]
{broker}
[[sink]]
type = "opscenter"
name = "opscenter"
url = {json.dumps(district.center.url)}
signing_secret_file = "{SIGNING_SECRET}"

[console]
listen = {json.dumps(console)}

[[console.token]]
role = "admin"
token_file = "{API_TOKEN}"
"""


def _broker_section(folder: Path, district: District) -> str:
    parts = urlsplit(district.broker_url)
    port = f":{parts.port}" if parts.port else ""
    lines = f"url = {json.dumps(f'{parts.scheme}://{parts.hostname}{port}')}\n"
    if parts.username:
        lines += f"username = {json.dumps(unquote(parts.username))}\n"
    if parts.password:
        _private(folder / BROKER_PASSWORD, unquote(parts.password))
        lines += f'password_file = "{BROKER_PASSWORD}"\n'
    return lines


def _site(site: SitePlan) -> Row:
    return {
        "site_id": site.site_id,
        "name": site.name,
        "kind": site.kind,
        "district": site.district,
        "ownership": site.ownership,
        "group": site.group,
        "boarding": "true" if site.boarding else "false",
        "pupils": site.pupils,
        "guard_company": site.guard_company,
        "account": site.account,
    }


def _devices(district: District) -> list[Row]:
    rows: list[Row] = []
    for site in district.sites:
        for plan in site.cameras:
            camera = district.devices[plan.device_id]
            if isinstance(camera, SimulatedCamera):
                rows.append(
                    {
                        "device_id": plan.device_id,
                        "site_id": site.site_id,
                        "kind": "camera",
                        "name": f"Камера: {plan.place.lower()}",
                        "adapter": "onvif",
                        "address": f"http://{camera.host}:{camera.onvif_port}",
                        "credentials": plan.credentials,
                        "technology": "digital",
                        "location": plan.place,
                        "maker": plan.plate.maker,
                        "model": plan.plate.model,
                        "serial": plan.plate.serial,
                    }
                )
        rows += [_mqtt(site, plan) for plan in site.mqtt]
    return rows


def _mqtt(site: SitePlan, plan: MqttPlan) -> Row:
    zigbee = plan.dialect is Dialect.ZIGBEE2MQTT
    return {
        "device_id": plan.device_id,
        "site_id": site.site_id,
        "kind": plan.kind,
        "name": _KIND_NAMES[plan.kind],
        "adapter": "mqtt",
        "location": plan.place,
        "dialect": plan.dialect if zigbee else "",
        "topic": f"zigbee2mqtt/{plan.device_id}" if zigbee else "",
        "heartbeat_s": f"{HEARTBEAT_S:g}",
        "linked": site.cameras[0].device_id,
    }


def _csv(path: Path, rows: Sequence[Row]) -> None:
    columns = dict.fromkeys(column for row in rows for column in row)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, tuple(columns), restval="")
        writer.writeheader()
        writer.writerows(rows)


def _kept(path: Path, fresh: str) -> str:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _private(path, fresh)
    return path.read_text(encoding="utf-8").strip()


def _private(path: Path, text: str) -> None:
    """Only the owner may read it, from its first moment on."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123 -- pathlib cannot set the mode
        file.write(text + "\n")
