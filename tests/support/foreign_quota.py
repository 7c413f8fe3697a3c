"""How the stand-in for a foreign sandrun treats its clients: what it lets them do, and how it refuses."""

import time
from dataclasses import dataclass
from typing import Any


@dataclass
class Habits:
    """What it does to its clients. As a program each is an option: `--per-hour 1`. May change while it runs."""

    pause: float = 1.0  #: seconds that the loop sleeps
    max_active: int = 2  #: jobs of one client at once
    per_hour: int = 20  #: jobs of one client
    hour: float = 3600.0  #: seconds that its hour has
    cpu_seconds: float = 10.0  #: of one client in a minute
    lifetime: float = 300.0  #: seconds after which a job is forgotten
    environments: str = ""  #: names with commas between them


class Quota:
    """What one client may do: so many jobs at once, so many in an hour, so much CPU time in a minute."""

    def __init__(self, habits: Habits) -> None:
        self._habits = habits
        self._taken: list[float] = []
        self._used: list[tuple[float, float]] = []

    def take(self) -> None:
        """A job was accepted."""
        self._taken.append(time.monotonic())

    def use(self, cpu_seconds: float) -> None:
        """A job has used CPU time."""
        self._used.append((time.monotonic(), cpu_seconds))

    def used(self) -> float:
        """CPU seconds of the last minute."""
        now = time.monotonic()
        return sum(seconds for at, seconds in self._used if now - at < 60)

    def reason(self, active: int) -> str:
        """Why no job is taken now; empty when one is."""
        now = time.monotonic()
        if active >= self._habits.max_active:
            return f"Max concurrent jobs reached ({self._habits.max_active})"
        if sum(now - at < self._habits.hour for at in self._taken) >= self._habits.per_hour:
            return f"Max jobs per hour reached ({self._habits.per_hour})"
        return "CPU quota exhausted" if self.used() >= self._habits.cpu_seconds else ""

    def stats(self, active: int) -> dict[str, Any]:
        """`your_quota` of /stats."""
        used, reason = self.used(), self.reason(active)
        limit = self._habits.cpu_seconds
        known = {"used": used, "limit": limit, "available": max(0.0, limit - used), "active_jobs": active}
        return known | {"can_submit": not reason, "reason": reason}
