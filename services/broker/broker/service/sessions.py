"""The nodes that the broker knows, in memory: their sessions, leases, profiles and loads.

A heartbeat changes memory only; leases are written down now and then (`unsaved`), at latest at a quarter of their
length, so that a restarted broker knows who was alive.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from broker.domain.barring import barred_from
from broker.domain.placement import NodeProfile
from broker.domain.words import NodeEventKind
from broker.errors import MissingKeyError, SessionEndedError, UnknownNodeError
from broker.service.profiles import ProfileGroup, profile_of
from broker.store.records.node import Node, NodeEvent, NodeLease

__all__ = ["Crowd", "NodeSession", "SessionBook", "hash_token", "new_token"]

MOST_CAPABILITIES_CHARS = 16 * 1024 * 1024
"""JSON of what all nodes offer: in memory it takes up to twenty times as much."""
MAX_UNNOTED = 20
"""Events of one node that wait to be written down: they come a few a minute, or the node does something odd."""


def new_token() -> str:
    """A secret of 192 random bits."""
    return secrets.token_urlsafe(24)


def hash_token(token: str) -> str:
    """What is stored of a secret: it has too much randomness to be guessed from its hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(slots=True, eq=False)
class NodeSession:
    """A node in its present session."""

    node_id: str
    secret_hash: str
    session_hash: str
    number: int
    endpoint: str
    capabilities: dict[str, Any]
    group: ProfileGroup
    slots: int | None
    name: str | None
    version: str | None
    registered_at: float
    lease_until: float
    last_heartbeat: float
    draining: bool = False
    """The operator wants it to claim no more."""
    leaving: bool = False
    """The node itself said so."""
    held: int = 0
    """Attempts that it holds."""
    relieved: int = 0
    """How often it got room: a claim that found it full compares, lest it waits for what came while it asked."""
    last_granted: float = 0.0
    lapsed: bool = False
    """Its lease ended and its jobs were rescued."""
    claims_done: int = -1
    """The highest claim number that the node said it has done with: it would not know what such a claim gets."""
    unsaved: bool = False
    joined_with: str | None = None
    """The join token that the session began with."""
    unnoted: list[NodeEvent] = field(default_factory=list)
    """What happened and is not written down yet."""
    link_returned_at: float = float("-inf")
    """When its link last came back after a break."""

    @property
    def capacity(self) -> int | None:
        """Attempts that it may hold: its slots, and one ahead for each. None: an old node, which never said."""
        return None if self.slots is None else 2 * self.slots

    @property
    def load(self) -> float:
        """Attempts held per slot."""
        return self.held / (self.slots or 1)

    @property
    def claims_nothing(self) -> bool:
        """Whether it is to get no jobs."""
        return self.draining or self.leaving

    def may_have(self, class_key: str) -> bool:
        """Whether it could run the class and is not barred from it."""
        return self.group.can_run(class_key) and self.node_id not in barred_from(class_key)

    def alive(self, now: float) -> bool:
        """Whether its lease holds."""
        return self.lease_until > now

    def sign_of_life(self, now: float, lease_seconds: float) -> None:
        """Renew the lease."""
        self.lease_until = now + lease_seconds
        self.last_heartbeat = now
        if self.lapsed:
            self.note(NodeEventKind.RETURNED, now)
        self.lapsed = False
        self.unsaved = True

    def note(self, kind: NodeEventKind, now: float) -> None:
        """Something happened that no change in the store tells of; it is written down soon."""
        if len(self.unnoted) < MAX_UNNOTED:
            self.unnoted.append(NodeEvent(self.node_id, now, kind, self.number))


class Crowd:
    """Some of the nodes, counted by what they offer: could one of them take a class?"""

    def __init__(self, sessions: Iterable[NodeSession]) -> None:
        self._group_of = {session.node_id: session.group for session in sessions}
        self._sizes: dict[int, int] = {}
        for group in self._group_of.values():
            self._sizes[id(group)] = self._sizes.get(id(group), 0) + 1
        self.groups = list({id(group): group for group in self._group_of.values()}.values())
        """The different profiles among them."""

    def can_run(self, class_key: str) -> bool:
        """Whether a node that is not barred from the class offers what it asks for."""
        barred = [self._group_of[node_id] for node_id in barred_from(class_key) if node_id in self._group_of]
        return any(
            group.can_run(class_key) and self._sizes[id(group)] > sum(other is group for other in barred)
            for group in self.groups
        )


