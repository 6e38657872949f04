"""The console's server: builds the application and serves it until cancelled."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from http import HTTPStatus
from importlib.metadata import version
from urllib.parse import quote

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from gateway.console import rendering
from gateway.console.access import IDENTITY, SAFE_METHODS, from_own_page, identify
from gateway.console.api import OPENAPI
from gateway.console.board import Board
from gateway.console.bodies import MAX_BODY_BYTES, read_body, read_query
from gateway.console.context import (
    CONTEXT,
    ConsoleSettings,
    Context,
    DeviceDesk,
    Listen,
    Readiness,
)
from gateway.console.door import Door
from gateway.console.live import Feed
from gateway.console.openapi import describe
from gateway.console.problems import TOLD, HttpProblem, as_json, problem_of
from gateway.console.routes import API, MONITORING, PAGES, Route
from gateway.console.sessions import Sessions
from gateway.console.users import UserStore
from gateway.errors import KuzetError
from gateway.model import Alarm, Site
from gateway.ports import AlarmDesk, Clock, DeviceHealth, FleetView

log = logging.getLogger(__name__)
http_log = logging.getLogger("gateway.console.http")
"""What aiohttp logs of requests that it could not serve."""

SHUTDOWN_S = 1.0
"""For answers under way; aiohttp may take it twice, and the whole gateway has 10 s to stop."""
KEEPALIVE_S = 75.0

ROUTES = web.AppKey("ROUTES", dict[web.AbstractRoute, Route])

HEADERS = {
    # Not the versions of what we are made of.
    "Server": "kuzet",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": with that, browsers send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class CannotListen(KuzetError):
    """The address, or the certificate, cannot be used."""


class Console:
    """Pages, API, live feed and monitoring over HTTP.

    `sites` gives the inventory's sites, `in_test` the panic buttons in test mode and when each test
    ends; both are asked anew each time.
    `run` serves until cancelled; then streams are ended and answers under way get `SHUTDOWN_S`.
    """

    def __init__(
        self,
        *,
        settings: ConsoleSettings,
        fleet: FleetView,
        alarms: AlarmDesk,
        sites: Callable[[], Mapping[str, Site]],
        commands: DeviceDesk,
        health: Callable[[], Readiness],
        exposition: Callable[[], bytes],
        users: UserStore,
        clock: Clock,
        in_test: Callable[[], Mapping[str, datetime]] = dict,
    ) -> None:
        self._context = Context(
            settings=settings,
            fleet=fleet,
            alarms=alarms,
            sites=sites,
            commands=commands,
            health=health,
            exposition=exposition,
            users=users,
            clock=clock,
            sessions=Sessions(users, clock),
            door=Door(users, clock),
            board=Board(fleet, in_test, clock),
            feed=Feed(),
        )
        self._serving = asyncio.Event()
        self.address: Listen | None = None
        """Where the console listens; None until `serving`."""
        self.metrics_address: Listen | None = None
        """Where the second listener is, if there is one."""

    async def serving(self) -> None:
        """Returns once the addresses are bound and answer."""
        await self._serving.wait()

    @property
    def url(self) -> str:
        """The console's address for a browser on this machine. Only once `serving`."""
        if self.address is None:
            raise CannotListen("the console does not listen yet")
        scheme = "https" if self._context.settings.cert_file else "http"
        host = self.address.host
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.address.port}"

    async def run(self) -> None:
        """Raises CannotListen when an address is taken or a certificate is no good, ConfigError
        when the accounts cannot be read."""
        context, settings = self._context, self._context.settings
        context.users.list()
        tls = _tls(settings)
        apart = settings.metrics is not None
        context.feed.open()
        async with AsyncExitStack() as stack:
            stack.callback(self._serving.clear)
            stack.callback(context.alarms.watch(self._alarm_changed))
            stack.callback(context.fleet.watch(self._device_changed))
            console = _console_app(
                context, (*API, *PAGES) if apart else (*MONITORING, *API, *PAGES)
            )
            self.address = await _listen(stack, console, settings.listen, tls)
            if settings.metrics is not None:
                monitoring = _app(context, MONITORING)
                self.metrics_address = await _listen(stack, monitoring, settings.metrics, None)
            log.info("console listens: url=%s", self.url)
            self._serving.set()
            await asyncio.get_running_loop().create_future()

    def _alarm_changed(self, alarm: Alarm) -> None:
        self._context.feed.publish("alarm", alarm)

    def _device_changed(self, device: DeviceHealth) -> None:
        self._context.board.changed()
        self._context.feed.publish("device", device)


