"""What calls about keys, logins and usage answer."""

from pydantic import Field

from broker.api.answers.base import Answer

__all__ = [
    "KeyAnswer",
    "KeysAnswer",
    "NewKeyAnswer",
    "OwnerUsage",
    "RevokedKeyAnswer",
    "UsageAnswer",
    "UsageExportAnswer",
    "UsageLine",
    "UsedLimit",
    "WhoAnswer",
]


class KeyAnswer(Answer):
    """A key, without its secret."""

    id: str = Field(description="Names the owner of jobs; stays the same through rotations.")
    name: str
    role: str
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None = Field(description="Within half a minute; a crash of the broker forgets as much.")
    old_secret_until: str | None = Field(description="After a rotation: how long the secret before it stays good.")
    limits: dict[str, int | None] = Field(description="Its own; null: the settings', 0: none.")


class NewKeyAnswer(KeyAnswer):
    """A key with its text, which is shown once."""

    key: str


class RevokedKeyAnswer(KeyAnswer):
    """A key that is good no longer."""

    evicted_nodes: list[str]


class KeysAnswer(Answer):
    """All keys."""

    keys: list[KeyAnswer]


class WhoAnswer(Answer):
    """Who calls."""

    auth: bool = Field(description="Whether the broker asks for keys.")
    role: str | None
    name: str | None
    id: str | None


class UsedLimit(Answer):
    """A limit, and how much of it is used."""

    limit: int | None
    used: float | None


class UsageLine(Answer):
    """What attempts with one outcome used on one day (UTC); `submitted` and `cached` count jobs."""

    day: str
    owner: str
    name: str | None
    outcome: str
    count: int
    cpu_seconds: float
    wall_seconds: float
    memory_mb_seconds: float
    bytes_in: int
    bytes_out: int


class OwnerUsage(Answer):
    """One owner's limits and use."""

    owner: str
    name: str | None
    limits: dict[str, UsedLimit]
    today: list[UsageLine]


class UsageAnswer(Answer):
    """Limits and use: one's own; for admins everybody's."""

    metered: bool = Field(description="False without keys: then nobody owns a job.")
    owners: list[OwnerUsage]


class UsageExportAnswer(Answer):
    """Daily rows."""

    rows: list[UsageLine]
