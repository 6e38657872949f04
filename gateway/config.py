"""The gateway's settings: `gateway.toml`, typed and strict (docs/settings.md is its reference).

Everything wrong with the file is told at once, with line and column. Secrets come from files or
from `KUZET_…` variables of the environment, and are never shown.
"""

from __future__ import annotations

import copy
import os
import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct
from pydantic import AfterValidator, Field, SecretStr

from gateway.errors import ConfigError, Problem
from gateway.files import values
from gateway.files.secret import FromEnvironment, from_environment, variable_name
from gateway.files.settings import (
    Directory,
    Identifier,
    Located,
    OptionalSecret,
    PrivateFile,
    ReadableFile,
    RequiredSecret,
    Section,
    SigningKeys,
    parsed,
    validate,
)
from gateway.files.toml import KeyPath, read_toml
from gateway.files.values import HostPort

RESERVED_SINK_NAMES = ("alarms",)
"""Names of the gateway's own consumers of the journal: a sink's name is its consumer's name."""

MIN_TOKEN_LENGTH = 16
"""Characters: shorter ones can be guessed over the network."""

HTTP = ("https", "http")
MQTT = ("mqtt", "mqtts")


class Broker(NamedTuple):
    """An MQTT broker's address."""

    host: str
    port: int
    tls: bool


def _listen(text: str) -> HostPort:
    return values.host_port(text, any_port=True)


def _time_zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = zoneinfo.available_timezones()
    if not known:
        raise ValueError(
            "this machine has no time zones: install them with `apt install tzdata` "
            "(or `pip install tzdata`)"
        )
    near = values.suggestion(text, known)
    raise ValueError(f"{values.quoted(text)} is no time zone{near}")


def _broker(text: str) -> Broker:
    parts = values.url(text, MQTT, secrets_go="give 'username' and 'password_file'")
    if parts.path not in ("", "/") or parts.query:
        raise ValueError("a broker's address ends after its port")
    tls = parts.scheme == "mqtts"
    return Broker(parts.hostname or "", parts.port or (8883 if tls else 1883), tls)


def _sink_url(text: str) -> str:
    values.url(text, HTTP, secrets_go="give 'token_file'")
    return text


def _each_once(words: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(words)) < len(words):
        raise ValueError("must name each once")
    return words


