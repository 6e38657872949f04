from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from gateway.console import Role, UserStore
from gateway.errors import CommandRefused, ConfigError


def test_an_account_is_verified_by_its_own_password_only(tmp_path: Path) -> None:
    users = UserStore(tmp_path / "users.json")
    users.add("aigerim", Role.OPERATOR, "correct horse")
    found = users.verify("aigerim", "correct horse")
    assert found is not None
    assert (found.name, found.role) == ("aigerim", Role.OPERATOR)
    assert users.verify("aigerim", "correct Horse") is None
    assert users.verify("nobody", "correct horse") is None


def test_the_file_holds_scrypt_hashes_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "users.json"
    UserStore(path).add("aigerim", Role.OPERATOR, "correct horse")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (user,) = json.loads(path.read_text())["users"]
    assert user["hash"].startswith("$scrypt$ln=15,r=8,p=3$")
    assert "correct horse" not in path.read_text()
    assert [entry.name for entry in tmp_path.iterdir()] == ["users.json"]


def test_an_account_added_by_another_process_is_known_at_once(tmp_path: Path) -> None:
    running, verb = UserStore(tmp_path / "users.json"), UserStore(tmp_path / "users.json")
    assert running.list() == ()
    verb.add("dias", Role.TECHNICIAN, "long enough")
    assert [user.name for user in running.list()] == ["dias"]


def test_adding_a_known_name_gives_it_a_new_password_and_role(tmp_path: Path) -> None:
    users = UserStore(tmp_path / "users.json")
    users.add("dias", Role.TECHNICIAN, "first password")
    users.add("dias", Role.ADMIN, "second password")
    assert [(user.name, user.role) for user in users.list()] == [("dias", Role.ADMIN)]
    assert users.verify("dias", "first password") is None


@pytest.mark.parametrize(
    ("name", "password"),
    [("", "long enough"), ("two words", "long enough"), ("x" * 65, "long enough"), ("a", "short")],
)
def test_names_and_passwords_that_will_not_do_are_refused(
    tmp_path: Path, name: str, password: str
) -> None:
    users = UserStore(tmp_path / "users.json")
    with pytest.raises(CommandRefused):
        users.add(name, Role.VIEWER, password)
    assert users.list() == ()


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [("{", 0o600, "cannot be read"), ('{"users": []}', 0o644, "chmod 600")],
)
def test_a_file_that_is_no_good_at_start_names_itself(
    tmp_path: Path, content: str, mode: int, message: str
) -> None:
    path = tmp_path / "users.json"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=message) as refused:
        UserStore(path).list()
    assert refused.value.problems[0].file == str(path)


def test_a_file_that_goes_bad_later_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "users.json"
    users = UserStore(path)
    users.add("aigerim", Role.OPERATOR, "correct horse")
    assert users.get("aigerim")
    path.write_text('{"users": [')
    assert users.get("aigerim")
    assert users.get("aigerim")
    assert len([record for record in caplog.records if "keeping" in record.message]) == 1


def test_secrets_are_not_in_reprs(tmp_path: Path) -> None:
    users = UserStore(tmp_path / "users.json")
    users.add("aigerim", Role.OPERATOR, "correct horse")
    assert "scrypt" not in repr(users.list())
