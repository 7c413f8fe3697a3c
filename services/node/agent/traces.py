"""The names of a job's trace and of its spans, and what a span says.

All are made from the job's id and the fences of its claims, as the broker makes them (broker.domain.traces): so a span
of this node has a parent that nobody has told it of, and that has not ended yet.
"""

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import NamedTuple

__all__ = ["Span", "span_id_of", "spread", "trace_id_of"]

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
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