async def _listen(
    stack: AsyncExitStack, app: web.Application, listen: Listen, tls: ssl.SSLContext | None
) -> Listen:
    http_log.addFilter(_our_faults)
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=http_log,
        shutdown_timeout=SHUTDOWN_S,
        keepalive_timeout=KEEPALIVE_S,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, listen.host, listen.port, ssl_context=tls)
    try:
        await site.start()
    except OSError as error:
        where = f"{listen.host}:{listen.port}"
        raise CannotListen(f"cannot listen on {where}: {error.strerror}") from error
    host, port = runner.addresses[0][:2]
    return Listen(host=host, port=port)


def _our_faults(record: logging.LogRecord) -> bool:
    """Leaves out what is no HTTP: a stranger must not fill the log, 20 lines a request."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError)


def _tls(settings: ConsoleSettings) -> ssl.SSLContext | None:
    if settings.cert_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.cert_file, settings.key_file)
    except (OSError, ssl.SSLError) as error:
        raise CannotListen(f"the console's certificate cannot be used: {error}") from error
    return context


# --- the application -----------------------------------------------------------------------------


def _console_app(context: Context, routes: Sequence[Route]) -> web.Application:
    app = _app(context, routes)
    rendering.setup(app, context.settings.timezone)
    app[OPENAPI] = msgspec.json.encode(describe(routes, version("kuzet-gateway")))
    app.on_shutdown.append(_end_streams)
    return app


def _app(context: Context, routes: Iterable[Route]) -> web.Application:
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_tell_problems, _let_in])
    app[CONTEXT] = context
    app[ROUTES] = {}
    for route in routes:
        for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
            added = app.router.add_route(method, route.path, _handler(route))
            app[ROUTES][added] = route
    app.on_response_prepare.append(_add_headers)
    return app


def _handler(route: Route) -> Handler:
    """The route's handler, given what it takes."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if route.takes is None:
            return await route.handler(request)
        if route.method == "POST":
            return await route.handler(request, await read_body(request, route.takes))
        return await route.handler(request, read_query(request, route.takes))

    return handle


@web.middleware
async def _let_in(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Lets nobody through to anything, unless a route says that everybody or this role may."""
    route = request.app[ROUTES].get(request.match_info.route)
    identity = identify(request)
    if identity is not None:
        request[IDENTITY] = identity
    if route is not None and route.roles is None:
        return await handler(request)
    if identity is None:
        raise HttpProblem(
            HTTPStatus.UNAUTHORIZED,
            "sign in, or show a bearer token",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if route is not None and identity.role not in (route.roles or ()):
        raise HttpProblem(HTTPStatus.FORBIDDEN, f"a {identity.role} may not do this")
    if identity.by_cookie and request.method not in SAFE_METHODS and not from_own_page(request):
        raise HttpProblem(HTTPStatus.FORBIDDEN, "the request comes from another site")
    return await handler(request)


@web.middleware
async def _tell_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors as their reader wants them: a page for people, problem+json for programs."""
    try:
        return await handler(request)
    except TOLD as error:
        problem = problem_of(error)
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.warning("not done: %s %s: %s", request.method, request.path, error)
    if not _is_page(request):
        return as_json(problem)
    if problem.status is HTTPStatus.UNAUTHORIZED:
        target = quote(request.path_qs, safe="")
        return web.Response(status=303, headers={"Location": f"/sign-in?next={target}"})
    return await rendering.render(
        request, "problem.html", status=problem.status.value, problem=problem
    )


def _is_page(request: web.Request) -> bool:
    """Whether a person waits for a page. The parts of a page are fetched by its script."""
    programs = ("/api/", "/parts/", "/static/", "/healthz", "/readyz", "/metrics")
    return rendering.ASSETS in request.app and not request.path.startswith(programs)


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    # What was shown to one person is not for the next one at the same browser.
    response.headers.setdefault("Cache-Control", "no-store")


async def _end_streams(app: web.Application) -> None:
    app[CONTEXT].feed.close()
