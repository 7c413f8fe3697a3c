"""What nodes call (docs/node-protocol.md), and how operators see them."""

import asyncio
from base64 import b64decode
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from broker.api.access import principal_of
from broker.api.answers import (
    BeatAnswer,
    ClaimAnswer,
    CompleteAnswer,
    CompleteBatchAnswer,
    DrainAnswer,
    NodesAnswer,
    ProgressAnswer,
    RegisterAnswer,
    ReleaseAnswer,
    StartAnswer,
    errors,
)
from broker.api.lean import LeanRoute
from broker.api.render import Json, claimed_json, lost_json, ref_json
from broker.api.state import broker_of
from broker.clock import iso
from broker.errors import MissingArtifactsError, StaleLeaseError, UnknownJobError
from broker.service.links import Link as OpenLink
from broker.service.links import Links
from broker.service.live.book import Chunk
from broker.service.sessions import NodeSession
from broker.wire.nodes import Beat, Claim, Complete, CompleteBatch, Link, Progress, Register, Release, Start

__all__ = ["node_json", "router"]

router = APIRouter(route_class=LeanRoute, tags=["nodes"])

HEARTBEATS_PER_LEASE = 3
PING_SECONDS = 5
ERRORS = errors(400, 401, 403, 404, 408, 409, 413, 415, 422, 503)


@router.post("/register", response_model=RegisterAnswer, responses=ERRORS | errors(403))
async def register(request: Request, body: Register) -> Response:
    """Begin a session; without node_id, as a new node."""
    broker = broker_of(request)
    joined_with = principal_of(request).id
    made = await broker.nodes.register(body, joined_with)
    content: dict[str, Any] = {"node_id": made.node_id}
    if made.secret is not None:
        content["secret"] = made.secret
    lease = broker.settings.node_timeout
    return Json(
        {
            **content,
            "session": made.session,
            "lease_seconds": lease,
            "heartbeat_seconds": lease / HEARTBEATS_PER_LEASE,
            "link_grace_seconds": broker.settings.link_grace,
            "server_time": iso(made.at),
        }
    )


@router.post("/heartbeat", response_model=BeatAnswer, responses=ERRORS)
async def heartbeat(request: Request, body: Beat) -> Response:
    """Renew the lease, and compare what the node holds with what it should."""
    broker = broker_of(request)
    beaten = await broker.nodes.beat(body)
    return Json(
        {
            "status": "ok",
            "lease_seconds": broker.settings.node_timeout,
            "renewed": [ref_json(ref) for ref in beaten.renewed],
            "lost": [lost_json(lost) for lost in beaten.lost],
            "cancel": [ref_json(ref) for ref in beaten.cancel],
            "drain": beaten.drain,
            "follow": [asdict(order) for order in broker.live.orders(body.node_id)],
        }
    )


