"""What a request may ask: the models of bodies and queries, strict, every mistake told at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any, TypeVar, get_origin

from aiohttp import web
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from gateway.console.problems import FieldError, HttpProblem
from gateway.model import AlarmState, Audience, DeviceKind, State

MAX_BODY_BYTES = 64 * 1024
READ_S = 10.0
"""A body of 64 kB on the slowest link that a technician has; who takes longer holds us up."""

TEXT_LENGTH = 1000
ID_LENGTH = 200

Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=TEXT_LENGTH)]
NeededText = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=TEXT_LENGTH)
]
Name = Annotated[str, StringConstraints(max_length=ID_LENGTH)]
Cursor = Annotated[str | None, Field(description="`next` of the page before")]
Limit = Annotated[int, Field(ge=1, le=500, description="Items on a page")]


NoChoice = BeforeValidator(lambda value: value or None)
"""A form sends a choice that was not made as an empty one."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Acknowledge(_Body):
    comment: Text = ""


class Clear(_Body):
    comment: Text = Field(default="", description="How it ended: needed for a latched alarm")


class Comment(_Body):
    comment: NeededText


class Shelve(_Body):
    comment: Text = Field(default="", description="Why: needed")
    minutes: float = Field(default=60, gt=0, le=1440, allow_inf_nan=False)


class TestMode(_Body):
    minutes: float = Field(ge=0, le=60, allow_inf_nan=False, description="0 ends it")
    reason: NeededText


class Maintenance(_Body):
    # 30 days: longer than any repair here should take, short enough that none is forgotten.
    minutes: float = Field(ge=0, le=43_200, allow_inf_nan=False, description="0 ends it")
    reason: NeededText


class _Query(BaseModel):
    # Everything in a query is a string, so that strictness has nothing to say here.
    model_config = ConfigDict(extra="forbid", frozen=True)


class AlarmQuery(_Query):
    state: list[AlarmState] = Field(default=[], description="Only these states; all when absent")
    site: Name | None = None
    audience: Audience = Field(
        default=Audience.OPERATOR, description="`technician`: work items in place of alarms"
    )
    limit: Limit = 100
    cursor: Cursor = None


class DeviceQuery(_Query):
    state: list[State] = Field(default=[], description="Only these states; all when absent")
    site: Name | None = None
    kind: list[DeviceKind] = Field(default=[], description="Only these kinds; all when absent")
    limit: Limit = 100
    cursor: Cursor = None


class SiteQuery(_Query):
    limit: Limit = 100
    cursor: Cursor = None


class PageQuery(_Query):
    """What the console page shows of the devices."""

    q: Annotated[str, StringConstraints(strip_whitespace=True, max_length=ID_LENGTH)] = ""
    state: Annotated[State | None, NoChoice] = None
    kind: Annotated[DeviceKind | None, NoChoice] = None
    site: Name = ""
    test: bool = False
    page: int = Field(default=1, ge=1, le=100_000)


Model = TypeVar("Model", bound=BaseModel)


@asynccontextmanager
async def reading() -> AsyncIterator[None]:
    """Around the reading of a body. Raises HttpProblem: 408 when too slow, 400 when it breaks off
    or is not compressed as it says."""
    try:
        async with asyncio.timeout(READ_S):
            yield
    except TimeoutError:
        raise HttpProblem(HTTPStatus.REQUEST_TIMEOUT) from None
    except (web.RequestPayloadError, ConnectionError):
        raise HttpProblem(HTTPStatus.BAD_REQUEST, "the body cannot be read") from None


async def read_body(request: web.Request, model: type[Model]) -> Model:
    """The JSON body as `model`; none at all where every field has a default.

    Raises HttpProblem: 415 for another content type, 413 when too large, 408 when too slow, 400
    for what is no JSON, 422 with every field that will not do.
    """
    async with reading():
        raw = await request.read()
    if raw and request.content_type != "application/json":
        raise HttpProblem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")
    try:
        return model.model_validate_json(raw or b"{}", strict=True)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise HttpProblem(HTTPStatus.BAD_REQUEST, "the body is not JSON") from None
        raise _unprocessable(error) from None


def read_query(request: web.Request, model: type[Model]) -> Model:
    """The query as `model`. Raises HttpProblem 422 with every parameter that will not do."""
    asked: dict[str, Any] = {}
    for name in request.query:
        field = model.model_fields.get(name)
        values = request.query.getall(name)
        many = field is not None and get_origin(field.annotation) is list
        if not many and len(values) > 1:
            error = FieldError(field=name, detail="given more than once")
            raise HttpProblem(HTTPStatus.UNPROCESSABLE_ENTITY, errors=[error])
        asked[name] = values if many else values[0]
    try:
        return model.model_validate(asked)
    except ValidationError as error:
        raise _unprocessable(error) from None


def _unprocessable(error: ValidationError) -> HttpProblem:
    return HttpProblem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "some fields will not do",
        errors=[
            FieldError(field=".".join(str(part) for part in found["loc"]), detail=found["msg"])
            for found in error.errors(include_url=False, include_input=False)
        ],
    )
