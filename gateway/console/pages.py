"""The pages for people: the console, its parts that refresh themselves, and the sign-in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from math import ceil

from aiohttp import web

from gateway.console.access import SESSION_COOKIE, from_own_page
from gateway.console.bodies import PageQuery, reading
from gateway.console.context import CONTEXT
from gateway.console.door import TooManyTries
from gateway.console.problems import HttpProblem
from gateway.console.rendering import ASSETS, LANGUAGE_COOKIE, render
from gateway.console.sessions import SESSION_S
from gateway.console.texts import LANGUAGES
from gateway.console.views import DevicesView, address, alarms_view, devices_view

YEAR_S = 365 * 86_400


async def console(request: web.Request, asked: PageQuery) -> web.Response:
    alarms = alarms_view(request.app[CONTEXT])
    devices = await _devices(request, asked)
    return await render(request, "console.html", alarms=alarms, devices=devices, address=address)


async def alarms_part(request: web.Request) -> web.Response:
    return await render(request, "alarms.html", alarms=alarms_view(request.app[CONTEXT]))


async def devices_part(request: web.Request, asked: PageQuery) -> web.Response:
    devices = await _devices(request, asked)
    return await render(request, "devices.html", devices=devices, address=address)


async def _devices(request: web.Request, asked: PageQuery) -> DevicesView:
    context = request.app[CONTEXT]
    return await asyncio.to_thread(devices_view, context.board.picture(), context.sites(), asked)


# --- signing in and out --------------------------------------------------------------------------


async def sign_in_form(request: web.Request) -> web.Response:
    return await _sign_in_page(request, _local(request.query.get("next", "")))


async def sign_in(request: web.Request) -> web.Response:
    """Begins a session. The password must come from our own page too: else a stranger's page could
    sign a person in under the stranger's name."""
    form = await _form(request)
    name, password = _field(form, "name").strip(), _field(form, "password")
    target = _local(_field(form, "next"))
    context = request.app[CONTEXT]
    try:
        user = await context.door.enter(request.remote or "", name, password)
    except TooManyTries as error:
        response = await _sign_in_page(
            request, target, wait_min=ceil(error.wait_s / 60), status=HTTPStatus.TOO_MANY_REQUESTS
        )
        response.headers["Retry-After"] = str(ceil(error.wait_s))
        return response
    if user is None:
        return await _sign_in_page(request, target, wrong=True, status=HTTPStatus.UNAUTHORIZED)
    context.sessions.end(request.cookies.get(SESSION_COOKIE, ""))
    moved = _see_other(target)
    moved.set_cookie(
        SESSION_COOKIE,
        context.sessions.begin(user),
        max_age=int(SESSION_S),
        httponly=True,
        samesite="Strict",
        secure=request.secure,
    )
    return moved


async def sign_out(request: web.Request) -> web.Response:
    _must_be_ours(request)
    request.app[CONTEXT].sessions.end(request.cookies.get(SESSION_COOKIE, ""))
    moved = _see_other("/sign-in")
    moved.del_cookie(SESSION_COOKIE)
    return moved


async def _sign_in_page(
    request: web.Request,
    target: str,
    *,
    wrong: bool = False,
    wait_min: int = 0,
    status: HTTPStatus = HTTPStatus.OK,
) -> web.Response:
    return await render(
        request,
        "sign-in.html",
        status=status.value,
        target=target,
        wrong=wrong,
        wait_min=wait_min,
        no_accounts=not request.app[CONTEXT].users.list(),
    )


# --- language and files --------------------------------------------------------------------------


async def choose_language(request: web.Request) -> web.Response:
    form = await _form(request)
    code = _field(form, "language")
    if code not in LANGUAGES:
        raise HttpProblem(HTTPStatus.UNPROCESSABLE_ENTITY)
    moved = _see_other(_local(_field(form, "next")))
    moved.set_cookie(
        LANGUAGE_COOKIE,
        code,
        max_age=YEAR_S,
        httponly=True,
        samesite="Lax",
        secure=request.secure,
    )
    return moved


async def static_file(request: web.Request) -> web.Response:
    asset = request.app[ASSETS].get(request.match_info["name"])
    if asset is None:
        raise HttpProblem(HTTPStatus.NOT_FOUND)
    current = request.match_info["version"] == asset.version
    response = web.Response(
        body=asset.content,
        content_type=asset.content_type,
        charset="utf-8",
        headers={
            "Cache-Control": f"public, max-age={YEAR_S}, immutable" if current else "no-store"
        },
    )
    response.enable_compression()
    return response


# --- forms ---------------------------------------------------------------------------------------


async def _form(request: web.Request) -> Mapping[str, object]:
    """The fields of a form of ours. Raises HttpProblem 403, 408, 415 or 400."""
    _must_be_ours(request)
    if request.content_type != "application/x-www-form-urlencoded":
        raise HttpProblem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    try:
        async with reading():
            return await request.post()
    except (UnicodeDecodeError, LookupError):
        raise HttpProblem(HTTPStatus.BAD_REQUEST) from None


def _must_be_ours(request: web.Request) -> None:
    if not from_own_page(request):
        raise HttpProblem(HTTPStatus.FORBIDDEN, "the request comes from another site")


def _field(form: Mapping[str, object], name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else ""


def _local(target: str) -> str:
    """A path of ours: a link must not be able to send people to another site after sign-in."""
    # Browsers take "//host" and "/\\host" for another site's address.
    ours = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if ours else "/"


def _see_other(target: str) -> web.Response:
    return web.Response(status=HTTPStatus.SEE_OTHER.value, headers={"Location": target})
