"""What can go wrong, in words. Each class's docstring is its default message; the API maps classes to status codes.

BrokerError
├── InvalidFieldError          a value that would be refused by its meaning, not its type
├── NotFoundError              UnknownJobError, UnknownNodeError
├── GoneError                  the result was deleted after RESULT_TTL
├── ConflictError              IdempotencyConflictError, SessionEndedError, StaleLeaseError, MissingArtifactsError
├── UnauthorizedError          MissingKeyError, UnknownKeyError, ExpiredKeyError, RevokedKeyError
├── ForbiddenError             WrongSecretError, WrongRoleError, CrossSiteError
├── LimitError                 a limit of the key or the address is reached
├── TooLargeError              ArtifactRefusedError: more bytes than a limit allows
├── StorageFullError           the room for files is used up
└── UnavailableError           OverloadedError, StoppingError, StoreBrokenError: try again later
"""

from collections.abc import Mapping
from typing import Any

__all__ = [
    "ArtifactRefusedError",
    "BrokerError",
    "ConflictError",
    "CrossSiteError",
    "ExpiredKeyError",
    "ForbiddenError",
    "GoneError",
    "IdempotencyConflictError",
    "InvalidFieldError",
    "LimitError",
    "MissingArtifactsError",
    "MissingKeyError",
    "NotFoundError",
    "OverloadedError",
    "RevokedKeyError",
    "SessionEndedError",
    "StaleLeaseError",
    "StartError",
    "StoppingError",
    "StorageFullError",
    "StoreBrokenError",
    "TooLargeError",
    "UnauthorizedError",
    "UnavailableError",
    "UnknownJobError",
    "UnknownKeyError",
    "UnknownNodeError",
    "WrongRoleError",
    "WrongSecretError",
]


class BrokerError(Exception):
    """Something went wrong."""

    reason: str | None = None
    """The word by which a program tells errors apart; None where the status code says enough."""
    facts: Mapping[str, Any] = {}
    """What else a program needs to know; goes into the answer beside the sentence."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)

    @property
    def message(self) -> str:
        """The sentence for a person."""
        return str(self.args[0])


class InvalidFieldError(BrokerError):
    """A field has a value that cannot be used."""

    def __init__(self, field: str, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.reason = reason


class NotFoundError(BrokerError):
    """Job not found"""


class UnknownJobError(NotFoundError):
    """The job is unknown: drop the result."""

    reason = "unknown_job"


class UnknownNodeError(NotFoundError):
    """The node is unknown: register again."""

    reason = "unknown_node"


class GoneError(BrokerError):
    """The job ended and its result was deleted after RESULT_TTL."""


class ConflictError(BrokerError):
    """The call does not fit the present state."""


class IdempotencyConflictError(ConflictError):
    """This Idempotency-Key was used before with another body: use a new key for a new request."""


class SessionEndedError(ConflictError):
    """Another session of this node began: end all runs and register again."""

    reason = "session_ended"


class StaleLeaseError(ConflictError):
    """The job is no longer this node's: drop the result."""

    reason = "stale_lease"


class MissingArtifactsError(ConflictError):
    """Some of these files were not sent: send what `missing` lists, then complete again."""

    reason = "missing_artifacts"

    def __init__(self, missing: tuple[str, ...]) -> None:
        super().__init__()
        self.facts = {"missing": list(missing)}


class ForbiddenError(BrokerError):
    """Not allowed."""


class WrongSecretError(ForbiddenError):
    """The node_id is known and its secret is another: register without node_id to become a new node."""

    reason = "wrong_secret"


class WrongRoleError(ForbiddenError):
    """This key is for something else."""

    reason = "wrong_role"


class CrossSiteError(ForbiddenError):
    """A login of the dashboard is good for its own pages only: other programs send Authorization: Bearer."""

    reason = "cross_site"


class UnauthorizedError(BrokerError):
    """This broker asks for a key."""

    reason = "unauthorized"


class MissingKeyError(UnauthorizedError):
    """This call needs a key: send the header Authorization: Bearer sbk_…"""

    reason = "missing_key"


class UnknownKeyError(UnauthorizedError):
    """The broker knows no such key."""

    reason = "unknown_key"


class ExpiredKeyError(UnauthorizedError):
    """The key has expired: ask for a new one."""

    reason = "key_expired"


class RevokedKeyError(UnauthorizedError):
    """The key was revoked."""

    reason = "key_revoked"


class LimitError(BrokerError):
    """A limit is reached: try again later."""

    reason = "limit"

    def __init__(self, limit: str, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds


class TooLargeError(BrokerError):
    """More than this broker takes."""


class ArtifactRefusedError(TooLargeError):
    """The file is too large."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class StorageFullError(BrokerError):
    """The broker's room for files is used up (BROKER_MAX_STORED_BYTES): try again later."""

    reason = "storage_full"


class UnavailableError(BrokerError):
    """The broker cannot serve this now: try again later."""

    retry_after_seconds = 1


class OverloadedError(UnavailableError):
    """Too much is waiting: try again later."""

    reason = "overloaded"


class StoppingError(UnavailableError):
    """The broker is stopping: try again in a moment."""

    reason = "stopping"
    retry_after_seconds = 2


class StoreBrokenError(UnavailableError):
    """The database did not take the change; nothing of it was kept. Try again later."""

    reason = "overloaded"


class StartError(BrokerError):
    """The broker cannot start."""
