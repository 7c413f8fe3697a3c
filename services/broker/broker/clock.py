"""The broker's time: UTC seconds that never step, so that no change of the machine's clock moves a lease."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from broker.failpoints import test_hook

__all__ = ["Clock", "SteadyClock", "iso", "make_clock"]


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


class ShiftedClock(SteadyClock):
    """For tests of the whole process: the wall clock at start is off by the seconds written in a file."""

    def __init__(self, shift_file: Path, at_least: float = 0.0) -> None:
        shift = float(shift_file.read_text(encoding="ascii").strip() or "0")
        super().__init__(0.0)
        self._offset = max(self._offset + shift, at_least - time.monotonic())


def make_clock(at_least: float) -> Clock:
    """The clock of this process; BROKER_TEST_CLOCK names a file with a shift in seconds, for tests only."""
    shift_file = test_hook("BROKER_TEST_CLOCK")
    return ShiftedClock(Path(shift_file), at_least) if shift_file else SteadyClock(at_least)


def iso(seconds: float | None) -> str | None:
    """A moment as ISO 8601 in UTC, as the API shows it."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
