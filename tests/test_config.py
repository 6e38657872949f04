"""The settings file: what it gives, and that each mistake is told with its place."""

from __future__ import annotations

import base64
import re
import shutil
from pathlib import Path
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel

from gateway.config import Broker, Config, load_config, read_config
from gateway.errors import ConfigError
from gateway.files.values import HostPort
from tests.examples import copy_good, expected_problems, mistakes, set_mode

ROOT = Path(__file__).parent.parent
KEY = base64.b64encode(b"k" * 32).decode()


def write(folder: Path, text: str) -> Path:
    file = folder / "gateway.toml"
    file.write_text(text)
    return file


def load(folder: Path, text: str, environ: dict[str, str] | None = None) -> Config:
    return load_config(write(folder, text), environ or {})


def problems(folder: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, environ)
    return [f"{one.line}:{one.column}: {one.message}" for one in caught.value.problems]


def test_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    config = load(tmp_path, '[gateway]\nname = "zhambyl"\n')
    assert config.gateway.data_dir == tmp_path / "var"
    assert config.gateway.locale == "ru"
    assert config.gateway.timezone == ZoneInfo("Asia/Almaty")
    assert config.gateway.pseudonym_key_file == tmp_path / "pseudonym.key"
    assert config.inventory.sites == tmp_path / "sites.csv"
    assert config.inventory.devices == tmp_path / "devices.csv"
    assert config.inventory.credentials is None
    assert config.cameras.model_dump() == {
        "health_interval_s": 60.0,
        "events": True,
        "picture_interval_s": 3600.0,
    }
    assert config.mqtt is None
    assert config.sinks == ()
    assert config.console.listen == HostPort("127.0.0.1", 8080)
    assert config.metrics.listen is None
    assert config.journal.model_dump() == {
        "retention_days": {"access": 30, "event": 90, "health": 400, "alarm": 1100},
        "max_size_mb": 4096,
    }


def test_every_key_reaches_its_place(tmp_path: Path) -> None:
    folder = copy_good(tmp_path)
    config = load_config(folder / "gateway.toml", {})
    assert config.gateway.name == "zhambyl"
    assert config.gateway.locale == "kk"
    assert config.gateway.references == (HostPort("10.0.0.1", 443), HostPort("2001:db8::1", 443))
    assert config.inventory.credentials == folder / "credentials.toml"
    assert config.mqtt is not None
    assert config.mqtt.url == Broker("broker.example", 8883, tls=True)
    assert config.mqtt.alarm_url == Broker("::1", 1884, tls=False)
    assert config.mqtt.key_file == folder / "good.secret"
    assert config.mqtt.password is not None
    assert config.mqtt.password.get_secret_value() == "correct horse battery staple"
    assert config.mqtt_client_id == "zhambyl"
    first, second = config.sinks
    assert (first.name, first.fallback, second.name) == ("opscenter", "second", "second")
    assert first.forward == ("alarm", "event")
    assert second.forward == ("alarm", "event", "health")
    (key,) = first.signing_keys
    assert key.get_secret_value() == b"01234567890123456789012345678901"
    assert second.token is None
    assert config.console.listen == HostPort("::", 0)
    assert [entry.role for entry in config.console.tokens] == ["admin"]
    assert config.metrics.listen == HostPort("127.0.0.1", 9109)
    assert config.journal.retention_days.access == 7
    assert config.journal.retention_days.alarm == 1100


@pytest.mark.parametrize("mistake", mistakes("settings"), ids=lambda file: file.stem)
def test_each_mistake_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: Path
) -> None:
    folder = copy_good(tmp_path)
    shutil.copy(mistake, folder)
    monkeypatch.chdir(folder)
    found = [str(one) for one in read_config(Path(mistake.name), {}).problems]
    expected = expected_problems(mistake, folder)
    assert expected, "tests/config/expected.txt does not say what is expected"
    assert found == expected


@pytest.mark.parametrize("mistake", mistakes("settings"), ids=lambda file: file.stem)
def test_no_message_repeats_a_secret(tmp_path: Path, mistake: Path) -> None:
    folder = copy_good(tmp_path)
    shutil.copy(mistake, folder)
    with pytest.raises(ConfigError) as caught:
        load_config(folder / mistake.name, {})
    secrets = ["hunter2", "MDEy", *(file.read_text().strip() for file in folder.glob("*.secret"))]
    assert not [secret for secret in secrets if secret and secret in str(caught.value)]


def test_no_repr_shows_a_secret(tmp_path: Path) -> None:
    config = load_config(copy_good(tmp_path) / "gateway.toml", {})
    shown = repr(config) + str(config) + str(config.model_dump())
    assert "horse" not in shown
    assert "0123456789" not in shown


def test_settings_are_frozen(tmp_path: Path) -> None:
    config = load(tmp_path, '[gateway]\nname = "zhambyl"\n')
    with pytest.raises(ValueError, match="frozen"):
        config.cameras.events = False


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gateway\.toml:1:1: cannot be read: No such file"):
        load_config(tmp_path / "gateway.toml")


