"""From values to pages: the templates, the reader's language, and the files beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from typing import Any

import aiohttp_jinja2
import jinja2
from aiohttp import web
from msgspec import Struct

from gateway.console import advice, texts
from gateway.console.access import IDENTITY, RESPOND, SERVICE
from gateway.console.context import CONTEXT
from gateway.console.texts import LANGUAGES, Language, load_languages, negotiate
from gateway.model import Condition, DeviceKind

LANGUAGE_COOKIE = "kuzet_language"

_LANGUAGES = web.AppKey("LANGUAGES", Mapping[str, Language])

CONTENT_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


class Asset(Struct, frozen=True, kw_only=True):
    """A file of `static/`; `version` changes with its content, so that it may be kept for ever."""

    name: str
    content_type: str
    content: bytes
    version: str


def _assets() -> Mapping[str, Asset]:
    found = {}
    for file in (files(__package__) / "static").iterdir():
        content_type = CONTENT_TYPES.get("." + file.name.rpartition(".")[2])
        if content_type is not None:
            content = file.read_bytes()
            found[file.name] = Asset(
                name=file.name,
                content_type=content_type,
                content=content,
                version=sha256(content).hexdigest()[:12],
            )
    return found


ASSETS = web.AppKey("ASSETS", Mapping[str, Asset])


def setup(app: web.Application, timezone: str) -> None:
    """Reads catalogues, templates and static files; nothing is read later."""
    app[_LANGUAGES] = load_languages(timezone)
    app[ASSETS] = assets = _assets()
    environment = aiohttp_jinja2.setup(
        app,
        default_helpers=False,
        loader=jinja2.PackageLoader(__package__),
        extensions=["jinja2.ext.i18n"],
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.install_gettext_callables(  # type: ignore[attr-defined] # from the extension
        _gettext, _ngettext, newstyle=True
    )
    environment.globals.update(
        languages=LANGUAGES,
        texts=texts,
        reasons=advice.REASONS,
        advice=advice.ADVICE,
        Condition=Condition,
        DeviceKind=DeviceKind,
        respond=RESPOND,
        service=SERVICE,
        asset=lambda name: f"/static/{assets[name].version}/{name}",
    )
    for template in environment.list_templates():
        environment.get_template(template)


@jinja2.pass_context
def _gettext(page: jinja2.runtime.Context, text: str) -> str:
    language: Language = page["language"]
    return language.gettext(text)


@jinja2.pass_context
def _ngettext(page: jinja2.runtime.Context, one: str, many: str, count: int) -> str:
    language: Language = page["language"]
    return language.ngettext(one, many, count)


def language_of(request: web.Request) -> Language:
    code = negotiate(
        request.cookies.get(LANGUAGE_COOKIE),
        request.headers.get("Accept-Language", ""),
        request.app[CONTEXT].settings.locale,
    )
    return request.app[_LANGUAGES][code]


async def render(
    request: web.Request, template: str, *, status: int = 200, **values: Any
) -> web.Response:
    """A page or a part of one in the reader's language.

    In a thread: a list of devices takes 15 ms, and a press must not wait for it.
    """
    context = request.app[CONTEXT]
    shown = {
        "language": language_of(request),
        "gateway": context.settings.gateway,
        "timezone": context.settings.timezone,
        "now": context.clock.now(),
        "identity": request.get(IDENTITY),
        "here": request.path_qs,
        **values,
    }
    response = await asyncio.to_thread(
        aiohttp_jinja2.render_template,
        template,
        request,
        shown,
        status=status,
    )
    response.enable_compression()
    return response
