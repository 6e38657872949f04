"""Lists in pages: `{"items": [...], "next": cursor or null}`.

A cursor names the last item given, not a place in the list: items that come and go between two
pages make none appear twice, and none that stays is left out.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from gateway.console.problems import FieldError, HttpProblem

Item = TypeVar("Item")

Key = tuple[str, ...]
"""What a list is ordered by; unique to an item. Compared as text."""


class Page(Struct, Generic[Item], frozen=True, kw_only=True):
    items: list[Item]
    next: str | None


def page(
    items: Iterable[Item],
    key: Callable[[Item], Key],
    *,
    cursor: str | None,
    limit: int,
    newest_first: bool = False,
) -> Page[Item]:
    """The next `limit` of `items`, which are in the order of `key` (falling, if `newest_first`).

    Raises HttpProblem 422 for a cursor that we did not give.
    """
    after = None if cursor is None else _read(cursor)
    found: list[Item] = []
    for item in items:
        if after is not None:
            here = key(item)
            if (here >= after) if newest_first else (here <= after):
                continue
        if len(found) == limit:
            return Page(items=found, next=_written(key(found[-1])))
        found.append(item)
    return Page(items=found, next=None)


def _written(key: Key) -> str:
    return urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def _read(cursor: str) -> Key:
    try:
        padded = cursor.encode() + b"=" * (-len(cursor) % 4)
        return msgspec.json.decode(urlsafe_b64decode(padded), type=Key)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        error = FieldError(field="cursor", detail="not a cursor of this list")
        raise HttpProblem(HTTPStatus.UNPROCESSABLE_ENTITY, errors=[error]) from None
