"""An ended job's output, by the bytes' offsets, so that a follower can go on in it where the live output stopped."""

import json
from typing import Any

from broker.domain.words import Failure
from broker.service.live.window import Piece
from broker.store.records.job import Result

__all__ = ["FinalStream", "final_streams"]

_WITHOUT_OUTPUT = frozenset(
    {Failure.NODE_LOST, Failure.PLATFORM, Failure.REJECTED, Failure.EXPIRED, Failure.VERIFICATION}
)
"""How the broker itself ends a job: there is no result that could go on where the live output stopped."""


class FinalStream:
    """Head and tail of a stream of `total` bytes; what lies between was cut by the sandbox."""

    def __init__(self, head: bytes, tail: bytes, total: int) -> None:
        self.total = max(total, len(head) + len(tail))
        self._pieces = [Piece(0, head), Piece(self.total - len(tail), tail)]

    def read(self, offset: int, limit: int) -> Piece | None:
        """See Source."""
        for piece in self._pieces:
            if piece.data and offset < piece.end:
                start = max(offset, piece.start)
                return Piece(start, piece.data[start - piece.start : start - piece.start + limit])
        return None


def final_streams(result: Result) -> dict[str, FinalStream]:
    """`stdout` and `stderr` of an ended job; none when it has no result of its own."""
    if result.job.failure in _WITHOUT_OUTPUT:
        return {}
    details: dict[str, Any] = json.loads(result.details) if result.details else {}
    return {
        "stdout": _stream(result.output, result.output_binary, details, "output"),
        "stderr": _stream(result.error, result.error_binary, details, "error"),
    }


def _stream(text: str, binary: bytes | None, details: dict[str, Any], name: str) -> FinalStream:
    """`binary`: the kept bytes when they are no UTF-8; `<name>_cut_at`: how many of them are the head."""
    kept = text.encode() if binary is None else binary
    total = details.get(f"{name}_bytes")
    if total is None or total == len(kept):
        return FinalStream(kept, b"", len(kept))
    cut_at = details.get(f"{name}_cut_at")
    if cut_at is None:  # an old node: where the cut lies in its text is not known
        return FinalStream(kept, b"", len(kept))
    if binary is not None:
        return FinalStream(kept[:cut_at], kept[cut_at:], total)
    # In text a line of words marks the cut; the tail is what is left of the true size.
    marker = len(kept) - cut_at
    tail = min(marker, _tail_size(kept, cut_at))
    return FinalStream(kept[:cut_at], kept[len(kept) - tail :] if tail else b"", total)


def _tail_size(kept: bytes, cut_at: int) -> int:
    """Bytes behind the marker, which stands on a line of its own at `cut_at`."""
    end = kept.find(b"]\n", cut_at)
    return len(kept) - end - 2 if end >= 0 else 0
