"""The application: FastAPI for the documents and the odd request, a front door before it for everything known."""

from collections.abc import MutableMapping
from functools import partial
from typing import Any, NamedTuple

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from broker import __version__
from broker.api import (
    dashboard,
    files,
    health,
    info,
    job_input,
    jobs,
    keys,
    logs,
    metrics,
    node_page,
    nodes,
    overview,
    reference,
    session,
    transfers,
    usage,
    webhooks,
)
from broker.api.access import RULES, WEBSOCKET, Rule, rule_for
from broker.api.admin_socket import AdminSocket
from broker.api.around import Around
from broker.api.crowd import Crowd
from broker.api.errors import HttpError, error_response
from broker.api.gate import LONG_LIVED, AddressRate, Gate
from broker.api.lean import LeanRoute
from broker.api.origin import Origins
from broker.api.render import Json
from broker.api.stream import serve_stream
from broker.api.turns import Turns
from broker.errors import BrokerError, StartError, StoppingError
from broker.service.broker import Broker

__all__ = ["FrontDoor", "make_app"]

ALWAYS_SERVED = frozenset({"/health", "/ready"})
NO_SPANS_OF_FASTAPI = TelemetryConfig(
    tracing=False, metrics=False, logs=False, operation_spans=False, auto_configure=False
)
"""Whatever the environment says: they would hold bodies that were refused, and cost each call."""


def make_app(broker: Broker) -> "FrontDoor":
    """The ASGI application of a broker; its lifespan starts and stops the broker."""
    app = FastAPI(
        title="sandrun broker",
        version=__version__,
        summary="A durable queue for untrusted code.",
        redirect_slashes=False,
        docs_url=None,  # they load scripts from a CDN: broker.api.reference
        redoc_url=None,
        telemetry=NO_SPANS_OF_FASTAPI,
    )
    app.state.broker = broker
    modules = (
        webhooks,
        jobs,
        job_input,
        logs,
        files,
        nodes,
        node_page,
        transfers,
        info,
        overview,
        keys,
        session,
        usage,
        health,
        metrics,
        dashboard,
        reference,
    )
    routes = [route for module in modules for route in module.router.routes]
    for module in modules:
        app.include_router(module.router)
    app.add_exception_handler(HTTPException, _http_exception)
    return FrontDoor(app, broker, [route for route in routes if isinstance(route, LeanRoute)])


class _Known(NamedTuple):
    """What the front door knows of an endpoint."""

    name: str
    """What the metrics and the log call it."""
    rule: Rule | None
    lasts: bool
    """Its calls do."""
    waits: bool
    """They do when their query asks for it."""
    by_nodes: bool


_UNKNOWN = _Known("", None, False, False, False)


