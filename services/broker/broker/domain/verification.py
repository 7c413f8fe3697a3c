"""When the results of several nodes amount to one: the rules of `verify`.

A verified job runs on one node after the other. Each result, the program's failure as well as its success, has a
digest; as soon as `quorum` of them are equal that is how the job ends, and as soon as `replicas` results cannot bring
so many any more it has failed.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from broker.domain.retry import Again, Counters, Over
from broker.domain.words import Failure

__all__ = ["LARGEST", "SMALLEST", "Standing", "Word", "after_result", "default_quorum", "result_digest", "weigh"]

SMALLEST, LARGEST = 2, 9
"""Bounds of `replicas` and `quorum`."""


class Word(Enum):
    """What the results so far say."""

    OPEN = auto()
    """Another node has to run the job."""
    AGREED = auto()
    """So many are equal: the last result stands."""
    DISAGREED = auto()
    """So many can never be equal."""


@dataclass(frozen=True, slots=True)
class Standing:
    """`equal`: the most results that are the same."""

    word: Word
    results: int
    equal: int


def default_quorum(replicas: int) -> int:
    """More than half."""
    return replicas // 2 + 1


def weigh(replicas: int, quorum: int, digests: Sequence[str]) -> Standing:
    """What the results (their digests, each of another node, the newest last) amount to."""
    equal = max(Counter(digests).values())
    if digests.count(digests[-1]) >= quorum:
        word = Word.AGREED
    elif equal + replicas - len(digests) < quorum:
        word = Word.DISAGREED
    else:
        word = Word.OPEN
    return Standing(word, len(digests), equal)


def after_result(word: Word, counters: Counters, end: Over | None) -> Again | Over | None:
    """Decide whether the job runs again after a result. `end`: how it would end if the result counted by itself; None
    is success. A replica is no retry: it is not counted, and begins without delay."""
    if word is Word.AGREED:
        return end
    if word is Word.DISAGREED:
        return Over(Failure.VERIFICATION, counters.losses, counters.reruns)
    if counters.cancel_requested:
        return Over(Failure.CANCELLED, counters.losses, counters.reruns)
    return Again(0.0, counters.losses, counters.reruns)


def result_digest(
    verdict: str,
    exit_code: int | None,
    signal: int | None,
    streams: Sequence[tuple[bytes, int]],
    files: Sequence[tuple[str, str]],
    dropped: Sequence[tuple[str, int | None]],
) -> str:
    """SHA-256 of what makes two results the same one.

    `streams`: output and error as they are kept, with the number of bytes that were printed. `files`: path and SHA-256
    of what is kept; `dropped`: path and size of what is not. Times, usage, messages and the node are no part of it.
    """
    printed = [(hashlib.sha256(kept).hexdigest(), size) for kept, size in streams]
    parts = [
        verdict,
        exit_code,
        signal,
        printed,
        sorted(files),
        sorted(dropped, key=lambda file: (file[0], file[1] or 0)),
    ]
    text = json.dumps(parts, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