def _unguessable(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    if len(text) < MIN_TOKEN_LENGTH or not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError(
            f"a token has at least {MIN_TOKEN_LENGTH} Latin letters, digits or signs and no spaces:"
            " make one with `openssl rand -hex 32`"
        )
    return token


def _all_different(tokens: tuple[ConsoleToken, ...]) -> tuple[ConsoleToken, ...]:
    if len({entry.token.get_secret_value() for entry in tokens}) < len(tokens):
        raise ValueError("two of the tokens are the same: which role would it give?")
    return tokens


Listen = Annotated[HostPort, parsed(_listen)]
Forwarded = Literal["alarm", "event", "health"]
Role = Literal["viewer", "operator", "technician", "admin"]


class GatewaySettings(Section):
    """`[gateway]`. `name` is part of every event's source."""

    name: Identifier
    data_dir: Located = Field(default=Path("var"), validate_default=True)
    locale: Literal["ru", "kk", "en"] = "ru"
    timezone: Annotated[ZoneInfo, parsed(_time_zone)] = Field(
        default="Asia/Almaty", validate_default=True
    )
    references: Annotated[
        tuple[Annotated[HostPort, parsed(values.host_port)], ...], Field(strict=False)
    ] = ()
    pseudonym_key_file: Located = Field(default=Path("pseudonym.key"), validate_default=True)
    alarm_rules: ReadableFile | None = None
    dialects: Directory | None = None


class InventorySettings(Section):
    """`[inventory]`: where the inventory's files are; `gateway.inventory` reads them."""

    sites: Located = Field(default=Path("sites.csv"), validate_default=True)
    devices: Located = Field(default=Path("devices.csv"), validate_default=True)
    credentials: Located | None = None


class CameraSettings(Section):
    """`[cameras]`. Intervals are seconds; `picture_interval_s` 0 means never."""

    health_interval_s: float = Field(default=60.0, ge=1, le=3600, allow_inf_nan=False)
    events: bool = True
    picture_interval_s: float = Field(default=3600.0, ge=0, le=86400, allow_inf_nan=False)


class MqttSettings(Section):
    """`[mqtt]`. Without `alarm_url` both sessions use `url`; see `Config.mqtt_client_id`."""

    url: Annotated[Broker, parsed(_broker)]
    alarm_url: Annotated[Broker, parsed(_broker)] | None = None
    ca_file: ReadableFile | None = None
    cert_file: ReadableFile | None = None
    key_file: PrivateFile | None = None
    username: str | None = Field(default=None, min_length=1)
    password: OptionalSecret = Field(default=None, validation_alias="password_file")
    client_id: Identifier | None = None


class OpscenterSink(Section):
    """A `[[sink]]` of type `opscenter`. `signing_keys` holds several while keys are rotated."""

    type: Literal["opscenter"]
    name: Identifier
    url: Annotated[str, parsed(_sink_url)]
    signing_keys: SigningKeys = Field(validation_alias="signing_secret_file")
    token: OptionalSecret = Field(default=None, validation_alias="token_file")
    max_batch: int = Field(default=500, ge=1, le=10_000)
    forward: Annotated[tuple[Forwarded, ...], Field(strict=False), AfterValidator(_each_once)] = (
        "alarm",
        "event",
        "health",
    )
    fallback: str | None = None


SinkSettings = OpscenterSink
"""Every kind of sink; a second kind makes this a union told apart by `type`."""


class ConsoleToken(Section):
    """A `[[console.token]]`: what a program shows instead of signing in."""

    role: Role
    token: Annotated[RequiredSecret, AfterValidator(_unguessable)] = Field(
        validation_alias="token_file"
    )


class ConsoleSettings(Section):
    """`[console]`. TLS where `cert_file` and `key_file` are given."""

    listen: Listen = HostPort("127.0.0.1", 8080)
    cert_file: ReadableFile | None = None
    key_file: PrivateFile | None = None
    tokens: Annotated[
        tuple[ConsoleToken, ...], Field(strict=False), AfterValidator(_all_different)
    ] = Field(default=(), validation_alias="token")


class MetricsSettings(Section):
    """`[metrics]`. Without `listen`, /metrics, /healthz and /readyz are the console's."""

    listen: Listen | None = None


class RetentionDays(Section):
    """How long records are kept. Audit records are kept as long as alarms."""

    access: int = Field(default=30, ge=1, le=36_500)
    event: int = Field(default=90, ge=1, le=36_500)
    health: int = Field(default=400, ge=1, le=36_500)
    alarm: int = Field(default=1100, ge=1, le=36_500)


class JournalSettings(Section):
    """`[journal]`. Alarms have a reserve of disk besides `max_size_mb`."""

    retention_days: RetentionDays = RetentionDays()
    max_size_mb: int = Field(default=4096, ge=16, le=16_777_216)


class Config(Section):
    """All of `gateway.toml`. Paths in it are those to open: already joined to the file's folder."""

    gateway: GatewaySettings
    inventory: InventorySettings
    cameras: CameraSettings = CameraSettings()
    mqtt: MqttSettings | None = None
    sinks: Annotated[tuple[SinkSettings, ...], Field(strict=False)] = Field(
        default=(), validation_alias="sink"
    )
    console: ConsoleSettings = ConsoleSettings()
    metrics: MetricsSettings = MetricsSettings()
    journal: JournalSettings = JournalSettings()

    @property
    def mqtt_client_id(self) -> str:
        """The telemetry session's client id; that of the panic devices ends in `-alarm`."""
        return (self.mqtt and self.mqtt.client_id) or self.gateway.name


class Reading(Struct, frozen=True, kw_only=True):
    """What could be read of a settings file that may be wrong elsewhere."""

    config: Config | None = None
    inventory: InventorySettings | None = None
    mqtt_configured: bool = False
    problems: tuple[Problem, ...] = ()


def load_config(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """The settings in the file at `path`. Raises ConfigError with every mistake."""
    reading = read_config(path, environ)
    if reading.config is None:
        raise ConfigError(reading.problems)
    return reading.config


def read_config(path: Path, environ: Mapping[str, str] = os.environ) -> Reading:
    """As `load_config` for whoever goes on in spite of mistakes, such as `kuzet check`."""
    try:
        toml = read_toml(path)
    except ConfigError as error:
        return Reading(problems=error.problems)
    document = copy.deepcopy(toml.document)
    document.setdefault("gateway", {})
    document.setdefault("inventory", {})
    config, inventory = None, None
    problems = [
        Problem(toml.file, *toml.value(where), message)
        for where, message in (*_take_environment(document, environ), *_cross_rules(document))
    ]
    with suppress(ConfigError):
        inventory = validate(InventorySettings, toml, document["inventory"])
    try:
        config = validate(Config, toml, document)
    except ConfigError as error:
        problems += error.problems
    return Reading(
        config=None if problems else config,
        inventory=inventory,
        mqtt_configured="mqtt" in document,
        problems=tuple(sorted(problems)),
    )


# --- rules between keys: on the bare document, so that another mistake does not hide them ---------

Complaints = Iterator[tuple[KeyPath, str]]


def _take_environment(document: dict[str, Any], environ: Mapping[str, str]) -> Complaints:
    """Lets variables of the environment stand in for absent `*_file` keys of secrets."""
    secrets: list[tuple[KeyPath, dict[str, Any], str, str]] = []
    for path, mqtt in _tables(document, "mqtt"):
        secrets.append((path, mqtt, "password_file", variable_name("mqtt", "password")))
    for path, sink in _tables(document, "sink"):
        if isinstance(name := sink.get("name"), str):
            for key in ("signing_secret_file", "token_file"):
                variable = variable_name("sink", name, key.removesuffix("_file"))
                secrets.append((path, sink, key, variable))
    for path, token in _tables(document, "console", "token"):
        if isinstance(role := token.get("role"), str):
            secrets.append((path, token, "token_file", variable_name("console", "token", role)))
    for path, table, key, variable in secrets:
        if clash := from_environment(table, key, variable, environ):
            yield (*path, key), clash


def _cross_rules(document: Mapping[str, Any]) -> Complaints:
    yield from _sink_rules(_tables(document, "sink"))
    for path, mqtt in _tables(document, "mqtt"):
        yield from _certificate_rules(path, mqtt)
        yield from _mqtt_rules(path, mqtt)
    for path, console in _tables(document, "console"):
        yield from _certificate_rules(path, console)
    console_listen = _value(document, "console", "listen") or "127.0.0.1:8080"
    listen = _value(document, "metrics", "listen")
    if listen == console_listen and not listen.endswith(":0"):
        yield ("metrics", "listen"), "the console listens there: take another port, or remove this"


def _sink_rules(sinks: Sequence[tuple[KeyPath, Mapping[str, Any]]]) -> Complaints:
    fallbacks: dict[str, object] = {}
    for path, sink in sinks:
        name = sink.get("name")
        if not isinstance(name, str):
            continue
        if name in fallbacks:
            yield (*path, "name"), f"another sink is named {values.quoted(name)} too"
        if name in RESERVED_SINK_NAMES:
            yield (*path, "name"), f"{values.quoted(name)} is taken by the gateway itself"
        fallbacks.setdefault(name, sink.get("fallback"))
    for path, sink in sinks:
        name, fallback = sink.get("name"), sink.get("fallback")
        if not isinstance(fallback, str):
            continue
        if fallback not in fallbacks:
            near = values.suggestion(fallback, fallbacks)
            yield (*path, "fallback"), f"no sink is named {values.quoted(fallback)}{near}"
        elif _leads_back(name, fallbacks):
            yield (*path, "fallback"), "a sink cannot be, in the end, its own fallback"


def _leads_back(name: object, fallbacks: Mapping[str, object]) -> bool:
    sink = name
    for _ in fallbacks:
        sink = fallbacks.get(sink) if isinstance(sink, str) else None
        if sink == name:
            return True
    return False


def _mqtt_rules(path: KeyPath, mqtt: Mapping[str, Any]) -> Complaints:
    urls = [mqtt.get(key) for key in ("url", "alarm_url")]
    encrypted = any(isinstance(url, str) and url.startswith("mqtts:") for url in urls)
    for key in ("ca_file", "cert_file", "key_file"):
        if key in mqtt and not encrypted:
            yield (*path, key), f"'{key}' is of use only with an mqtts:// address"
    password = mqtt.get("password_file")
    given = not isinstance(password, FromEnvironment) or password.value is not None
    if password is not None and given and "username" not in mqtt:
        yield (*path, "password_file"), "a password needs a 'username' beside it"


def _certificate_rules(path: KeyPath, table: Mapping[str, Any]) -> Complaints:
    for key, other in (("cert_file", "key_file"), ("key_file", "cert_file")):
        if key in table and other not in table:
            yield (*path, key), f"'{key}' needs '{other}' beside it"


def _tables(document: Mapping[str, Any], *keys: str) -> list[tuple[KeyPath, dict[str, Any]]]:
    """The table at `keys`, or each of the tables there, with its path; whatever else is no table
    is not for these rules to tell."""
    found: Any = document
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    if isinstance(found, dict):
        return [(keys, found)]
    several = found if isinstance(found, list) else []
    return [((*keys, i), one) for i, one in enumerate(several) if isinstance(one, dict)]


def _value(document: Mapping[str, Any], section: str, key: str) -> Any:
    return next((table.get(key) for _, table in _tables(document, section)), None)
