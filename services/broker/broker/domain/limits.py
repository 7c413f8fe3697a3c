"""What one key may take: numbers, and None where nothing is said."""

import json
from dataclasses import asdict, dataclass, fields

__all__ = ["JOB_BYTES", "LIMIT_NAMES", "Limits"]

JOB_BYTES = 1024
"""What a job takes beside what it holds: its rows, and their places in indexes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one owner. In a key's own limits None stands for the settings' value; 0 stands for no limit."""

    submissions_per_minute: int | None = None
    """Jobs, not calls: a batch counts each of its jobs."""
    jobs_pending: int | None = None
    jobs_unfinished: int | None = None
    """Pending and held by nodes together, so that no more than this many ever run at a time."""
    cpu_seconds_per_day: int | None = None
    """CPU time of attempts that ended since midnight UTC."""
    stored_bytes: int | None = None
    """Inputs and results of jobs that are still kept, and JOB_BYTES for each."""

    @staticmethod
    def from_json(text: str | None) -> "Limits":
        """From what to_json made; names that are not known any more are passed over."""
        said = json.loads(text) if text else {}
        return Limits(**{name: said[name] for name in LIMIT_NAMES if name in said})

    def to_json(self) -> str | None:
        """As JSON text, without what is None; None of nothing."""
        said = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(said) if said else None

    def over(self, others: "Limits") -> "Limits":
        """These, and the others' where these say nothing."""
        mine, theirs = asdict(self), asdict(others)
        return Limits(**{name: theirs[name] if mine[name] is None else mine[name] for name in LIMIT_NAMES})


LIMIT_NAMES = tuple(one.name for one in fields(Limits))
