"""`credentials.toml`: user names and passwords, by the groups that devices name.

[recorders]
username = "kuzet"
password_file = "recorders.secret"
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, RootModel

from gateway.errors import ConfigError, Problem
from gateway.files.secret import check_private, from_environment, variable_name
from gateway.files.settings import RequiredSecret, Section, validate
from gateway.files.toml import read_toml
from gateway.model import Credentials


class Group(Section):
    """One group."""

    username: str = Field(min_length=1)
    password: RequiredSecret = Field(validation_alias="password_file")


class Groups(RootModel[dict[str, Group]]):
    """The whole file."""


class Reading(NamedTuple):
    """What could be read. `names` are those of all groups, also of those with a mistake; None where
    it cannot be said which there are."""

    groups: Mapping[str, Credentials]
    names: tuple[str, ...] | None
    problems: tuple[Problem, ...]


def read_credentials(path: Path, environ: Mapping[str, str]) -> Reading:
    """The groups in the file, or what is wrong with it. Never raises."""
    try:
        toml = read_toml(path)
    except ConfigError as error:
        return Reading({}, None, error.problems)
    problems = []
    try:
        check_private(path)
    except ValueError as error:
        problems.append(Problem(toml.file, 1, 1, str(error)))
    document: dict[str, Any] = copy.deepcopy(toml.document)
    for name, group in document.items():
        if isinstance(group, dict):
            variable = variable_name("credentials", name, "password")
            if clash := from_environment(group, "password_file", variable, environ):
                problems.append(Problem(toml.file, *toml.key((name, "password_file")), clash))
    names = tuple(document)
    try:
        valid = validate(Groups, toml, document).root
    except ConfigError as error:
        return Reading({}, names, (*problems, *error.problems))
    groups = {
        name: Credentials(username=group.username, password=group.password.get_secret_value())
        for name, group in valid.items()
    }
    return Reading(groups, names, tuple(problems))


def secret_files(path: Path) -> tuple[Path, ...]:
    """The files with the groups' passwords, as far as the file can be read."""
    try:
        document = read_toml(path).document
    except ConfigError:
        return ()
    return tuple(
        path.parent / group["password_file"]
        for group in document.values()
        if isinstance(group, dict) and isinstance(group.get("password_file"), str)
    )
