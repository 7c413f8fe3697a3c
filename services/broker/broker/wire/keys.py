"""What admins send about keys, and everybody about logins."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from broker.domain.limits import Limits
from broker.domain.principal import Role

__all__ = ["CreateKey", "KeyLimits", "LogIn", "RotateKey"]

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)

KeyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@/-]{0,99}$")]
"""Letters, digits, blanks and . _ @ / -, so that no log line, terminal or spreadsheet takes it for something else."""
Most = Annotated[int, Field(strict=True, ge=0, le=2**53)]


class KeyLimits(BaseModel):
    """Limits of one key: null for the settings' value, 0 for none."""

    model_config = _STRICT

    submissions_per_minute: Most | None = None
    jobs_pending: Most | None = None
    jobs_unfinished: Most | None = None
    cpu_seconds_per_day: Most | None = None
    stored_bytes: Most | None = None

    def record(self) -> Limits:
        """As the domain has them."""
        return Limits(**self.model_dump())


class CreateKey(BaseModel):
    """A new key."""

    model_config = _STRICT

    name: KeyName
    role: Role = Role.CLIENT
    expires_in: float | None = Field(
        None, strict=True, gt=0, le=10 * 366 * 86400, description="Seconds; null for never."
    )
    limits: KeyLimits = Field(default_factory=KeyLimits)


class RotateKey(BaseModel):
    """A new secret for a key."""

    model_config = _STRICT

    grace_seconds: float = Field(
        3600, strict=True, ge=0, le=30 * 86400, description="How long the present secret stays good."
    )


class LogIn(BaseModel):
    """A login of the dashboard."""

    model_config = _STRICT

    key: str = Field(min_length=1, max_length=512)
