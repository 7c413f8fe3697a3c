"""Routes that are declared like FastAPI's and served without its machinery.

FastAPI reads the endpoints' signatures for the OpenAPI document; requests take a shorter way, which makes three times
as many a second here (docs/adr/0012). An endpoint may take `request`, the path's parameters (text), query parameters
declared with Query, and one `body` that is a pydantic model; it returns a Response.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any, get_origin

from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError, create_model
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from broker.api.access import RULES, Rule
from broker.api.answers import errors
from broker.api.body import read_json
from broker.api.errors import error_response, validation_response
from broker.api.state import header_of

__all__ = ["LeanRoute", "takes_multipart"]

Endpoint = Callable[..., Awaitable[Response]]


def _refusals(method: str, path: str) -> Iterable[tuple[int | str, dict[str, Any]]]:
    """What the gate may answer before the endpoint is asked."""
    public = RULES.get((method, path)) is Rule.PUBLIC
    return errors(*((400, 429) if public else (400, 401, 403, 429))).items()


def takes_multipart(other: Endpoint) -> Callable[[Endpoint], Endpoint]:
    """Marks an endpoint whose multipart requests `other` serves, with the same parameters but the body."""

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.multipart = other  # type: ignore[attr-defined]  # read by _LeanEndpoint
        return endpoint

    return mark


class LeanRoute(APIRoute):
    """Give it to APIRouter(route_class=LeanRoute)."""

    app: ASGIApp
    may_wait: bool

    def __init__(self, path: str, endpoint: Endpoint, **options: Any) -> None:
        refusals = {code: said for method in options.get("methods") or () for code, said in _refusals(method, path)}
        options["responses"] = refusals | (options.get("responses") or {})
        super().__init__(path, endpoint, **options)
        self.app = lean = _LeanEndpoint(path, endpoint)
        self.may_wait = lean.may_wait
        """Whether a call can ask for an answer that comes later (`?wait=`)."""


class _LeanEndpoint:
    """An ASGI application for one endpoint. It answers every error by itself."""

    def __init__(self, path: str, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._path_names: list[str] = []
        queries: dict[str, Any] = {}
        self._body: type[BaseModel] | None = None
        for name, parameter in inspect.signature(endpoint, eval_str=True).parameters.items():
            if "{" + name + "}" in path or "{" + name + ":path}" in path:
                self._path_names.append(name)
            elif name == "body":
                self._body = parameter.annotation
            elif get_origin(parameter.annotation) is Annotated:
                default = ... if parameter.default is parameter.empty else parameter.default
                queries[name] = (parameter.annotation, default)
            elif name != "request":
                raise TypeError(f"{path}: cannot serve parameter {name}")
        self.may_wait = "wait" in queries
        self._multipart: Endpoint | None = getattr(endpoint, "multipart", None)
        self._query = create_model("Query", **queries) if queries else None
        self._query_defaults = {name: default for name, (_, default) in queries.items()}
        self._query_required = ... in self._query_defaults.values()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        response = await self._respond(request)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        where = "query"
        try:
            values: dict[str, Any] = {name: request.path_params[name] for name in self._path_names}
            if self._query is not None:
                values |= self._query_values(request)
            if self._multipart is not None and header_of(request, b"content-type").lower().startswith("multipart/"):
                where = "manifest"
                return await self._multipart(request, **values)
            if self._body is not None:
                where = "body"
                values["body"] = await read_json(request, self._body)
            return await self._endpoint(request, **values)
        except ValidationError as error:
            return validation_response(error, where)
        except Exception as error:
            return error_response(error)

    def _query_values(self, request: Request) -> dict[str, Any]:
        if self._query is None or not (request.scope["query_string"] or self._query_required):
            return self._query_defaults
        values = self._query.model_validate(dict(request.query_params))
        return {name: getattr(values, name) for name in self._query_defaults}