class SessionBook:
    """All nodes by id."""

    def __init__(self, *, strict: bool = False, most: int = 10_000) -> None:
        self._strict = strict
        """Whether every call must name its session."""
        self._most = most
        """Nodes that may be known."""
        self._chars: dict[str, int] = {}
        self._all_chars = 0
        self._sessions: dict[str, NodeSession] = {}
        self._groups: WeakValueDictionary[NodeProfile, ProfileGroup] = WeakValueDictionary()

    def __iter__(self) -> Iterator[NodeSession]:
        return iter(self._sessions.values())

    def __len__(self) -> int:
        return len(self._sessions)

    def find(self, node_id: str) -> NodeSession | None:
        """The node's present session."""
        return self._sessions.get(node_id)

    def session_of(self, node_id: str) -> int | None:
        """The number of a node's present session."""
        session = self._sessions.get(node_id)
        return session.number if session else None

    def slots_of(self, node_id: str) -> int | None:
        """The slots of a node; None when it never said, or is unknown."""
        session = self._sessions.get(node_id)
        return session.slots if session else None

    def check(self, node_id: str, token: str | None) -> NodeSession:
        """The session that a call comes from. UnknownNodeError, SessionEndedError."""
        session = self._sessions.get(node_id)
        if session is None:
            raise UnknownNodeError
        if token is None and self._strict:
            raise MissingKeyError("This is a node's call: its body needs the node's session.")
        if token is not None and not hmac.compare_digest(hash_token(token), session.session_hash):
            raise SessionEndedError
        return session

    @property
    def is_crowded(self) -> bool:
        """Whether silent nodes had better be forgotten soon."""
        return len(self._sessions) * 4 > self._most * 3 or self._all_chars * 4 > MOST_CAPABILITIES_CHARS * 3

    def has_room(self, node_id: str, chars: int) -> bool:
        """Whether a node may be known that offers so much (characters of JSON)."""
        before = self._chars.get(node_id, 0)
        if before:
            return chars <= before or self._all_chars - before + chars <= MOST_CAPABILITIES_CHARS
        return len(self._sessions) < self._most and self._all_chars + chars <= MOST_CAPABILITIES_CHARS

    def take(self, node: Node) -> NodeSession:
        """Put a stored node, or its new session, in the book."""
        session = NodeSession(
            node_id=node.id,
            secret_hash=node.secret_hash,
            session_hash=node.session_hash,
            number=node.session_number,
            endpoint=node.endpoint,
            capabilities=node.capabilities,
            group=self._group(profile_of(node.capabilities)),
            slots=node.slots,
            name=node.name,
            version=node.version,
            registered_at=node.registered_at,
            lease_until=node.lease_until,
            last_heartbeat=node.last_heartbeat,
            draining=node.draining,
            held=node.held,
            joined_with=node.joined_with,
        )
        self._sessions[node.id] = session
        self._count(node.id, len(json.dumps(node.capabilities)))
        return session

    def forget(self, node_id: str) -> None:
        """Drop a node from the book."""
        self._sessions.pop(node_id, None)
        self._count(node_id, 0)

    def _count(self, node_id: str, chars: int) -> None:
        self._all_chars += chars - self._chars.pop(node_id, 0)
        if chars:
            self._chars[node_id] = chars

    def live(self, now: float) -> list[NodeSession]:
        """Sessions whose lease holds."""
        return [session for session in self._sessions.values() if session.lease_until > now]

    def groups(self) -> list[ProfileGroup]:
        """The different profiles among all known nodes, dead ones included."""
        return list({id(session.group): session.group for session in self._sessions.values()}.values())

    def known(self) -> Crowd:
        """All nodes, dead ones included."""
        return Crowd(self._sessions.values())

    def claiming(self, now: float) -> Crowd:
        """Live nodes that may claim."""
        return Crowd(s for s in self._sessions.values() if s.lease_until > now and not s.claims_nothing)

    def claiming_groups(self, now: float) -> list[ProfileGroup]:
        """The different profiles among live nodes that may claim."""
        return self.claiming(now).groups

    def interpreters(self) -> set[str]:
        """Everything that some known node offers."""
        return set().union(*(group.profile.interpreters for group in self.groups()))

    def environments(self) -> set[str]:
        """Every prepared environment that some known node has."""
        return set().union(*(group.profile.environments for group in self.groups()))

    def unsaved_leases(self) -> list[NodeLease]:
        """What heartbeats changed since the last call."""
        leases = []
        for session in self._sessions.values():
            if session.unsaved:
                session.unsaved = False
                leases.append(NodeLease(session.node_id, session.lease_until, session.last_heartbeat))
        return leases

    def unnoted(self) -> list[NodeEvent]:
        """What happened to nodes since the last call, and no change in the store tells of."""
        events = []
        for session in self._sessions.values():
            if session.unnoted:
                events += session.unnoted
                session.unnoted = []
        return events

    def _group(self, profile: NodeProfile) -> ProfileGroup:
        group = self._groups.get(profile)
        if group is None:
            group = self._groups[profile] = ProfileGroup(profile)
        return group
