"""Limits of owners: what is held and used, counted as it is committed, and compared when jobs are submitted.

Everything is in memory and on the event loop. A submit reserves what it will take before it waits for the database, so
that many at a time cannot pass a limit together. Without keys nothing is counted.
"""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from broker.clock import Clock
from broker.domain.fairshare import FairShare
from broker.domain.limits import LIMIT_NAMES, Limits
from broker.domain.principal import Role
from broker.errors import LimitError, NotFoundError
from broker.service.keys import Keys
from broker.settings import Settings
from broker.store.changes import Owned
from broker.store.ops.usage import day_of
from broker.store.records.access import Holding, UsageRow
from broker.store.records.submission import NewJob

__all__ = ["Arrival", "Quotas", "Rates"]

DAY_SECONDS = 86_400
SOON_SECONDS = 5
"""When to try again where only the end of other jobs makes room."""


class Rates:
    """So many a minute of something, counted in memory (library `limits`, sliding window)."""

    def __init__(self) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._items: dict[int, RateLimitItemPerMinute] = {}

    def hit(self, kind: str, who: str, most: int, count: int = 1) -> bool:
        """Count; False, and nothing is counted, when it would be more than `most` a minute."""
        return self._limiter.hit(self._item(most), kind, who, cost=count)

    def seconds_left(self, kind: str, who: str, most: int) -> int:
        """When to try again."""
        reset = self._limiter.get_window_stats(self._item(most), kind, who).reset_time
        return max(1, min(60, math.ceil(reset - time.time())))

    def used(self, kind: str, who: str, most: int) -> int:
        """How many there were in the last minute."""
        return most - self._limiter.get_window_stats(self._item(most), kind, who).remaining

    def _item(self, most: int) -> RateLimitItemPerMinute:
        item = self._items.get(most)
        if item is None:
            item = self._items[most] = RateLimitItemPerMinute(most)
        return item


@dataclass(slots=True)
class _Account:
    """What one owner has and used."""

    unfinished: int = 0
    stored_bytes: int = 0
    day: int = 0
    cpu_seconds: float = 0.0
    """Of `day`."""


class Arrival:
    """Bytes of one upload that count as stored while it arrives, so that nobody sends what he may not keep, nor drives
    out others' files with it. Without an owner nothing is counted."""

    def __init__(self, account: _Account | None = None, most: int | None = None) -> None:
        self._account = account
        self._most = most
        self._counted = 0

    def expect(self, count: int) -> None:
        """Whether so much more may come. LimitError."""
        if self._account is not None and self._most and self._account.stored_bytes + count > self._most:
            raise _reached("stored_bytes", self._most, SOON_SECONDS)

    def grow(self, count: int) -> None:
        """So much more has come. LimitError."""
        self.expect(count)
        if self._account is not None:
            self._account.stored_bytes += count
            self._counted += count

    def over(self) -> None:
        """It is a job's now, or nobody's. Saying so again is harmless."""
        if self._account is not None:
            self._account.stored_bytes -= self._counted
            self._counted = 0


