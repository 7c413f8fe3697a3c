"""What identifies a job's work: the hash over its command and program."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

__all__ = ["job_hash"]


def job_hash(entrypoint: str, interpreter: str, environment: str, args: Sequence[str], program: bytes) -> str:
    """SHA-256, in hexadecimal, over `entrypoint|interpreter|environment|arg1|arg2|…|` and the entrypoint's bytes."""
    digest = hashlib.sha256()
    for part in (entrypoint, interpreter, environment, *args):
        digest.update(part.encode() + b"|")
    digest.update(program)
    return digest.hexdigest()
