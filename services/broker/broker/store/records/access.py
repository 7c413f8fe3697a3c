"""Keys, and what their owners have and use."""

from dataclasses import dataclass

__all__ = ["Holding", "Key", "UsageRow"]


@dataclass(frozen=True, slots=True)
class Key:
    """A key as stored; `limits` is JSON text of the limits that differ from the settings'."""

    id: str
    name: str
    role: str
    secret_hash: str
    old_hash: str | None
    old_until: float | None
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None
    limits: str | None


@dataclass(frozen=True, slots=True)
class Holding:
    """What one owner has in the broker."""

    owner: str
    unfinished: int
    pending: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one owner's attempts with one outcome used on one day (UTC, YYYY-MM-DD)."""

    day: str
    owner: str
    outcome: str
    count: int
    cpu_seconds: float
    wall_seconds: float
    memory_mb_seconds: float
    bytes_in: int
    bytes_out: int
