"""Sessions: registering, heartbeats that reconcile, draining."""

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from broker.clock import Clock
from broker.domain.words import NodeEventKind
from broker.errors import InvalidFieldError, OverloadedError, UnknownNodeError, WrongSecretError
from broker.logs import EventLog
from broker.service.links import Link, Links
from broker.service.matching import ClaimQueue
from broker.service.sessions import NodeSession, SessionBook, hash_token, new_token
from broker.settings import Settings
from broker.store.base import Store
from broker.store.ops.keys import NO_HASH
from broker.store.records.attempt import HeldAttempt, Lost, Ref
from broker.store.records.node import Node, Registration
from broker.wire.nodes import Beat, Register
from broker.wire.nodes import Link as LinkCall

__all__ = ["Beaten", "Nodes", "Registered"]

log = EventLog(__name__)

MAX_CAPABILITIES_CHARS = 64 * 1024


@dataclass(frozen=True, slots=True)
class Registered:
    """What a node has to remember; `secret` only when the node is new."""

    node_id: str
    secret: str | None
    session: str
    at: float


@dataclass(frozen=True, slots=True)
class Beaten:
    """The answer to a heartbeat."""

    renewed: tuple[Ref, ...]
    lost: tuple[Lost, ...]
    cancel: tuple[Ref, ...]
    drain: bool


