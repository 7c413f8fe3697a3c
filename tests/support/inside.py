"""Runs a command in a container, and knows whether all that it printed has arrived."""

from __future__ import annotations

import secrets
from typing import NamedTuple

from docker.models.containers import Container

TRIES = 5
"""The engine loses what a short command printed about once in thousands of times; five times in a row it does not."""

# The mark comes last, so what stands before it is whole.
_MARKED = 'mark="$0"; "$@"; printf "%s%s" "$mark" "$?"'


class Said(NamedTuple):
    """What a command left: its exit code and what it wrote, whole."""

    code: int
    out: bytes
    err: bytes


def run_inside(container: Container, *command: str) -> Said:
    """Run it to its end; a command whose output the engine has lost runs once more, so it has to be repeatable.

    The engine may answer exit code 0 and no output for a command that printed something (moby issue 27289 and others).
    """
    for _ in range(TRIES):
        mark = secrets.token_hex(8)
        _, (out, err) = container.exec_run(["sh", "-c", _MARKED, mark, *command], demux=True)
        printed, found, code = (out or b"").rpartition(mark.encode())
        if found and code:
            return Said(int(code), printed, err or b"")
    raise OSError(f"the output of {command[:3]} in {container.name} was lost {TRIES} times")


def read_inside(container: Container, *command: str) -> bytes:
    """What it prints; a failure of the command is an error with its words."""
    said = run_inside(container, *command)
    if said.code != 0:
        raise OSError(f"{command[:3]} in {container.name} ended with {said.code}: {said.err.decode(errors='replace')}")
    return said.out
