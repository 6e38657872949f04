"""Takes persons out of what is kept: before anything is written, for every dialect alike.

Law 94-V of Kazakhstan: collect what is necessary and sufficient. To know that the same card came in
and went out, a keyed pseudonym is enough; nobody without the key can go back from it, or try all
card numbers.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from gateway.model import EventType

CREDENTIAL = "credential"
PSEUDONYM_DIGITS = 16
"""Hex digits, 64 bits: two of 100,000 persons share one with a chance of one in 3.7 billion."""

_CREDENTIALS = (
    "credential",
    "credentialid",
    "credentialnumber",
    "card",
    "cardid",
    "cardno",
    "cardnumber",
    "cardcode",
    "uid",
    "tag",
    "tagid",
    "rfid",
    "token",
    "fingerprint",
    "faceid",
    "plate",
    "licenseplate",
    "iin",
    "personid",
    "userid",
    "employeeid",
    "employeeno",
    "studentid",
)
_NAMES = (
    "name",
    "fullname",
    "firstname",
    "lastname",
    "surname",
    "patronymic",
    "person",
    "personname",
    "user",
    "username",
    "holder",
    "cardholder",
    "cardname",
    "employee",
    "student",
    "pupil",
)
_ONLY_REMOVED = ("pin", "password", "phone", "email", "birthday", "birthdate", "photo", "face")
"""Keys as they read without case, `_`, `-` and spaces. The first of _CREDENTIALS and _NAMES that a
message has becomes `credential`; all of them, wherever they stand, are left out."""

_IDENTIFYING = (*_CREDENTIALS, *_NAMES)
_RANK = {key: rank for rank, key in enumerate(_IDENTIFYING)}
_NAMES_TOO = frozenset((*_IDENTIFYING, *_ONLY_REMOVED))
_CREDENTIALS_ONLY = frozenset(_CREDENTIALS) | {"pin", "password"}


class Pseudonyms:
    """Pseudonyms under one key: HMAC-SHA256, cut to PSEUDONYM_DIGITS."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def cleanse(self, type_: EventType, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
        """The attributes without persons. Of `panic.*` names stay: who pressed is what the guards
        need to know."""
        forbidden = _CREDENTIALS_ONLY if type_.startswith("panic.") else _NAMES_TOO
        if not _any_key(attributes, forbidden):
            return attributes
        found: list[tuple[int, object]] = []
        cleansed = _without(attributes, forbidden, found)
        if found:
            cleansed[CREDENTIAL] = self._pseudonym(min(found, key=lambda pair: pair[0])[1])
        return cleansed

    def _pseudonym(self, value: object) -> str:
        # 4711 and "4711" are one card; 04a2 and 04A2 are one chip.
        text = value if isinstance(value, str) else msgspec.json.encode(value, order="sorted")
        plain = text.strip().upper().encode() if isinstance(text, str) else text
        return hmac.digest(self._key, plain, "sha256").hex()[:PSEUDONYM_DIGITS]


def _any_key(value: object, forbidden: frozenset[str]) -> bool:
    if isinstance(value, Mapping):
        return any(
            _plain(key) in forbidden or (isinstance(one, dict | list) and _any_key(one, forbidden))
            for key, one in value.items()
        )
    return isinstance(value, list) and any(_any_key(one, forbidden) for one in value)


def _without(
    members: Mapping[str, Any], forbidden: frozenset[str], found: list[tuple[int, object]]
) -> dict[str, Any]:
    """A copy without forbidden keys, however deep; their values by rank go into `found`."""
    kept: dict[str, Any] = {}
    for key, value in members.items():
        plain = _plain(key)
        if plain not in forbidden:
            kept[key] = _cleansed(value, forbidden, found)
        elif plain in _RANK and value not in (None, "", 0):
            found.append((_RANK[plain], value))
    return kept


def _cleansed(value: object, forbidden: frozenset[str], found: list[tuple[int, object]]) -> object:
    if isinstance(value, dict):
        return _without(value, forbidden, found)
    if isinstance(value, list):
        return [_cleansed(one, forbidden, found) for one in value]
    return value


@lru_cache(maxsize=4096)
def _plain(key: str) -> str:
    return key.lower().replace("_", "").replace("-", "").replace(" ", "")
