"""What a sandrun says of itself in `GET /`: which extensions it has, what it can run, how it isolates."""

from dataclasses import dataclass, field
from typing import Any

LARGEST = 1 << 53  # no slots or MiB are more


@dataclass(frozen=True)
class Description:
    """What a sandrun says of itself in `GET /`."""

    extensions: frozenset[str] = frozenset()
    interpreters: dict[str, str] = field(default_factory=dict)
    version: str | None = None
    isolation: str | None = None
    slots: int | None = None
    max_memory_mb: int | None = None
    ready: bool = True
    """False when it says that it cannot isolate a job, and so runs none."""
    problem: str = ""
    environments: tuple[str, ...] = ()
    """Prepared environments that a job may name."""

    @property
    def foreign(self) -> bool:
        """True for a sandrun that lists no extension: the C++ program, with all that it does differently."""
        return not self.extensions

    @property
    def lacks(self) -> list[str]:
        """What a job may ask for and would not get here, in the job's own field names."""
        return (["env"] if self.foreign else []) + ([] if self.can("stdin") else ["stdin"])

    def can(self, *extensions: str) -> bool:
        """Whether all of these extensions are listed."""
        return self.extensions.issuperset(extensions)


def read_description(root: dict[str, Any]) -> Description:
    """Read `GET /`, taking nothing for granted."""
    slots = root.get("slots")
    interpreters = root.get("interpreters")
    if isinstance(interpreters, list):
        interpreters = dict.fromkeys(interpreters, "")
    return Description(
        extensions=frozenset(str(name) for name in _list(root.get("extensions"))),
        interpreters={str(k): str(v or "") for k, v in _dict(interpreters).items()},
        version=str(root["version"]) if root.get("version") else None,
        isolation=str(root["isolation"]) if root.get("isolation") else None,
        slots=_count(slots.get("total") if isinstance(slots, dict) else slots),
        max_memory_mb=_count(_dict(_dict(root.get("limits")).get("memory_mb")).get("max")),
        ready=root.get("status") != "unavailable",
        problem=str(root.get("error") or "")[:300],
    )


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _count(value: Any) -> int | None:
    """A whole number from 1; None for anything else, infinity too."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value < LARGEST:
        return None
    return int(value)
