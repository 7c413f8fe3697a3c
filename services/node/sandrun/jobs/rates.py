"""What one client may use of this node. Off unless the operator sets it, and off for loopback, where the agent is."""

from __future__ import annotations

import ipaddress
import math
from collections import deque
from dataclasses import dataclass

from sandrun.settings import Settings

__all__ = ["Quota", "RateExceededError", "RateLimiter"]

HOUR_SECONDS = 3600.0
MINUTE_SECONDS = 60.0
MOST_CLIENTS = 10_000  # beyond it, those that were idle longest are forgotten


class RateExceededError(Exception):
    """This client has to wait. The text says for what."""

    def __init__(self, reason: str, retry_after: float, cpu_available: float, active_jobs: int) -> None:
        super().__init__(reason)
        self.retry_after = max(1, math.ceil(retry_after))
        self.cpu_available = cpu_available
        self.active_jobs = active_jobs


@dataclass(frozen=True, slots=True)
class Quota:
    """Where a client stands. Figures are CPU seconds in the last minute."""

    used: float
    limit: float | None
    reason: str | None  #: why it cannot submit now
    retry_after: float = 0.0

    @property
    def available(self) -> float:
        """What is left; without a limit a minute's worth of one CPU, for clients that expect a number."""
        return MINUTE_SECONDS if self.limit is None else max(0.0, self.limit - self.used)


class _Client:
    def __init__(self) -> None:
        self.submitted: deque[float] = deque()
        self.cpu: deque[tuple[float, float]] = deque()

    def forget_before(self, now: float) -> None:
        while self.submitted and now - self.submitted[0] >= HOUR_SECONDS:
            self.submitted.popleft()
        while self.cpu and now - self.cpu[0][0] >= MINUTE_SECONDS:
            self.cpu.popleft()


class RateLimiter:
    """Sliding windows for each client address. Used on the event loop only; `now` is monotonic."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clients: dict[str, _Client] = {}

    def quota(self, address: str, active_jobs: int, now: float) -> Quota:
        """Whether this client may submit, given how many of its jobs have not ended."""
        settings = self._settings
        if not self._limited(address):
            return Quota(0.0, None, None)
        client = self._client(address, now)
        used = sum(seconds for _, seconds in client.cpu)
        limit = settings.rate_cpu_per_minute or None
        if settings.rate_jobs and active_jobs >= settings.rate_jobs:
            return Quota(used, limit, f"{active_jobs} of {settings.rate_jobs} jobs at once are in use", 1.0)
        if settings.rate_jobs_per_hour and len(client.submitted) >= settings.rate_jobs_per_hour:
            wait = HOUR_SECONDS - (now - client.submitted[0])
            return Quota(used, limit, f"{settings.rate_jobs_per_hour} jobs in an hour are used up", wait)
        if limit is not None and used >= limit:
            wait = MINUTE_SECONDS - (now - client.cpu[0][0])
            return Quota(used, limit, f"{limit:g} CPU seconds in a minute are used up", wait)
        return Quota(used, limit, None)

    def check(self, address: str, active_jobs: int, now: float) -> None:
        """Raises RateExceededError when the client has to wait."""
        quota = self.quota(address, active_jobs, now)
        if quota.reason is not None:
            raise RateExceededError(
                f"rate limit: {quota.reason}", quota.retry_after, round(quota.available, 3), active_jobs
            )

    def submitted(self, address: str, now: float) -> None:
        """A job of this client was queued."""
        if self._limited(address):
            self._client(address, now).submitted.append(now)

    def used(self, address: str, cpu_seconds: float, now: float) -> None:
        """A job of this client has ended."""
        if self._limited(address):
            self._client(address, now).cpu.append((now, cpu_seconds))

    def _client(self, address: str, now: float) -> _Client:
        client = self._clients.pop(address, None) or _Client()
        client.forget_before(now)
        self._clients[address] = client  # last in order: most recently seen
        while len(self._clients) > MOST_CLIENTS:
            del self._clients[next(iter(self._clients))]
        return client

    def _limited(self, address: str) -> bool:
        settings = self._settings
        if not (settings.rate_jobs or settings.rate_jobs_per_hour or settings.rate_cpu_per_minute):
            return False
        try:
            return settings.rate_loopback or not ipaddress.ip_address(address).is_loopback
        except ValueError:
            return True
