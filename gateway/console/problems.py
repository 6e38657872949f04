"""Errors as programs read them: RFC 9457 `application/problem+json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus

import msgspec
from aiohttp import web
from msgspec import Struct

from gateway.console.live import TooManyClients
from gateway.errors import CommandRefused, JournalError, KuzetError, NotFound

CONTENT_TYPE = "application/problem+json"


class FieldError(Struct, frozen=True, kw_only=True):
    """What is wrong with one field of a body or one parameter of a query."""

    field: str
    detail: str


class ProblemDetails(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457 section 3.1; `type` is always about:blank, so `title` is the status' own phrase."""

    status: int
    title: str
    detail: str = ""
    errors: Sequence[FieldError] = ()


class HttpProblem(KuzetError):
    """The request cannot be answered; `status` says whose fault it is."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        super().__init__(f"{status.value} {detail}")


TOLD = (HttpProblem, NotFound, CommandRefused, JournalError, TooManyClients, web.HTTPException)
"""What a handler may raise. Anything else is a fault of ours: aiohttp logs it and answers 500."""


def problem_of(
    error: HttpProblem
    | NotFound
    | CommandRefused
    | JournalError
    | TooManyClients
    | web.HTTPException,
) -> HttpProblem:
    """The error in HTTP's terms."""
    match error:
        case HttpProblem():
            return error
        case web.HTTPException():
            # What aiohttp itself refuses: unknown paths, methods, too large bodies.
            allow = error.headers.get("Allow")
            return HttpProblem(HTTPStatus(error.status), headers={"Allow": allow} if allow else {})
        case NotFound():
            return HttpProblem(HTTPStatus.NOT_FOUND, str(error))
        case CommandRefused():
            return HttpProblem(HTTPStatus.CONFLICT, str(error))
        case JournalError():
            return HttpProblem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the gateway cannot write this down now, so it has not been done",
            )
        case TooManyClients():
            return HttpProblem(HTTPStatus.SERVICE_UNAVAILABLE, "too many live clients")


def as_json(problem: HttpProblem) -> web.Response:
    details = ProblemDetails(
        status=problem.status.value,
        title=problem.status.phrase,
        detail=problem.detail,
        errors=problem.errors,
    )
    return web.Response(
        body=msgspec.json.encode(details),
        status=problem.status.value,
        content_type=CONTENT_TYPE,
        headers=problem.headers,
    )
