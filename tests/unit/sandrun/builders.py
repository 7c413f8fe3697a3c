"""Records with sensible values, and a sandbox without any kernel behind it."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sandrun.jobs.job import Job, new_job_id
from sandrun.jobs.manifest import Manifest, parse_manifest
from sandrun.languages import LANGUAGES, Interpreter
from sandrun.platform import Platform
from sandrun.sandbox.files import write_files
from sandrun.sandbox.launcher import LaunchError, Measure, ProgramEnd, TreeUsage
from sandrun.sandbox.procfs import ProcessStat
from sandrun.sandbox.spec import MIB, InputFile, Limits, SandboxSpec
from sandrun.selftest.report import Layer, Report
from sandrun.settings import Settings

LIMITS = Limits(
    timeout=10.0,
    memory_bytes=64 * MIB,
    cpu_seconds=None,
    processes=16,
    open_files=64,
    file_size_bytes=8 * MIB,
    disk_bytes=8 * MIB,
    inodes=1000,
    output_bytes=1 * MIB,
    output_keep_bytes=64 * 1024,
)

NOTHING_USED = Measure(
    cpu_seconds=0.01, memory_bytes=1 * MIB, tasks=1, disk_bytes=0, inodes=0, disk_full=False, memory_exceeded=False
)

SETTINGS = Settings(slots=2, memory_mb=0, default_memory_mb=512, max_memory_mb=2048)


def a_manifest(settings: Settings = SETTINGS, **fields: Any) -> Manifest:
    import json

    return parse_manifest(json.dumps(fields), settings)


def a_job(
    *, files: Sequence[InputFile] = (InputFile("main.py", b"pass"),), client: str = "127.0.0.1", **fields: Any
) -> Job:
    return Job(
        id=new_job_id(),
        client=client,
        manifest=a_manifest(**fields),
        entrypoint="main.py",
        interpreter="python3",
        job_hash="0" * 64,
        files=files,
    )


def a_process(pid: int, **changed: Any) -> ProcessStat:
    base = ProcessStat(
        pid=pid,
        state="R",
        parent=1,
        own_ticks=0,
        children_ticks=0,
        threads=1,
        started=pid,
        address_bytes=0,
        resident_bytes=0,
        wait_status=0,
    )
    return replace(base, **changed)


@dataclass
class FakeSandbox:
    """Satisfies `launcher.Sandbox`: a script of what the program prints, uses and ends with."""

    prints: bytes = b""
    complains: bytes = b""
    end: ProgramEnd | None = field(default_factory=lambda: ProgramEnd(exit_code=0))  # None: runs until killed
    measures: list[Measure] = field(default_factory=list)
    usage: TreeUsage | None = field(default_factory=lambda: TreeUsage(0.02, 2 * MIB))
    leaves: dict[str, bytes] = field(default_factory=dict)
    on_go: Callable[[FakeSandbox], None] | None = None
    killed: bool = False
    closed: bool = False

    def __post_init__(self) -> None:
        self.stdout_fd, self.stdout_end = os.pipe()
        self.stderr_fd, self.stderr_end = os.pipe()
        os.set_blocking(self.stdout_fd, False)
        os.set_blocking(self.stderr_fd, False)
        self.ended_fd = os.eventfd(0)
        self._directory = tempfile.TemporaryDirectory()
        self.job_fd = os.open(self._directory.name, os.O_RDONLY | os.O_DIRECTORY)
        self.files: Sequence[InputFile] = ()

    def go(self) -> None:
        write_files(self.job_fd, self.files)
        for path, content in self.leaves.items():
            Path(self._directory.name, path).write_bytes(content)
        self.say(self.prints)
        os.write(self.stderr_end, self.complains)
        if self.on_go is not None:
            self.on_go(self)
        if self.end is not None:
            os.eventfd_write(self.ended_fd, 1)

    def say(self, data: bytes) -> None:
        os.write(self.stdout_end, data)

    def finish(self, end: ProgramEnd) -> None:
        self.end = end
        os.eventfd_write(self.ended_fd, 1)

    def measure(self) -> Measure:
        return self.measures.pop(0) if len(self.measures) > 1 else (self.measures or [NOTHING_USED])[0]

    def program_end(self) -> ProgramEnd:
        assert self.end is not None
        return self.end

    def kill(self) -> None:
        if not self.killed:
            self.killed = True
            os.close(self.stdout_end)
            os.close(self.stderr_end)

    def reap(self, deadline_seconds: float) -> TreeUsage | None:
        return self.usage

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.kill()
            for fd in (self.stdout_fd, self.stderr_fd, self.ended_fd, self.job_fd):
                os.close(fd)
            self._directory.cleanup()


class FakeLauncher:
    """Satisfies `launcher.Launcher`; `program` decides what each job does, by the bytes of its entrypoint."""

    tier = "namespaces"

    def __init__(self, program: Callable[[bytes], FakeSandbox] | None = None) -> None:
        self.program = program or (lambda code: FakeSandbox(prints=code))
        self.started: list[SandboxSpec] = []
        self.sandboxes: list[FakeSandbox] = []
        self.fails: str | None = None

    def start(self, spec: SandboxSpec) -> FakeSandbox:
        if self.fails is not None:
            raise LaunchError(self.fails)
        self.started.append(spec)
        sandbox = self.program(spec.files[0].data if spec.files else b"")
        sandbox.files = spec.files
        self.sandboxes.append(sandbox)
        return sandbox


HOLDS = Report([Layer("all of it", True, "said so by a test")])
BROKEN = Report([Layer("namespaces", False, "said so by a test", "mend the test")])


def a_platform(launcher: FakeLauncher | None = None, report: Report = HOLDS) -> Platform:
    interpreters = {language.name: Interpreter(language, language.places[0], "1.0") for language in LANGUAGES}
    return Platform(launcher or FakeLauncher(), interpreters, report, "watchdog")


KILLED = signal.SIGKILL


@contextlib.contextmanager
def cancel_descriptor() -> Any:
    fd = os.eventfd(0)
    try:
        yield fd
    finally:
        os.close(fd)
