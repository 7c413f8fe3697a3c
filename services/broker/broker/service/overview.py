"""The pool at a glance: one cheap answer from what is in memory, whatever the number of jobs."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from broker.clock import Clock, iso
from broker.domain.placement import JobClass
from broker.domain.words import JobStatus
from broker.service.links import Links
from broker.service.profiles import ProfileGroup
from broker.service.sessions import NodeSession, SessionBook
from broker.service.tally import Tally
from broker.store.base import Store

__all__ = ["Overview", "for_clients", "node_state"]

MAX_NODES = 60
"""Nodes that are told one by one; the rest is in the sums, and in GET /nodes."""
MAX_CLASSES = 24
"""Classes that are told one by one."""
LONGEST_WORD = 64
MAX_KINDS = 40
"""Different versions, tiers or interpreters that are counted apart."""
_TROUBLED_FIRST = {"silent": 0, "draining": 1, "active": 2}


class Overview:
    """Sums up nodes, queue and the last hour."""

    def __init__(self, store: Store, book: SessionBook, links: Links, tally: Tally, clock: Clock) -> None:
        self._store = store
        self._book = book
        self._links = links
        self._tally = tally
        self._clock = clock

    def take(self) -> dict[str, Any]:
        """All of it, ready to be sent."""
        now = self._clock.now()
        totals = self._store.totals()
        return {
            "time": iso(now),
            "jobs": {status.value: totals.get(status, 0) for status in JobStatus},
            "nodes": self._nodes(now),
            "queue": self._queue(now),
            "hour": self._tally.hour(now),
            "series": self._tally.series(now),
        }

    def _nodes(self, now: float) -> dict[str, Any]:
        states = Counter({"active": 0, "draining": 0, "silent": 0})
        kinds: dict[str, Counter[str]] = {"isolation": Counter(), "versions": Counter(), "interpreters": Counter()}
        slots = used = 0
        told: list[tuple[int, NodeSession, str]] = []
        for session in self._book:
            state = node_state(session, now)
            states[state] += 1
            told.append((_TROUBLED_FIRST[state], session, state))
            if state == "silent":
                continue
            slots += session.slots or 0
            used += min(session.held, session.slots or session.held)
            kinds["isolation"][_isolation(session) or "unknown"] += 1
            kinds["versions"][session.version or "unknown"] += 1
            kinds["interpreters"].update(session.group.profile.interpreters)
        told.sort(key=lambda item: item[0])  # stable: within a state the longest known first
        return {
            "known": len(told),
            **states,
            "slots": slots,
            "slots_used": used,
            **{name: dict(counts.most_common(MAX_KINDS)) for name, counts in kinds.items()},
            "list": [self._node(session, state, now) for _, session, state in told[:MAX_NODES]],
            "unlisted": max(0, len(told) - MAX_NODES),
        }

    def _node(self, session: NodeSession, state: str, now: float) -> dict[str, Any]:
        return {
            "id": session.node_id,
            "name": session.name,
            "state": state,
            "slots": session.slots,
            "held": session.held,
            "isolation": _isolation(session),
            "version": session.version,
            "linked": self._links.connected(session.node_id),
            "heartbeat_age": round(max(0.0, now - session.last_heartbeat), 1),
        }

    def _queue(self, now: float) -> dict[str, Any]:
        classes: dict[str, dict[int, int]] = {}
        for (class_key, priority), count in self._tally.pending.items():
            classes.setdefault(class_key, {})[priority] = count
        sums = {key: sum(counts.values()) for key, counts in classes.items()}
        shown = sorted(classes, key=lambda key: (-sums[key], key))[:MAX_CLASSES]
        groups = self._book.claiming_groups(now)
        return {
            "pending": sum(sums.values()),
            "classes": [_class(key, classes[key], sums[key], groups) for key in shown],
            "unlisted": len(classes) - len(shown),
            "priorities": _priorities(classes.values()),
        }


def _isolation(session: NodeSession) -> str | None:
    """A word, as nodes should say it; they may say anything."""
    said = session.capabilities.get("isolation")
    return said[:LONGEST_WORD] if isinstance(said, str) else None


def for_clients(overview: Mapping[str, Any]) -> dict[str, Any]:
    """The overview without what other clients wrote: the labels and regions that their jobs ask for."""
    queue = overview["queue"]
    classes = [{**of, "wishes": [wish for wish in of["wishes"] if _is_plain(wish)]} for of in queue["classes"]]
    return {**overview, "queue": {**queue, "classes": classes}}


def _is_plain(wish: str) -> bool:
    amount, _, unit = wish.partition(" ")
    return wish == "GPU" or (unit in ("MiB", "cores") and amount.replace(".", "").isdigit())


def node_state(session: NodeSession, now: float) -> str:
    """`silent` when its lease is over, `draining` when it gets no jobs, else `active`."""
    if not session.alive(now):
        return "silent"
    return "draining" if session.claims_nothing else "active"


def _class(key: str, counts: Mapping[int, int], total: int, groups: Sequence[ProfileGroup]) -> dict[str, Any]:
    of = JobClass.from_key(key)
    return {
        "interpreter": of.interpreter,
        "wishes": of.wishes,
        "runnable": any(group.can_run(key) for group in groups),
        "pending": total,
        "priorities": {str(priority): count for priority, count in sorted(counts.items())},
    }


def _priorities(classes: Iterable[Mapping[int, int]]) -> dict[str, int]:
    sums: Counter[int] = Counter()
    for counts in classes:
        sums.update(counts)
    return {str(priority): count for priority, count in sorted(sums.items())}