class FrontDoor:
    """Sends a request straight to its endpoint, by two dictionary look-ups. What it does not know goes to FastAPI: it
    serves the documents and answers 404."""

    def __init__(self, app: FastAPI, broker: Broker, routes: list[LeanRoute]) -> None:
        self.app = app
        self._broker = broker
        self._gate = Gate(broker) if broker.settings.auth == "required" else None
        self._addresses = AddressRate(broker.settings) if broker.settings.limit_calls_per_minute else None
        self._crowd = Crowd(broker.settings)
        self._socket = AdminSocket(broker)
        self._around = Around(broker)
        self._turns = Turns()
        settings = broker.settings
        self._origins = Origins(settings.allowed_hosts, any_name=settings.auth == "required" or settings.allow_open)
        self._fixed: dict[tuple[str, str], ASGIApp] = {}
        self._with_id: dict[tuple[str, str, str], tuple[ASGIApp, str]] = {}
        self._with_rest: dict[tuple[str, str], tuple[ASGIApp, str, str]] = {}
        self._known: dict[ASGIApp, _Known] = {}
        self._serve_http = partial(self._around.write, self._serve) if settings.access_log else self._serve
        self._methods = sorted({method for route in routes for method in route.methods or ()})
        for route in routes:
            for method in sorted(route.methods or ()):
                line = (method, route.path)
                rule = rule_for(*line)
                known = _Known(" ".join(line), rule, line in LONG_LIVED, route.may_wait, rule in (Rule.JOIN, Rule.NODE))
                if self._known.setdefault(route.app, known)[1:] != known[1:]:
                    raise LookupError(f"{route.path} needs one endpoint for each of its rules")
                first, parameter, last = _parts(route.path)
                if parameter is None:
                    self._fixed[method, route.path] = route.app
                elif last.startswith("{"):
                    self._with_rest[method, first] = (route.app, parameter, last[1:-1].removesuffix(":path"))
                else:
                    self._with_id[method, first, last] = (route.app, parameter)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the process."""
        if scope["type"] == "http":
            await self._serve_http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._around.serve_websocket(self._serve_websocket, scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, in one coroutine from the server to the endpoint: this is every call's way."""
        scope["app"], scope["broker"] = self.app, self._broker
        endpoint = self._find(scope, scope["method"], scope["path"])
        known = _UNKNOWN if endpoint is None else self._known[endpoint]
        send = self._around.noted(known.name, scope, send)
        try:
            # what is not there needs no key to be told so
            keyless = self._gate is not None and (endpoint is None or known.rule is Rule.PUBLIC)
            place = self._crowd.enter(scope, public=keyless)
        except BrokerError as error:
            await error_response(error)(scope, receive, send)
            return
        try:
            if known.by_nodes and not self._turns.take():
                await self._turns.wait()
            await self._checked(endpoint, known, scope)(scope, receive, send)
        finally:
            self._crowd.leave(place)

    def _checked(self, endpoint: ASGIApp | None, known: "_Known", scope: Scope) -> ASGIApp:
        """The endpoint of a request, or what tells why it is not served."""
        path: str = scope["path"]
        if self._broker.stopping and path not in ALWAYS_SERVED:
            response = error_response(StoppingError())
            response.headers["Connection"] = "close"
            return response
        try:
            self._origins.check(scope)
        except (HttpError, BrokerError) as error:
            return error_response(error)
        if endpoint is None:
            allowed = self._allowed(path)
            endpoint = _method_not_allowed(scope, allowed) if allowed else self.app
        if self._addresses is not None and (refused := self._addresses.refuse(scope)) is not None:
            return refused
        if self._gate is None:
            return endpoint
        rule = RULES.get((scope["method"], path)) if known.rule is None else known.rule
        if rule is not None:
            lasts = known.lasts or (known.waits and bool(scope["query_string"]))
            return partial(self._gate.pass_through, rule, lasts, endpoint)
        return _nothing_there(path) if endpoint is self.app else endpoint  # nothing that has no rule is served

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The one WebSocket that there is; all others are refused before they are opened (HTTP 403)."""
        try:
            place = self._crowd.enter(scope, public=False)
        except BrokerError as error:
            await error_response(error)(scope, receive, send)
            return
        try:
            await self._stream(scope)(scope, receive, send)
        finally:
            self._crowd.leave(place)

    def _stream(self, scope: Scope) -> ASGIApp:
        """What serves a WebSocket, or tells why it is not served."""
        first, _, job_id = scope["path"][1:].partition("/")
        if first != "stream" or not job_id or "/" in job_id or self._broker.stopping:
            return _no_such_websocket
        try:
            self._origins.check(scope)
        except (HttpError, BrokerError) as error:
            return error_response(error)
        endpoint: ASGIApp = partial(serve_stream, self._broker, job_id)
        if self._addresses is not None and (refused := self._addresses.refuse(scope)) is not None:
            return refused
        if self._gate is None:
            return endpoint
        return partial(self._gate.pass_through, rule_for(WEBSOCKET, "/stream/{job_id}"), True, endpoint)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Start the broker, say so, and stop it when the server has let go of its connections."""
        await receive()
        try:
            await self._broker.start()
        except StartError as error:
            await send({"type": "lifespan.startup.failed", "message": error.message})
            return
        await self._socket.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._socket.stop()
        await self._broker.stop()
        await send({"type": "lifespan.shutdown.complete"})

    def _allowed(self, path: str) -> list[str]:
        """The methods of a path. A fixed one (/results/batch) is not also an id (/results/{job_id}), and one that is
        named to its end is not also a rest."""
        first, _, rest = path[1:].partition("/")
        last = rest.partition("/")[2]
        fixed = [method for method in self._methods if (method, path) in self._fixed]
        named = [method for method in self._methods if last and (method, first, last) in self._with_id]
        return fixed or named or [method for method in self._methods if self._find({}, method, path)]

    def _find(self, scope: MutableMapping[str, Any], method: str, path: str) -> ASGIApp | None:
        """The endpoint of a fixed path, or of the form /first/{id}, /first/{id}/last or /first/{id}/{rest}."""
        endpoint = self._fixed.get((method, path))
        if endpoint is not None:
            return endpoint
        first, _, rest = path[1:].partition("/")
        value, _, last = rest.partition("/")
        found = self._with_id.get((method, first, last))
        if not value:
            return None
        if found is not None:
            scope["path_params"] = {found[1]: value}
            return found[0]
        wide = self._with_rest.get((method, first)) if last else None
        if wide is None:
            return None
        scope["path_params"] = {wide[1]: value, wide[2]: last}
        return wide[0]


def _parts(path: str) -> tuple[str, str | None, str]:
    """("status", "job_id", "") for /status/{job_id}."""
    first, _, rest = path[1:].partition("/")
    value, _, last = rest.partition("/")
    return (first, value[1:-1], last) if value.startswith("{") else (first, None, "")


async def _no_such_websocket(_: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 1008})


def _method_not_allowed(scope: Scope, allowed: list[str]) -> Response:
    names = ", ".join(allowed)
    return Json({"error": f"{scope['path']} takes {names}, not {scope['method']}."}, 405, {"Allow": names})


def _nothing_there(path: str) -> Response:
    return Json({"error": f"There is nothing at {path}; /docs lists what there is."}, 404)


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 404:
        return _nothing_there(path)
    if error.status_code == 405:
        return Json({"error": f"{path} does not take {request.method}."}, 405, dict(error.headers or {}))
    return Json({"error": str(error.detail)}, error.status_code, dict(error.headers or {}))
