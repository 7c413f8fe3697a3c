"""What a backup is: a tar that begins with its manifest and ends with what became of it.

manifest.json               what made it, and of what
broker.db                   the database, as it was at one moment
webhook.secret              the key that signs webhooks, if the broker has made one
blobs/<ab>/<sha256>         each content that the database refers to
end.json                    without it the backup was cut short
"""

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from broker.errors import StartError

__all__ = [
    "BLOB",
    "DATABASE",
    "END",
    "MANIFEST",
    "WEBHOOK_SECRET",
    "End",
    "Manifest",
    "blob_name",
    "read",
    "to_json",
]

MANIFEST, DATABASE, WEBHOOK_SECRET, END = "manifest.json", "broker.db", "webhook.secret", "end.json"
BLOB = re.compile(r"blobs/([0-9a-f]{2})/(\1[0-9a-f]{62})")
FORM = 1
"""Raised when an older restore could not read what is written now."""


def blob_name(sha256: str) -> str:
    """A content's name in the tar."""
    return f"blobs/{sha256[:2]}/{sha256}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The first member. Times are seconds since 1970 UTC, sizes bytes."""

    version: str
    """Of the broker that made it."""
    made_at: float
    jobs: int
    database_bytes: int
    database_sha256: str
    form: int = FORM


@dataclass(frozen=True, slots=True)
class End:
    """The last member."""

    blobs: int
    blob_bytes: int
    damaged: list[str] = field(default_factory=list)
    """Contents that the database refers to and the disk no longer had whole; what there is of them is not restored."""


Part = TypeVar("Part", Manifest, End)


def to_json(part: Manifest | End) -> bytes:
    """A member's content."""
    return json.dumps(asdict(part), indent=1).encode()


def read(kind: type[Part], content: bytes) -> Part:
    """A member from its content. StartError when it is none, or one of a later form."""
    try:
        said: Any = json.loads(content)
        if said.get("form", FORM) > FORM:
            raise StartError(f"this backup was made by broker {said['version']}: restore it with that version")
        return kind(**said)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise StartError("this is no backup of a broker: its description cannot be read") from None
