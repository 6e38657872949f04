"""What of the settings file each room is told: from `Config` to the rooms' own settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from adapters.mqtt.adapter import MqttSettings
from adapters.mqtt.connection import Broker
from adapters.watch import CameraSettings
from gateway.config import Broker as BrokerUrl
from gateway.config import Config, OpscenterSink
from gateway.console.context import ApiToken, ConsoleSettings, Listen
from gateway.console.users import Role
from gateway.errors import KuzetError
from gateway.files.secret import pseudonym_key
from gateway.files.values import HostPort
from gateway.forward.opscenter import OpsCenterSettings
from gateway.model import Retention

USERS_FILE = "users.json"
"""Console accounts, in the data folder."""


def made_data_dir(config: Config) -> Path:
    """The data folder, made where it is missing. Raises KuzetError."""
    data_dir = config.gateway.data_dir
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KuzetError(f"[gateway] data_dir: {data_dir}: {error.strerror}") from None
    return data_dir


def retention_days(config: Config) -> Mapping[Retention, int]:
    """Audit records are kept as long as alarms."""
    kept = config.journal.retention_days
    return {
        Retention.ACCESS: kept.access,
        Retention.EVENT: kept.event,
        Retention.HEALTH: kept.health,
        Retention.ALARM: kept.alarm,
        Retention.AUDIT: kept.alarm,
    }


def cameras(config: Config) -> CameraSettings:
    return CameraSettings(health_interval_s=config.cameras.health_interval_s)


def mqtt(config: Config) -> MqttSettings | None:
    """None without `[mqtt]`. Makes the pseudonyms' key where it is missing."""
    told = config.mqtt
    if told is None:
        return None
    return MqttSettings(
        broker=_broker(told.url),
        alarm_broker=_broker(told.alarm_url) if told.alarm_url else None,
        client_id=config.mqtt_client_id,
        username=told.username or "",
        password=told.password.get_secret_value() if told.password else "",
        ca_file=told.ca_file,
        cert_file=told.cert_file,
        key_file=told.key_file,
        pseudonym_key=pseudonym_key(config.gateway.pseudonym_key_file),
    )


def opscenter(sink: OpscenterSink) -> OpsCenterSettings:
    return OpsCenterSettings(
        name=sink.name,
        url=sink.url,
        signing_keys=tuple(key.get_secret_value() for key in sink.signing_keys),
        token=sink.token.get_secret_value() if sink.token else None,
    )


def console(config: Config) -> ConsoleSettings:
    told, monitoring = config.console, config.metrics.listen
    return ConsoleSettings(
        gateway=config.gateway.name,
        listen=_listen(told.listen),
        locale=config.gateway.locale,
        timezone=config.gateway.timezone.key,
        cert_file=told.cert_file,
        key_file=told.key_file,
        tokens=tuple(
            ApiToken(role=Role(token.role), secret=token.token.get_secret_value())
            for token in told.tokens
        ),
        metrics=_listen(monitoring) if monitoring else None,
    )


def _broker(url: BrokerUrl) -> Broker:
    return Broker(host=url.host, port=url.port, tls=url.tls)


def _listen(address: HostPort) -> Listen:
    return Listen(host=address.host, port=address.port)
