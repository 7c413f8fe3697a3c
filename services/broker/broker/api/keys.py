"""Keys over HTTP, for admins, and the same for the command broker-keys (broker.api.admin_socket)."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from broker.api.access import principal_of
from broker.api.answers import KeyAnswer, KeysAnswer, NewKeyAnswer, RevokedKeyAnswer, errors
from broker.api.lean import LeanRoute
from broker.api.render import Json
from broker.api.state import broker_of
from broker.clock import iso
from broker.domain.limits import LIMIT_NAMES
from broker.errors import ConflictError
from broker.service.broker import Broker
from broker.service.keys import Held
from broker.wire.keys import CreateKey, KeyLimits, RotateKey

__all__ = ["key_json", "keys_json", "make_key", "revoke_key", "rotate_key", "router"]

router = APIRouter(route_class=LeanRoute, tags=["keys"])

ERRORS = errors(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503)
NO_STORE = {"Cache-Control": "no-store"}


@router.post("/keys", response_model=NewKeyAnswer, responses=ERRORS)
async def create(request: Request, body: CreateKey) -> Response:
    """Make a key. Its text is in this answer and nowhere else."""
    return Json(await make_key(_open_broker(request), body), headers=NO_STORE)


@router.get("/keys", response_model=KeysAnswer, responses=errors(401, 403, 409, 429, 503))
async def list_keys(request: Request) -> Response:
    """All keys, the oldest first, without their secrets."""
    return Json({"keys": keys_json(_open_broker(request))})


@router.get("/keys/{key_id}", response_model=KeyAnswer, responses=errors(401, 403, 404, 409, 422, 429, 503))
async def show(request: Request, key_id: str) -> Response:
    """One key, without its secret."""
    return Json(key_json(_open_broker(request).keys.find(key_id)))


@router.post("/keys/{key_id}/rotate", response_model=NewKeyAnswer, responses=ERRORS)
async def rotate(request: Request, key_id: str, body: RotateKey) -> Response:
    """Give a key a new secret; the present one stays good for a while. Its jobs stay its own."""
    return Json(await rotate_key(_open_broker(request), key_id, body), headers=NO_STORE)


@router.post("/keys/{key_id}/limits", response_model=KeyAnswer, responses=ERRORS)
async def limits(request: Request, key_id: str, body: KeyLimits) -> Response:
    """Set a key's own limits."""
    return Json(key_json(await _open_broker(request).keys.set_limits(key_id, body.record())))


@router.delete("/keys/{key_id}", response_model=RevokedKeyAnswer, responses=errors(401, 403, 404, 409, 422, 429, 503))
async def revoke(
    request: Request,
    key_id: str,
    evict: Annotated[bool, Query(description="Also put out the nodes that joined with it.")] = False,
) -> Response:
    """End a key for good. Its jobs run on; admins see them."""
    return Json(await revoke_key(_open_broker(request), key_id, evict=evict, by=principal_of(request).id))


async def make_key(broker: Broker, wish: CreateKey) -> dict[str, Any]:
    """Make a key; the answer has its text."""
    held, text = await broker.keys.create(wish.name, wish.role, wish.expires_in, wish.limits.record())
    return {**key_json(held), "key": text}


async def rotate_key(broker: Broker, key_id: str, wish: RotateKey) -> dict[str, Any]:
    """Give a key a new secret; the answer has its text."""
    held, text = await broker.keys.rotate(key_id, wish.grace_seconds)
    return {**key_json(held), "key": text}


async def revoke_key(broker: Broker, key_id: str, *, evict: bool, by: str | None = None) -> dict[str, Any]:
    """End a key, and the sessions of nodes that joined with it if wanted."""
    held = await broker.keys.revoke(key_id)
    evicted = await broker.nodes.evict(key_id, by) if evict else []
    return {**key_json(held), "evicted_nodes": evicted}


def keys_json(broker: Broker) -> list[dict[str, Any]]:
    """All keys as they may be shown."""
    broker.keys.date_uses()
    return [key_json(held) for held in broker.keys]


def key_json(held: Held) -> dict[str, Any]:
    """A key as it may be shown."""
    key = held.key
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "created_at": iso(key.created_at),
        "expires_at": iso(key.expires_at),
        "revoked_at": iso(key.revoked_at),
        "last_used_at": iso(key.last_used_at),
        "old_secret_until": iso(key.old_until),
        "limits": {name: getattr(held.limits, name) for name in LIMIT_NAMES},
    }


def _open_broker(request: Request) -> Broker:
    """The broker, if it asks for keys: else a stranger could make one today and use it when it does."""
    broker = broker_of(request)
    if broker.settings.auth != "required":
        raise ConflictError(
            "This broker asks for no keys (BROKER_AUTH=off), so everybody could make one: use the command broker-keys."
        )
    return broker