class Quotas:
    """Keeps accounts of owners."""

    def __init__(self, keys: Keys, fair: FairShare, clock: Clock, settings: Settings) -> None:
        self._keys = keys
        self._fair = fair
        self._clock = clock
        self._defaults = Limits(**{name: getattr(settings, f"limit_{name}") for name in LIMIT_NAMES})
        self._rates = Rates()
        self._accounts: dict[str, _Account] = {}

    def restore(self, holdings: Iterable[Holding], today: Iterable[UsageRow]) -> None:
        """Take up what the store knows at the start."""
        for holding in holdings:
            account = self._account(holding.owner)
            account.unfinished, account.stored_bytes = holding.unfinished, holding.stored_bytes
        day = self._day()
        for row in today:
            account = self._account(row.owner)
            account.day, account.cpu_seconds = day, account.cpu_seconds + row.cpu_seconds

    def take(self, changes: Iterable[Owned]) -> None:
        """Count what was committed."""
        day = self._day()
        for owner, unfinished, stored_bytes, cpu_seconds in changes:
            account = self._account(owner)
            account.unfinished += unfinished
            account.stored_bytes += stored_bytes
            if cpu_seconds:
                if account.day != day:
                    account.day, account.cpu_seconds = day, 0.0
                account.cpu_seconds += cpu_seconds

    def check(self, owner: str, count: int, new_bytes: int) -> None:
        """Whether an owner may submit so many jobs of so many bytes. LimitError names the limit that is reached."""
        limits = self.limits_of(owner)
        account = self._account(owner)
        cpu = account.cpu_seconds if account.day == self._day() else 0.0
        self._compare("jobs_pending", limits.jobs_pending, self._fair.pending(owner) + count)
        self._compare("jobs_unfinished", limits.jobs_unfinished, account.unfinished + count)
        self._compare("stored_bytes", limits.stored_bytes, account.stored_bytes + new_bytes)
        if limits.cpu_seconds_per_day and cpu >= limits.cpu_seconds_per_day:
            left = math.ceil(DAY_SECONDS - self._clock.now() % DAY_SECONDS)
            raise _reached("cpu_seconds_per_day", limits.cpu_seconds_per_day, left)
        most = limits.submissions_per_minute
        if most and not self._rates.hit("submissions_per_minute", owner, most, count):
            left = self._rates.seconds_left("submissions_per_minute", owner, most)
            raise _reached("submissions_per_minute", most, left)

    def arrival(self, owner: str | None) -> Arrival:
        """An upload that begins."""
        return Arrival() if owner is None else Arrival(self._account(owner), self.limits_of(owner).stored_bytes)

    def reserve(self, owner: str, jobs: Sequence[NewJob]) -> None:
        """These jobs are about to be stored."""
        account = self._account(owner)
        account.unfinished += len(jobs)
        account.stored_bytes += sum(job.stored_bytes for job in jobs)

    def give_back(self, owner: str, unfinished: int, stored_bytes: int) -> None:
        """So much of a reservation was not needed."""
        account = self._account(owner)
        account.unfinished -= unfinished
        account.stored_bytes -= stored_bytes

    def limits_of(self, owner: str) -> Limits:
        """What an owner may take: its key's own limits, else the settings'; admins have none but their own."""
        try:
            held = self._keys.find(owner)
        except NotFoundError:
            return self._defaults
        return held.limits if held.principal.role is Role.ADMIN else held.limits.over(self._defaults)

    def shown(self, owner: str) -> dict[str, dict[str, Any]]:
        """Limit -> {"limit": number or null, "used"}."""
        limits, account = self.limits_of(owner), self._account(owner)
        most = limits.submissions_per_minute
        used = {
            "submissions_per_minute": self._rates.used("submissions_per_minute", owner, most) if most else None,
            "jobs_pending": self._fair.pending(owner),
            "jobs_unfinished": account.unfinished,
            "cpu_seconds_per_day": round(account.cpu_seconds, 3) if account.day == self._day() else 0.0,
            "stored_bytes": account.stored_bytes,
        }
        return {name: {"limit": getattr(limits, name) or None, "used": used[name]} for name in LIMIT_NAMES}

    @property
    def today(self) -> str:
        """The UTC day, as usage rows name it."""
        return day_of(self._clock.now())

    def _account(self, owner: str) -> _Account:
        account = self._accounts.get(owner)
        if account is None:
            account = self._accounts[owner] = _Account()
        return account

    def _day(self) -> int:
        return int(self._clock.now() // DAY_SECONDS)

    @staticmethod
    def _compare(name: str, most: int | None, wanted: int) -> None:
        if most and wanted > most:
            raise _reached(name, most, SOON_SECONDS)


def _reached(name: str, most: int, retry_after: int) -> LimitError:
    return LimitError(name, f"The limit {name} of {most} is reached: try again in {retry_after} s.", retry_after)
