"""One node: all that the list says of it, its present session, what it holds, what happened to it and what it ran.

A client sees the pool, so that it can tell why its jobs wait; of jobs it sees its own only, and not who operates.
"""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from broker.api.access import principal_of
from broker.api.answers import NodePageAnswer, errors
from broker.api.errors import HttpError
from broker.api.lean import LeanRoute
from broker.api.nodes import node_json
from broker.api.render import Json, attempt_json
from broker.api.state import broker_of
from broker.clock import iso
from broker.domain.sentences import what_happened
from broker.domain.words import NodeEventKind
from broker.errors import NotFoundError, UnknownNodeError
from broker.service.broker import Broker
from broker.service.overview import node_state
from broker.service.sessions import NodeSession
from broker.store.node_log import Place
from broker.store.records.node import HeldByNode, NodeEvent

__all__ = ["router"]

router = APIRouter(route_class=LeanRoute, tags=["nodes"])

MAX_HELD = 500
_CURSOR = re.compile(r"(\d{1,12}(?:\.\d{1,20})?)_(\d{1,18})_(\d{1,18})", re.ASCII)


@router.get("/nodes/{node_id}", response_model=NodePageAnswer, responses=errors(404, 422, 503))
async def node(
    request: Request,
    node_id: str,
    limit: Annotated[int, Query(ge=1, le=500, description="Attempts in one answer.")] = 50,
    cursor: Annotated[str | None, Query(max_length=80, description="The page before's `next_cursor`.")] = None,
) -> Response:
    """A node with its session, what it holds, what happened to it (the last 200 events) and its attempts, the newest
    first. Clients see attempts of their own jobs only."""
    broker, principal = broker_of(request), principal_of(request)
    place = _place(cursor)
    session = broker.book.find(node_id)
    if session is None:
        raise UnknownNodeError("Node not found")
    completed, failed = (await broker.store.node_counters()).get(node_id, (0, 0))
    now, log = broker.clock.now(), broker.store.node_log
    events = await log.events(node_id)
    held = await log.held(node_id, MAX_HELD)
    attempts, following = await log.attempts(node_id, principal.sees, place, limit)
    return Json(
        {
            **node_json(session, completed, failed, session.alive(now)),
            "state": node_state(session, now),
            "linked": broker.links.connected(node_id),
            "session": _session_json(session, events, operator=principal.sees is None),
            "held": [_held_json(each) for each in held if principal.sees in (None, each.owner)],
            "history": [_event_json(broker, event, operator=principal.sees is None) for event in events],
            "attempts": [{"job_id": each.job_id, **attempt_json(each.attempt)} for each in attempts],
            "next_cursor": None if following is None else "_".join(map(repr, following)),
        }
    )


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise HttpError(422, "cursor must be the next_cursor of the page before.")
    return float(match[1]), int(match[2]), int(match[3])


def _session_json(session: NodeSession, events: list[NodeEvent], *, operator: bool) -> dict[str, Any]:
    began = (
        event.at
        for event in events
        if event.kind is NodeEventKind.SESSION_BEGAN and event.session_number == session.number
    )
    return {
        "number": session.number,
        "began_at": iso(next(began, None)),
        "lease_until": iso(session.lease_until),
        "joined_with": session.joined_with if operator else None,
        "drained": session.draining,
        "leaving": session.leaving,
        "capacity": session.capacity,
    }


def _held_json(held: HeldByNode) -> dict[str, Any]:
    return {
        "job_id": held.job_id,
        "status": held.status.value,
        "attempt": held.attempt,
        "fence": held.fence,
        "claimed_at": iso(held.claimed_at),
        "started_at": iso(held.started_at),
        "deadline_at": iso(held.deadline_at),
        "cancel_requested": held.cancel_requested,
    }


def _event_json(broker: Broker, event: NodeEvent, *, operator: bool) -> dict[str, Any]:
    return {
        "at": iso(event.at),
        "kind": event.kind.value,
        "session_number": event.session_number,
        "attempts": event.attempts,
        "reason": event.reason,
        "by": event.by if operator else None,
        "by_name": _name(broker, event.by) if operator and event.by else None,
        "text": what_happened(event.kind, event.reason, event.session_number, event.attempts),
    }


def _name(broker: Broker, key_id: str) -> str | None:
    try:
        return broker.keys.find(key_id).key.name
    except NotFoundError:
        return None
