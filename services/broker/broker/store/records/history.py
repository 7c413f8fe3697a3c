"""The life of a job that has ended, as far as its trace tells it: no code, no input, no output."""

from typing import NamedTuple

__all__ = ["History", "Part"]


class Part(NamedTuple):
    """One attempt; see records.attempt.Attempt."""

    fence: int
    number: int
    node_id: str
    claimed_at: float
    started_at: float | None
    ended_at: float | None
    outcome: str | None
    failure: str | None
    exit_code: int | None
    wall_seconds: float | None
    cpu_seconds: float | None
    memory_peak_bytes: int | None


class History(NamedTuple):
    """A job with all its attempts, oldest first."""

    id: str
    interpreter: str
    class_key: str
    priority: int
    status: str
    failure: str | None
    exit_code: int | None
    created_at: float
    completed_at: float
    cached: bool
    request_id: str | None
    parts: tuple[Part, ...]

    @property
    def ended_pending(self) -> bool:
        """Whether no node held it at its end."""
        return not self.parts or (self.parts[-1].ended_at or self.completed_at) < self.completed_at
