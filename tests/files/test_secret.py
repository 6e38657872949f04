from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.files.secret import (
    MAX_SECRET_BYTES,
    FromEnvironment,
    pseudonym_key,
    read_secret,
    signing_keys,
    variable_name,
)


def private(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    file.chmod(0o600)
    return file


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"s3cret", "s3cret"),
        (b"s3cret\n", "s3cret"),
        (b"s3cret\r\n", "s3cret"),
        (b" s3cret \n\n", " s3cret \n"),
        ("құпия\n".encode(), "құпия"),
    ],
)
def test_one_newline_at_the_end_is_not_of_the_secret(
    tmp_path: Path, content: bytes, secret: str
) -> None:
    assert read_secret(private(tmp_path / "x", content)) == secret


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_a_secret_that_others_reach_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    file = private(tmp_path / "it's", b"s3cret")
    file.chmod(mode)
    with pytest.raises(ValueError, match="chmod 600") as caught:
        read_secret(file)
    assert "s3cret" not in str(caught.value)
    file.chmod(0o400)
    assert read_secret(file) == "s3cret"


def test_what_is_no_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="empty"):
        read_secret(private(tmp_path / "x", b"\n"))
    with pytest.raises(ValueError, match="not UTF-8"):
        read_secret(private(tmp_path / "x", b"\xff\xfe"))
    with pytest.raises(ValueError, match="larger"):
        read_secret(private(tmp_path / "x", b"x" * (MAX_SECRET_BYTES + 1)))
    with pytest.raises(ValueError, match="cannot be read"):
        read_secret(tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ValueError, match="regular file"):
        read_secret(tmp_path / "pipe")


def test_signing_keys_are_one_a_line_with_or_without_prefix() -> None:
    first, second = os.urandom(24), os.urandom(64)
    text = f"whsec_{base64.b64encode(first).decode()}\n{base64.b64encode(second).decode()}\n"
    assert signing_keys(text) == (first, second)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("whsec_" + base64.b64encode(b"x" * 23).decode(), "23 bytes"),
        ("correct-horse-battery-staple", "not base64"),
        ("whsec_кот", "not base64"),
        ("whsec_", "0 bytes"),
        (" \n", "no key"),
    ],
)
def test_what_is_no_signing_key_is_refused_and_not_repeated(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        signing_keys(text)
    assert "horse" not in str(caught.value)


def test_a_variable_never_shows_its_value() -> None:
    given = FromEnvironment(variable_name("sink", "second-center", "token"), "s3cret")
    assert given.variable == "KUZET_SINK_SECOND_CENTER_TOKEN"
    assert "s3cret" not in repr(given)


def test_the_pseudonym_key_is_made_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "pseudonym.key"
    key = pseudonym_key(file)
    assert len(key) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert pseudonym_key(file) == key
    assert [entry.name for entry in tmp_path.iterdir()] == ["pseudonym.key"]


def test_a_pseudonym_key_is_never_replaced(tmp_path: Path) -> None:
    file = private(tmp_path / "pseudonym.key", b"cut off")
    with pytest.raises(ConfigError, match="holds 7 bytes"):
        pseudonym_key(file)
    assert file.read_bytes() == b"cut off"
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        pseudonym_key(file)
    with pytest.raises(ConfigError, match="neither be read nor made"):
        pseudonym_key(tmp_path / "gone" / "pseudonym.key")
