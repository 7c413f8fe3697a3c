"""The names of a job's trace and of its spans, and what a span says.

All are made from the job's id and the fences of its claims: broker and nodes agree on them without telling each other,
a span can name its parent before that one has ended, and a broker that was restarted goes on in the same trace.
"""

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import NamedTuple

__all__ = ["Span", "parent_of", "span_id_of", "spread", "trace_id_of"]

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")
_LOW_56 = (1 << 56) - 1

Value = str | int | float | bool


class Span(NamedTuple):
    """A part of a job's life. Times are seconds since 1970 UTC."""

    name: str
    trace_id: int
    span_id: int
    parent_id: int | None
    began: float
    ended: float
    facts: Mapping[str, Value]
    failure: str | None = None
    """Why it failed; None: it did not."""
    marks: tuple[tuple[str, float], ...] = ()
    """Moments in it."""
    link: tuple[int, int] | None = None
    """Another trace's id and the id of a span in it."""


def trace_id_of(job_id: str) -> int:
    """128 bits: those of the id where it is a UUID, so that a job's trace is found by its id; else a hash of it."""
    if _UUID.fullmatch(job_id):
        return int(job_id.replace("-", ""), 16) or 1
    return int.from_bytes(blake2b(job_id.encode("utf-8", "surrogatepass"), digest_size=16).digest(), "big") or 1


def span_id_of(job_id: str, part: str, fence: int = 0) -> int:
    """64 bits. `part`: the span's name; `fence`: of the claim that it belongs to."""
    text = f"{job_id}\0{fence}\0{part}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big") or 1


def spread(trace_id: int) -> int:
    """A number for the SDK's samplers, which look at the lower 64 bits: the lower 56 of a trace id are random, the
    eight above them may be a UUID's variant."""
    return (trace_id & _LOW_56) << 8


def parent_of(header: bytes) -> tuple[int, int] | None:
    """The trace and the span that a traceparent header names (W3C Trace Context); None when it is not one."""
    found = _PARENT.fullmatch(header)
    if found is None or (header.startswith(b"00") and len(header) != 55):
        return None
    trace_id, span_id = int(found[1], 16), int(found[2], 16)
    return (trace_id, span_id) if trace_id and span_id else None
