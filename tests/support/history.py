"""What every client and node asked and was told, in one append-only order: the evidence that the auditor judges.

The order of entries is the order in which requests were handed to the socket and answers taken from it (on one event
loop, or by threads under one lock): an answer recorded before a request was sent did come before it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Call:
    """One call and its answer. `status` is None when no answer came: nobody knows whether the broker did it."""

    actor: str
    verb: str
    request: dict[str, Any]
    sent_at: int
    answered_at: int | None = None
    status: int | None = None
    body: Any = None

    @property
    def ok(self) -> bool:
        """Whether it was answered with success."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that a scenario did to the broker: killed it, started it, moved its clock."""

    what: str
    at: int


@dataclass(frozen=True, slots=True)
class Notice:
    """A line that a node heard on its link."""

    actor: str
    line: dict[str, Any]
    at: int


class History:
    """Append-only; entries are numbered from 1 in the order in which they happened."""

    def __init__(self) -> None:
        self._entries: list[Call | Mark | Notice] = []
        self._clock = 0
        self._lock = threading.Lock()

    def sent(self, actor: str, verb: str, request: dict[str, Any]) -> Call:
        """A call is about to leave; hand the result to `answered` if an answer comes."""
        with self._lock:
            call = Call(actor, verb, request, self._tick())
            self._entries.append(call)
        return call

    def answered(self, call: Call, status: int, body: Any) -> None:
        """The call's answer was read."""
        assert call.answered_at is None, "an answer is recorded once"
        with self._lock:
            call.answered_at, call.status, call.body = self._tick(), status, body

    def mark(self, what: str) -> None:
        """Something was done to the broker."""
        with self._lock:
            self._entries.append(Mark(what, self._tick()))

    def heard(self, actor: str, line: dict[str, Any]) -> None:
        """A node read a line from its link."""
        with self._lock:
            self._entries.append(Notice(actor, line, self._tick()))

    def _tick(self) -> int:
        self._clock += 1
        return self._clock

    def calls(self, *verbs: str) -> Iterator[Call]:
        """The calls of these kinds, in the order of sending."""
        return (entry for entry in self._entries if isinstance(entry, Call) and entry.verb in verbs)

    def notices(self) -> Iterator[Notice]:
        """What nodes heard on their links."""
        return (entry for entry in self._entries if isinstance(entry, Notice))

    def in_order(self) -> list[tuple[int, Call | Notice, bool]]:
        """(moment, entry, whether it is the answer) by moment: a call appears when sent and when answered."""
        moments: list[tuple[int, Call | Notice, bool]] = []
        for entry in self._entries:
            if isinstance(entry, Call):
                moments.append((entry.sent_at, entry, False))
                if entry.answered_at is not None:
                    moments.append((entry.answered_at, entry, True))
            elif isinstance(entry, Notice):
                moments.append((entry.at, entry, False))
        moments.sort(key=lambda moment: moment[0])
        return moments

    def answers_5xx(self) -> list[Call]:
        """Calls answered with a server error other than 503."""
        return [
            entry
            for entry in self._entries
            if isinstance(entry, Call) and (entry.status or 0) >= 500 and entry.status != 503
        ]
