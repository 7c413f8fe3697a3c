"""Time for the lease: a clock that also runs while the machine is suspended, and a stand-in point for tests."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where the agent reads the time."""

    def now(self) -> float:
        """Seconds since some fixed moment; never steps back, and counts suspend."""
        ...


class BootClock:
    """CLOCK_BOOTTIME: unlike CLOCK_MONOTONIC it goes on during suspend, so a lease cannot outlive a nap."""

    def now(self) -> float:
        """Seconds since boot."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)