@router.post("/claim", response_model=ClaimAnswer, responses=ERRORS)
async def claim(request: Request, body: Claim) -> Response:
    """Ask for jobs, and wait up to `wait` seconds for the first."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    grant = await broker_of(request).claims.claim(body, gone)
    if not grant.jobs:
        return Json({"job": None, "jobs": [], "drain": True} if grant.drain else {"job": None, "jobs": []})
    jobs = [claimed_json(job) for job in grant.jobs]
    return Json({"job": jobs[0], "jobs": jobs})


@router.post("/start", response_model=StartAnswer, responses=ERRORS)
async def start(request: Request, body: Start) -> Response:
    """The programs run now."""
    lost = await broker_of(request).finishing.start(body)
    return Json({"status": "ok", "lost": [lost_json(item) for item in lost]})


@router.post("/progress", response_model=ProgressAnswer, responses=ERRORS)
async def progress(request: Request, body: Progress) -> Response:
    """Pass on what running programs print, of the jobs that somebody reads."""
    broker = broker_of(request)
    session = broker.book.check(body.node_id, body.session)
    unwanted = broker.live.take(
        session.node_id,
        (Chunk(c.job_id, c.fence, c.stream, c.offset, b64decode(c.data_base64)) for c in body.chunks),
    )
    return Json({"status": "ok", "stop": [ref_json(ref) for ref in unwanted]})


@router.post("/complete", response_model=CompleteAnswer, responses=ERRORS)
async def complete(request: Request, body: Complete) -> Response:
    """Deliver how an attempt ended."""
    (outcome,) = await broker_of(request).finishing.complete(body, [body])
    if outcome.word == "unknown_job":
        raise UnknownJobError
    if outcome.word == "missing_artifacts":
        raise MissingArtifactsError(outcome.missing)
    if outcome.word == "stale_lease":
        raise StaleLeaseError
    return Json({"status": "ok", "duplicate": True} if outcome.word == "duplicate" else {"status": "ok"})


@router.post("/complete/batch", response_model=CompleteBatchAnswer, responses=ERRORS)
async def complete_batch(request: Request, body: CompleteBatch) -> Response:
    """Deliver how several attempts ended; each is judged by itself."""
    outcomes = await broker_of(request).finishing.complete(body, body.completions)
    results = [
        {"job_id": o.job_id, "status": o.word} | ({"missing": list(o.missing)} if o.missing else {}) for o in outcomes
    ]
    return Json({"status": "ok", "results": results})


@router.post("/release", response_model=ReleaseAnswer, responses=ERRORS)
async def release(request: Request, body: Release) -> Response:
    """Hand attempts back unrun."""
    released = await broker_of(request).finishing.release(body)
    return Json({"status": "ok", "released": [ref_json(ref) for ref in released]})


@router.post(
    "/link", responses=ERRORS | {200: {"content": {"application/x-ndjson": {}}, "description": "Lines of JSON"}}
)
async def link(request: Request, body: Link) -> Response:
    """Open the connection that stays open: lines of JSON with news for the node."""
    broker = broker_of(request)
    return _LinkResponse(broker.links, broker.nodes.link(body))


class _LinkResponse(Response):
    """Streams a link's news until either side ends it."""

    def __init__(self, links: Links, link: OpenLink) -> None:
        super().__init__(media_type="application/x-ndjson")
        del self.headers["content-length"]
        self._links = links
        self._link = link

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reader = asyncio.ensure_future(_hangup(receive))
        writer = asyncio.ensure_future(self._stream(self._link, send))
        try:
            await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            reader.cancel()
            writer.cancel()
            self._links.broken(self._link)
        if writer.done() and not writer.cancelled():
            await send({"type": "http.response.body", "body": b""})

    async def _stream(self, link: OpenLink, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        news: dict[str, Any] | None = {"type": "hello"}
        while news is not None:
            await send({"type": "http.response.body", "body": to_json(news) + b"\n", "more_body": True})
            try:
                async with asyncio.timeout(PING_SECONDS):
                    news = await link.news.get()
            except TimeoutError:
                news = {"type": "ping"}


async def _hangup(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@router.get("/nodes", response_model=NodesAnswer, responses=errors(503))
async def nodes(request: Request) -> Response:
    """Every node that the broker knows."""
    queries = broker_of(request).queries
    found = await queries.nodes()
    return Json({"nodes": [node_json(s, done, failed, queries.is_alive(s)) for s, done, failed in found]})


@router.post("/nodes/{node_id}/drain", response_model=DrainAnswer, responses=errors(404, 422, 503))
async def drain(request: Request, node_id: str) -> Response:
    """Let a node claim no more."""
    await broker_of(request).nodes.set_draining(node_id, True, principal_of(request).id)
    return Json({"node_id": node_id, "draining": True})


@router.post("/nodes/{node_id}/resume", response_model=DrainAnswer, responses=errors(404, 422, 503))
async def resume(request: Request, node_id: str) -> Response:
    """Let a drained node claim again."""
    await broker_of(request).nodes.set_draining(node_id, False, principal_of(request).id)
    return Json({"node_id": node_id, "draining": False})


def node_json(session: NodeSession, completed: int, failed: int, alive: bool) -> dict[str, Any]:
    """A node as the list shows it."""
    return {
        "id": session.node_id,
        "endpoint": session.endpoint,
        "name": session.name,
        "version": session.version,
        "capabilities": session.capabilities,
        "slots": session.slots,
        "last_heartbeat": iso(session.last_heartbeat),
        "registered_at": iso(session.registered_at),
        "session_number": session.number,
        "jobs_completed": completed,
        "jobs_failed": failed,
        "jobs_held": session.held,
        "active": alive,
        "draining": session.claims_nothing,
    }
