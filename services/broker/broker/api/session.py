"""The dashboard's login: the key goes in once, and a cookie that no script can read stands for it."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from broker.api.answers import WhoAnswer, errors
from broker.api.credentials import COOKIE, cookie_of, identify, slowed
from broker.api.lean import LeanRoute
from broker.api.render import Json
from broker.api.state import broker_of
from broker.domain.principal import Role
from broker.errors import BrokerError, LimitError, WrongRoleError
from broker.service.keys import Held
from broker.wire.keys import LogIn

__all__ = ["router"]

router = APIRouter(route_class=LeanRoute, tags=["keys"])

NO_STORE = {"Cache-Control": "no-store"}


@router.get("/session", response_model=WhoAnswer, responses=errors(503))
async def who(request: Request) -> Response:
    """Who calls, as far as the broker can tell: 200 also when nobody is logged in."""
    broker = broker_of(request)
    held = None
    if broker.settings.auth == "required":
        try:
            held = identify(request.scope, broker.keys, broker.logins).shown.held
        except BrokerError as error:
            if isinstance(limited := slowed(error, request.scope, broker), LimitError):
                raise limited from None
    return Json(_who(broker.settings.auth == "required", held), headers=NO_STORE)


@router.post("/session", response_model=WhoAnswer, responses=errors(400, 401, 403, 408, 413, 415, 422, 429, 503))
async def log_in(request: Request, body: LogIn) -> Response:
    """Log in with a key: the answer sets a cookie (HttpOnly, SameSite=Strict)."""
    broker = broker_of(request)
    if broker.settings.auth != "required":
        return Json(_who(False, None), headers=NO_STORE)
    try:
        shown = broker.keys.recognise(body.key)
        held = shown.held
        if held.principal.role not in (Role.CLIENT, Role.ADMIN):
            raise WrongRoleError(
                f"A key of role {held.principal.role} is not for people: log in with a key of role client or admin."
            )
    except BrokerError as error:
        raise slowed(error, request.scope, broker) from None
    if (old := cookie_of(request.scope)) is not None:
        broker.logins.end(old)
    value = broker.logins.begin(shown)
    response = Json(_who(True, held), headers=NO_STORE)
    _set_cookie(request, response, value, int(broker.settings.login_seconds))
    return response


@router.delete("/session", response_model=WhoAnswer, responses=errors(401, 403, 429, 503))
async def log_out(request: Request) -> Response:
    """Log out. Doing so again is harmless."""
    broker = broker_of(request)
    required = broker.settings.auth == "required"
    cookie = cookie_of(request.scope)
    if required and cookie is not None:
        try:
            identify(request.scope, broker.keys, broker.logins)
            broker.logins.end(cookie)
        except BrokerError as error:
            if error.reason == "cross_site":
                raise
    response = Json(_who(required, None), headers=NO_STORE)
    _set_cookie(request, response, "", 0)
    return response


def _set_cookie(request: Request, response: Response, value: str, seconds: int) -> None:
    # A proxy that speaks TLS says so. A stranger who says it harms nobody but himself.
    secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
    response.set_cookie(COOKIE, value, max_age=seconds, path="/", secure=secure, httponly=True, samesite="strict")


def _who(required: bool, held: Held | None) -> dict[str, Any]:
    if not required:
        return {"auth": False, "role": "admin", "name": None, "id": None}
    if held is None:
        return {"auth": True, "role": None, "name": None, "id": None}
    return {"auth": True, "role": held.key.role, "name": held.key.name, "id": held.key.id}
