"""What the catalogue is made of: a case is one idea of an attacker, an attack is that idea in one language.

The files in `cases/` hold only data of these types. Two runners use them: pytest (test_*.py, on the real node image)
and the command line (`python -m hostile`, against any deployment).
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

#: The verdict of a program that ended with exit code 0; every other verdict is a word of `execution_metadata.failure`.
COMPLETED = "completed"
#: The service did not accept the upload: a 4xx answer with a JSON error.
REFUSED = "refused"
#: Every way to end that is a result; a hostile program never causes `platform`.
ANY_RESULT = (COMPLETED, "exit", "signal", "timeout", "cpu", "memory", "output", "disk", "processes")

#: Printed by a program that got where it must not get. Programs spell them so that their source does not hold the word.
BREACH_WORDS = ("REACHED", "ESCAPED", "STOLEN", "OUTLIVED")

INTERPRETERS = ("python3", "node", "bash", "ruby")
ENTRYPOINTS = {"python3": "main.py", "node": "main.js", "bash": "main.sh", "ruby": "main.rb"}

#: Seconds of wall clock a job gets unless its case says otherwise: short, because many attacks live until it ends.
WALL_SECONDS = 2
#: The same for one that ends by itself: a busy machine may take its time over it.
PATIENT_SECONDS = 40
#: MiB for the whole tree of a job unless its case says otherwise; node alone takes about 50.
MEMORY_MB = 128

Check = Callable[["Outcome"], str | None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the service said about one attack, in one shape for sandrun and broker."""

    verdict: str
    refusal: str = ""
    job_id: str = ""
    exit_code: int | None = None
    signal: int | None = None
    stdout: str = ""
    stderr: str = ""
    stdout_bytes: int | None = None
    stderr_bytes: int | None = None
    limit_hit: Mapping[str, Any] | None = None
    wall_seconds: float | None = None
    cpu_seconds: float | None = None
    memory_peak_bytes: int | None = None
    message: str = ""
    #: From the submission to the moment the client knew the verdict.
    seconds: float = 0.0
    #: Collected files by name, when the case asked for them: content of regular files as the download delivers it.
    files: Mapping[str, bytes] = field(default_factory=dict)
    #: Anything in the download that is no plain file or has a dangerous mode or name: one sentence each.
    odd_members: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Case:
    """One idea: why somebody would try it, how it looks in each language, and what must come of it."""

    name: str
    why: str
    programs: Mapping[str, str]
    #: Any of these is right. A case that allows several says so because the kernel, not the service, chooses.
    verdict: str | tuple[str, ...]
    #: Must be in standard output.
    prints: tuple[str, ...] = ()
    #: Must be neither in standard output nor in standard error.
    never: tuple[str, ...] = BREACH_WORDS
    checks: tuple[Check, ...] = ()
    #: Seconds; None: WALL_SECONDS. One that has to end by itself gets PATIENT_SECONDS at least.
    timeout: int | None = None
    memory_mb: int = MEMORY_MB
    #: Further fields of the manifest.
    manifest: Mapping[str, Any] = field(default_factory=dict)
    #: Further parts of the upload by file name (archives get unpacked); built when needed, as bombs cost time.
    uploads: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)
    #: Fetch the files that the job left behind.
    collect: bool = False
    #: Only in `make abuse`.
    slow: bool = False

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The allowed verdicts, always as a tuple."""
        return (self.verdict,) if isinstance(self.verdict, str) else self.verdict

    @property
    def wall_seconds(self) -> int:
        """What its job gets of wall clock."""
        seconds = WALL_SECONDS if self.timeout is None else self.timeout
        return seconds if "timeout" in self.verdicts else max(seconds, PATIENT_SECONDS)

    def attacks(self, group: str) -> Iterator[Attack]:
        """The case in each of its languages."""
        for interpreter, program in self.programs.items():
            yield Attack(case=self, group=group, interpreter=interpreter, program=textwrap.dedent(program).lstrip("\n"))


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One job to submit."""

    case: Case
    group: str
    interpreter: str
    program: str

    @property
    def id(self) -> str:
        """Unique name, as reports show it."""
        return f"{self.group}/{self.case.name}[{self.interpreter}]"

    def parts(self) -> dict[str, bytes]:
        """The upload: the program under its usual name, then what the case adds."""
        added = {name: build() for name, build in self.case.uploads.items()}
        return {ENTRYPOINTS[self.interpreter]: self.program.encode()} | added

    def manifest(self, marker: str) -> dict[str, Any]:
        """The manifest; `marker` goes into the environment so that leftover processes can be told whose they were."""
        fields: dict[str, Any] = {
            "entrypoint": ENTRYPOINTS[self.interpreter],
            "interpreter": self.interpreter,
            "timeout": self.case.wall_seconds,
            "memory_mb": self.case.memory_mb,
            "env": {"HOSTILE_MARKER": marker},
        }
        return fields | dict(self.case.manifest)


def everywhere(program: str) -> dict[str, str]:
    """The same text for every interpreter (archives that carry their own entrypoint, say)."""
    return dict.fromkeys(INTERPRETERS, program)
