"""Strict settings: pydantic models whose mistakes come out as problems of the TOML file.

A model's fields carry the readers below. Relative paths start at the folder of the settings file,
which `validate` hands to them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    PlainValidator,
    RootModel,
    SecretBytes,
    SecretStr,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import ErrorDetails

from gateway.errors import ConfigError, Problem
from gateway.files.secret import FromEnvironment, check_private, read_secret, signing_keys
from gateway.files.toml import KeyPath, Toml
from gateway.files.values import identifier, quoted, suggestion

M = TypeVar("M", bound=BaseModel)


class Section(BaseModel):
    """One table of a settings file: typed, frozen, and without a key that it does not know."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


def validate(model: type[M], toml: Toml, document: Mapping[str, object]) -> M:
    """The model of the document. Raises ConfigError with everything that is wrong with it.

    `document` is that of `toml`, where variables of the environment may stand in for keys.
    """
    try:
        return model.model_validate(document, context={"folder": Path(toml.file).parent})
    except ValidationError as error:
        details = error.errors(include_url=False)
    raise ConfigError([_problem(model, toml, one) for one in details])


# --- readers of one key --------------------------------------------------------------------------


def parsed(read: Callable[[str], object]) -> PlainValidator:
    """Marks a field as text that `read` turns into its value or refuses with ValueError."""
    return PlainValidator(lambda value: read(_text(value)))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text in quotes")
    return value


def _located(value: object, context: ValidationInfo) -> Path:
    if isinstance(value, Path):  # a default
        value = str(value)
    if not _text(value) or "\0" in _text(value):
        raise ValueError("must be a path")
    return _folder(context) / _text(value)


def _file(value: object, context: ValidationInfo) -> Path:
    path = _located(value, context)
    if not path.is_file():
        raise ValueError(f"no such file (relative paths start at {_shown(_folder(context))})")
    if not os.access(path, os.R_OK):
        raise ValueError("this file cannot be read by the account that runs this")
    return path


def _private_file(value: object, context: ValidationInfo) -> Path:
    path = _file(value, context)
    check_private(path)
    return path


def _directory(value: object, context: ValidationInfo) -> Path:
    path = _located(value, context)
    if not path.is_dir():
        raise ValueError(f"no such folder (relative paths start at {_shown(_folder(context))})")
    return path


def _secret(value: object, context: ValidationInfo) -> str | None:
    if isinstance(value, FromEnvironment):
        return value.value
    return read_secret(_file(value, context))


def _optional_secret(value: object, context: ValidationInfo) -> SecretStr | None:
    secret = _secret(value, context)
    return None if secret is None else SecretStr(secret)


def _required_secret(value: object, context: ValidationInfo) -> SecretStr:
    secret = _secret(value, context)
    if not secret:
        assert isinstance(value, FromEnvironment), "a file's secret is not empty"  # noqa: S101
        raise ValueError(f"is missing: name a file there, or set {value.variable}")
    return SecretStr(secret)


def _signing_keys(value: object, context: ValidationInfo) -> tuple[SecretBytes, ...]:
    secret = _required_secret(value, context)
    return tuple(SecretBytes(key) for key in signing_keys(secret.get_secret_value()))


def _folder(context: ValidationInfo) -> Path:
    assert context.context is not None, "`validate` gives it"  # noqa: S101 -- an invariant
    return Path(context.context["folder"])


def _shown(folder: Path) -> str:
    return str(folder.absolute())


Identifier = Annotated[str, AfterValidator(identifier)]
Located = Annotated[Path, PlainValidator(_located)]
"""A path that need not be there yet."""
ReadableFile = Annotated[Path, PlainValidator(_file)]
PrivateFile = Annotated[Path, PlainValidator(_private_file)]
"""A file for a library to read, such as a TLS key; mode 0600 is checked."""
Directory = Annotated[Path, PlainValidator(_directory)]
OptionalSecret = Annotated[SecretStr | None, PlainValidator(_optional_secret)]
RequiredSecret = Annotated[SecretStr, PlainValidator(_required_secret)]
SigningKeys = Annotated[tuple[SecretBytes, ...], PlainValidator(_signing_keys)]


# --- from pydantic's errors to problems ----------------------------------------------------------


def _problem(model: type[BaseModel], toml: Toml, error: ErrorDetails) -> Problem:
    path: KeyPath = error["loc"]
    key = str(path[-1]) if path else ""
    match error["type"]:
        case "extra_forbidden":
            near = suggestion(key, _keys_at(model, path[:-1]))
            return Problem(toml.file, *toml.key(path), f"unknown key {quoted(key)}{near}")
        case "missing":
            table = _header(path[:-1])
            return Problem(toml.file, *toml.key(path), f"'{key}' is missing in [{table}]")
    return Problem(toml.file, *toml.value(path), f"{_name(path)}{_message(error)}")


def _message(error: ErrorDetails) -> str:
    limits = error.get("ctx", {})
    match error["type"]:
        case "value_error":
            return str(limits["error"])
        case "literal_error":
            return _not_allowed(error["input"], limits["expected"])
        case "greater_than_equal":
            return f"must be at least {limits['ge']:g}"
        case "less_than_equal":
            return f"must be at most {limits['le']:g}"
        case "tuple_type" if isinstance(error["input"], dict):
            return f"must be written [[{_header(error['loc'])}]]"
    return _MESSAGES.get(error["type"], error["msg"])


_MESSAGES = {
    "string_type": "must be text in quotes",
    "int_type": "must be a whole number without quotes",
    "float_type": "must be a number without quotes",
    "bool_type": "must be true or false, without quotes",
    "finite_number": "must be a finite number",
    "tuple_type": "must be a list in brackets",
    "model_type": "must be a table",
    "dict_type": "must be a table",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}


def _name(path: KeyPath) -> str:
    """The key that a message is about."""
    names = [part for part in path if isinstance(part, str)]
    return f"{names[-1]}: " if names else ""


def _header(path: KeyPath) -> str:
    return ".".join(part for part in path if isinstance(part, str))


def _not_allowed(given: object, expected: str) -> str:
    if not isinstance(given, str):
        return f"must be one of {expected}"
    words = [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
    return f"must be one of {expected}, not {quoted(given)}{suggestion(given, words)}"


def _keys_at(model: type[BaseModel], path: KeyPath) -> list[str]:
    """The keys that the table at `path` may have."""
    current: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, int):
            continue  # an element of a list is of the list's one model
        fields = current.model_fields if current is not None else {}
        root = current is not None and issubclass(current, RootModel)
        annotation = next(
            (
                field.annotation
                for name, field in fields.items()
                if root or _key(name, field) == part
            ),
            None,
        )
        current = next(_models_in(annotation), None)
    fields = current.model_fields if current is not None else {}
    return [_key(name, field) for name, field in fields.items()]


def _key(name: str, field: Any) -> str:
    return str(field.validation_alias or name)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
