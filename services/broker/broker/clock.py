"""The broker's time: UTC seconds that never step, so that no change of the machine's clock moves a lease."""

import time
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "SteadyClock", "iso"]


class Clock(Protocol):
    """Anything that tells the time."""

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        ...


class SteadyClock:
    """Wall time read once, plus the monotonic time since; never behind `at_least` (what the store saw last)."""

    def __init__(self, at_least: float = 0.0) -> None:
        self._offset = max(time.time(), at_least) - time.monotonic()

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return time.monotonic() + self._offset


def iso(seconds: float | None) -> str | None:
    """A moment as ISO 8601 in UTC, as the API shows it."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
