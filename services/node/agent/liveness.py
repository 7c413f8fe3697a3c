"""The health check of a container: the agent writes a small file, `--check` reads it.

Standard library only and few imports: the check runs every few seconds. The file lies in a folder that only this user
can enter; NODE_LIVE_FILE moves it (two agents of one user on one machine need two).
"""

import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

STALE_SECONDS = 15.0
WRITE_EVERY = 2.0


def default_path() -> Path:
    """Where the file lies unless NODE_LIVE_FILE says otherwise."""
    chosen = os.environ.get("NODE_LIVE_FILE")
    return Path(chosen) if chosen else Path(tempfile.gettempdir()) / f"sandrun-agent-{os.getuid()}" / "live.json"


def _now() -> float:
    # The boot clock, as the lease's: a file from before a suspend or a restart of the machine is never fresh.
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LiveFile:
    """The writing side. A file that cannot be written is reported once by the caller and otherwise ignored."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = ("", -1e9)
        self._lock = threading.Lock()
        self._removed = False

    def write(self, problem: str) -> None:
        """Say that the agent lives and what is wrong, "" for nothing. Written on a change and every WRITE_EVERY s."""
        with self._lock:
            said, when = self._last
            if not self._removed and not (said == problem and _now() - when < WRITE_EVERY):
                self._write(problem)

    def _write(self, problem: str) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"pid": os.getpid(), "written": _now(), "problem": problem}, file)
        fresh.replace(self._path)
        self._last = (problem, _now())

    def remove(self) -> None:
        """The agent is gone on purpose; nothing is written any more."""
        with self._lock:
            self._removed = True
            with contextlib.suppress(OSError):  # nor could it be written then, which was reported
                self._path.unlink()


def problem_of(path: Path) -> str:
    """What is wrong with the agent that writes `path`; "" when nothing is."""
    try:
        state = json.loads(path.read_text())
        age = _now() - float(state["written"])
        problem = str(state["problem"])
    except OSError:
        return "no agent runs here"
    except (ValueError, KeyError, TypeError):
        return f"{path} cannot be read"
    if not 0 <= age <= STALE_SECONDS:
        return f"the agent has not said anything for {age:.0f} s"
    return problem


def check() -> int:
    """Print what is wrong and return 1, or print `ok` and return 0."""
    problem = problem_of(default_path())
    sys.stdout.write((problem or "ok") + "\n")
    return 1 if problem else 0
