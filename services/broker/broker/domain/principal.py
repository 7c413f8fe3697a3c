"""Who calls: the holder of a key, or anybody when the broker asks for none."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["EVERYBODY", "NOBODY", "Principal", "Role"]


class Role(StrEnum):
    """What a key is for."""

    CLIENT = "client"
    """Submits jobs, and sees its own."""
    NODE = "node"
    """A join token: registers nodes, which then hold session secrets of their own."""
    METRICS = "metrics"
    """Reads GET /metrics, and nothing else: what a monitoring system is given."""
    ADMIN = "admin"
    """Sees and does everything that is not a node's."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller. `id` is what owns jobs: it stays the same when the key's secret is rotated; None without keys."""

    id: str | None
    role: Role

    @property
    def sees(self) -> str | None:
        """The owner whose jobs it may see; None: all of them."""
        return None if self.role is Role.ADMIN else self.id


EVERYBODY = Principal(None, Role.ADMIN)
"""Whoever calls a broker that asks for no keys."""
NOBODY = Principal("", Role.NODE)
"""Who showed no key on a call that needs none: owns nothing and sees no job."""