# --- secrets from the environment ----------------------------------------------------------------

SINK = '[[sink]]\ntype = "opscenter"\nname = "second-center"\nurl = "https://ops.example"\n'
EVERY_SECRET = (
    '[gateway]\nname = "x"\n[mqtt]\nurl = "mqtt://h"\nusername = "u"\n'
    f'{SINK}[[console.token]]\nrole = "viewer"\n'
)
VARIABLES = {
    "KUZET_MQTT_PASSWORD": "mqtt secret",
    "KUZET_SINK_SECOND_CENTER_SIGNING_SECRET": f"whsec_{KEY} {KEY}",
    "KUZET_SINK_SECOND_CENTER_TOKEN": "sink token",
    "KUZET_CONSOLE_TOKEN_VIEWER": "viewer-token-0123456789",
}


def test_a_variable_stands_in_for_an_absent_file(tmp_path: Path) -> None:
    config = load(tmp_path, EVERY_SECRET, VARIABLES)
    assert config.mqtt is not None
    assert config.mqtt.password is not None
    assert config.mqtt.password.get_secret_value() == "mqtt secret"
    assert [key.get_secret_value() for key in config.sinks[0].signing_keys] == [b"k" * 32] * 2
    assert config.sinks[0].token is not None
    assert config.sinks[0].token.get_secret_value() == "sink token"
    assert config.console.tokens[0].token.get_secret_value() == "viewer-token-0123456789"
    assert "token-0123" not in repr(config)


def test_an_absent_secret_names_its_variable(tmp_path: Path) -> None:
    assert problems(tmp_path, EVERY_SECRET, dict.fromkeys(VARIABLES, "")) == [
        f"{line}: is missing: name a file there, or set {variable}"
        for line, variable in (
            ("6:1: signing_secret_file", "KUZET_SINK_SECOND_CENTER_SIGNING_SECRET"),
            ("10:1: token_file", "KUZET_CONSOLE_TOKEN_VIEWER"),
        )
    ]


def test_a_secret_given_twice_is_refused(tmp_path: Path) -> None:
    folder = copy_good(tmp_path)
    mqtt = '[mqtt]\nurl = "mqtt://h"\nusername = "u"\npassword_file = "good.secret"\n'
    (told,) = problems(folder, f'[gateway]\nname = "x"\n{mqtt}', VARIABLES)
    assert told.startswith("6:17: 'password_file' is given here and as KUZET_MQTT_PASSWORD")


def test_a_password_of_the_environment_needs_a_username_too(tmp_path: Path) -> None:
    text = '[gateway]\nname = "x"\n[mqtt]\nurl = "mqtt://h"\n'
    assert problems(tmp_path, text, VARIABLES) == ["3:1: a password needs a 'username' beside it"]
    assert load(tmp_path, text).mqtt is not None


# --- what users copy -----------------------------------------------------------------------------


def test_the_example_is_valid_once_its_secrets_are_made(tmp_path: Path) -> None:
    shutil.copy(ROOT / "config" / "gateway.example.toml", tmp_path / "gateway.toml")
    (tmp_path / "opscenter.secret").write_text(KEY)
    (tmp_path / "api.token").write_text("0123456789abcdef" * 4)
    for name in ("opscenter.secret", "api.token"):
        set_mode(tmp_path / name)
    config = load_config(tmp_path / "gateway.toml", {})
    assert [sink.name for sink in config.sinks] == ["opscenter"]


def test_what_the_example_comments_out_is_valid_too(tmp_path: Path) -> None:
    example = (ROOT / "config" / "gateway.example.toml").read_text()
    text = re.sub(r"^# (?=[a-z_]+ = |\[)", "", example, flags=re.MULTILINE)
    text = text.replace('url = "mqtt://127.0.0.1:1883"\n', "")  # the other one is with TLS
    (tmp_path / "dialects").mkdir()
    for name in re.findall(r'(?:_file|alarm_rules) = "([^"]+)"', text):
        (tmp_path / name).write_text(KEY)
        set_mode(tmp_path / name)
    (told,) = problems(tmp_path, text)
    assert "no sink is named 'second-center'" in told


@pytest.mark.parametrize("section", ["gateway", "cameras", "mqtt", "sink", "console", "journal"])
def test_the_reference_explains_every_key(section: str) -> None:
    reference = (ROOT / "docs" / "settings.md").read_text()
    field = next(
        field
        for name, field in Config.model_fields.items()
        if section in (name, field.validation_alias)
    )
    for key in [key for model in _models(field.annotation) for key in _keys(model)]:
        assert f"`{key}`" in reference, f"docs/settings.md does not explain {key}"


def _models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]


def _keys(model: type[BaseModel]) -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        inner = [key for one in _models(field.annotation) for key in _keys(one)]
        keys += inner or [str(field.validation_alias or name)]
    return keys