class Nodes:
    """The broker's side of a node's life."""

    def __init__(
        self, store: Store, book: SessionBook, queue: ClaimQueue, links: Links, clock: Clock, settings: Settings
    ) -> None:
        self._store = store
        self._book = book
        self._queue = queue
        self._links = links
        self._clock = clock
        self._settings = settings

    async def register(self, body: Register, joined_with: str | None = None) -> Registered:
        """Begin a session with a join token (its id); the node's earlier one ends and its jobs are rescued.
        WrongSecretError."""
        known = self._book.find(body.node_id) if body.node_id else None
        secret: str | None = None
        if known is None:
            node_id, secret = _newcomer(body.idempotency_key)
            known = self._book.find(node_id)  # it was here before, and the answer got lost
            said = secret
        else:
            node_id, said = known.node_id, body.secret or ""
        secret_hash = hash_token(said)
        if known is not None and not secrets.compare_digest(secret_hash, known.secret_hash):
            raise WrongSecretError
        capabilities = body.capabilities.model_dump(mode="json", exclude_unset=True)
        text = json.dumps(capabilities)
        if len(text) > MAX_CAPABILITIES_CHARS:
            raise InvalidFieldError("capabilities", f"capabilities has at most {MAX_CAPABILITIES_CHARS} characters.")
        if not self._book.has_room(node_id, len(text)):
            raise OverloadedError("Too many nodes are known (BROKER_MAX_NODES): silent ones are forgotten in a minute.")
        session, now = new_token(), self._clock.now()
        registration = Registration(
            node_id=node_id,
            secret_hash=secret_hash,
            session_hash=hash_token(session),
            endpoint=body.endpoint,
            capabilities=text,
            slots=body.slots,
            name=body.name,
            version=body.version,
            lease_until=now + self._settings.node_timeout,
            joined_with=joined_with,
            left=known is not None and known.leaving,
        )
        number, taken = await self._store.register(registration, now, self._settings.result_ttl)
        facts = {"slots": body.slots, "version": body.version, "key": joined_with, "attempts_taken_back": len(taken)}
        log.info("node registered", node=node_id, session=number, **facts)
        self._enter(registration, capabilities, number, known, now)
        return Registered(node_id, secret, session, now)

    def _enter(
        self, made: Registration, capabilities: dict[str, object], number: int, known: NodeSession | None, now: float
    ) -> None:
        self._links.end(made.node_id)
        self._book.take(
            Node(
                id=made.node_id,
                secret_hash=made.secret_hash,
                session_hash=made.session_hash,
                session_number=number,
                endpoint=made.endpoint,
                capabilities=capabilities,
                slots=made.slots,
                name=made.name,
                version=made.version,
                draining=known is not None and known.draining,
                registered_at=known.registered_at if known else now,
                last_heartbeat=now,
                lease_until=made.lease_until,
                joined_with=made.joined_with,
                jobs_completed=0,
                jobs_failed=0,
            )
        )
        self._queue.look_again(made.node_id)  # claims of the ended session return

    async def beat(self, body: Beat) -> Beaten:
        """Renew the lease; compare what the node holds with what it should. UnknownNodeError, SessionEndedError."""
        session = self._book.check(body.node_id, body.session)
        session.sign_of_life(self._clock.now(), self._settings.node_timeout)
        session.claims_done = max(session.claims_done, -1 if body.claims_done is None else body.claims_done)
        if session.leaving != body.draining:
            session.leaving = body.draining
            if body.draining:
                session.note(NodeEventKind.LEAVING, self._clock.now())
            self._queue.look_again(session.node_id)
        believed = {attempt.job_id: attempt for attempt in await self._store.held_by(session.node_id)}
        if body.held is None:
            renewed = tuple((a.job_id, a.fence) for a in believed.values())
            return Beaten(renewed, (), _to_cancel(believed.values()), session.draining)
        return await self._reconcile(session, body, believed)

    async def _reconcile(self, session: NodeSession, body: Beat, believed: dict[str, HeldAttempt]) -> Beaten:
        renewed: list[HeldAttempt] = []
        lost: list[Lost] = []
        for ref in body.held or ():
            attempt = believed.get(ref.job_id)
            if attempt is not None and attempt.fence == ref.fence:
                renewed.append(attempt)
            else:
                why = await self._store.why_lost(ref.job_id)
                lost.append(Lost(ref.job_id, ref.fence, why.reason))
        listed = {(ref.job_id, ref.fence) for ref in body.held or ()}
        missing = [
            (attempt.job_id, attempt.fence)
            for attempt in believed.values()
            if (attempt.job_id, attempt.fence) not in listed and _answered(attempt, body.claims_done)
        ]
        if missing:
            await self._store.release(session.node_id, missing, self._clock.now(), self._settings.result_ttl)
        return Beaten(
            tuple((attempt.job_id, attempt.fence) for attempt in renewed),
            tuple(lost),
            _to_cancel(renewed),
            session.draining,
        )

    async def evict(self, joined_with: str, by: str | None = None) -> list[str]:
        """End the sessions that began with a join token, for good, and take their jobs back; whose they were. `by`: the
        key that said so."""
        put_out = [session for session in self._book if session.joined_with == joined_with]
        names = [session.node_id for session in put_out]
        for session in put_out:
            session.session_hash = NO_HASH
            session.leaving = True
        await self._store.access.evict(names, self._clock.now(), self._settings.result_ttl, by)
        for session in put_out:
            session.lapsed = True
            log.info("node was put out", node=session.node_id, session=session.number, key=by)
            session.unsaved = False
            session.lease_until = min(session.lease_until, self._clock.now())
            self._links.end(session.node_id)
            self._queue.look_again(session.node_id)
        return names

    def link(self, body: LinkCall) -> Link:
        """Open the session's link, which is a sign of life too. UnknownNodeError, SessionEndedError."""
        session = self._book.check(body.node_id, body.session)
        session.sign_of_life(self._clock.now(), self._settings.node_timeout)
        return self._links.open(session)

    async def set_draining(self, node_id: str, draining: bool, by: str | None = None) -> NodeSession:
        """Let the node claim no more, or again, as a key (its id) said. UnknownNodeError."""
        session = self._book.find(node_id)
        if session is None:
            raise UnknownNodeError("Node not found")
        await self._store.set_draining(node_id, draining, self._clock.now(), by)
        session.draining = draining
        log.info("node was drained" if draining else "node was resumed", node=node_id, session=session.number, key=by)
        self._queue.look_again(node_id)
        self._links.tell(node_id, {"type": "drain" if draining else "resume"})
        return session


def _newcomer(key: str | None) -> tuple[str, str]:
    """Id and secret of a new node; the same ones for the same key, so nothing need be remembered of it."""
    if key is None:
        return f"node-{secrets.token_hex(8)}", new_token()
    return f"node-{hash_token(f'id {key}')[:16]}", hash_token(f"secret {key}")


def _answered(attempt: HeldAttempt, claims_done: int | None) -> bool:
    """Whether the node has had, or given up, the answer by which the attempt was granted."""
    return claims_done is not None and attempt.claim_number is not None and attempt.claim_number <= claims_done


def _to_cancel(attempts: Iterable[HeldAttempt]) -> tuple[Ref, ...]:
    return tuple((a.job_id, a.fence) for a in attempts if a.cancel_requested)
