"""What is kept of a file that a job left behind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["CollectedFile", "Dropped"]


@dataclass(frozen=True, slots=True)
class CollectedFile:
    """A copy of one output file: its content at `stored`, its identity in the other fields."""

    path: str  #: relative to the job's directory, `/` between its parts
    size: int
    sha256: str
    mime_type: str
    stored: Path


@dataclass(frozen=True, slots=True)
class Dropped:
    """A file that was not kept. `reason` is one word, such as too_large, too_many, link or unreadable."""

    path: str
    size: int | None
    reason: str
