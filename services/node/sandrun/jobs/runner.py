"""Running one job in a slot: sandbox, supervision, collecting, and nothing left over whatever happens."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from loglines import EventLog
from sandrun.jobs.job import Job
from sandrun.languages import Interpreter, search_path
from sandrun.sandbox.container import ContainerMemory
from sandrun.sandbox.launcher import Launcher, LaunchError, Sandbox
from sandrun.sandbox.rootfs import JOB_DIR, TMP_DIR, USER
from sandrun.sandbox.spec import Failure, Outcome, SandboxSpec
from sandrun.sandbox.supervise import Streams, supervise

__all__ = ["JobRunner"]

KERNEL_KILLED = "the kernel killed a process of the job because the node's container ran out of memory"

log = EventLog(__name__)

#: Dynamic loader settings would steer the shell at the gate too; `env` applies them to the program alone.
LOADER_PREFIX = "LD_"


@dataclass(frozen=True, slots=True)
class JobRunner:
    """Called by a slot's thread with each of its jobs."""

    launcher: Launcher
    interpreters: Mapping[str, Interpreter]
    collect: Callable[[Job, Sandbox], None]
    container: ContainerMemory | None = None

    def __call__(self, job: Job) -> Outcome:
        """Run the job to its end. The sandbox is gone when this returns; what is kept of its files is with the job."""
        try:
            sandbox = self.launcher.start(self._spec(job))
        except LaunchError as error:
            log.error("no sandbox could be built", **job.facts, error=error)
            return Outcome(failure=Failure.PLATFORM, message=f"the sandbox could not be built: {error}")
        try:
            streams = Streams(job.stdout, job.stderr, job.progress.announce, job.sampled)
            kills_before = self._container_kills()
            outcome = supervise(sandbox, job.manifest.limits, streams, job.open_cancel())
            job.close_cancel()
            self._blame_node(job, outcome, kills_before)
            self.collect(job, sandbox)
            return outcome
        finally:
            job.close_cancel()
            sandbox.kill()
            sandbox.close()

    def _container_kills(self) -> int:
        return self.container.oom_kills() if self.container is not None else 0

    def _blame_node(self, job: Job, outcome: Outcome, kills_before: int) -> None:
        """An end that the node caused is no verdict on the program."""
        if outcome.failure is Failure.CANCELLED and job.evicted is not None:
            outcome.failure, outcome.message = Failure.PLATFORM, job.evicted
        killed = outcome.failure is Failure.SIGNAL and outcome.signal == signal.SIGKILL
        if killed and self._container_kills() > kills_before:
            outcome.failure, outcome.message = Failure.PLATFORM, KERNEL_KILLED

    def _spec(self, job: Job) -> SandboxSpec:
        interpreter = self.interpreters[job.interpreter]
        limits = job.manifest.limits
        command = interpreter.command(job.entrypoint, job.manifest.args, limits.memory_bytes)
        env = {**interpreter.language.env, "LANG": "C.UTF-8", **job.manifest.env, **self._own_env()}
        loader = {name: value for name, value in env.items() if name.startswith(LOADER_PREFIX)}
        if loader:
            command = ("/usr/bin/env", *(f"{name}={value}" for name, value in loader.items()), *command)
        return SandboxSpec(
            command=command,
            env={name: value for name, value in env.items() if name not in loader},
            limits=limits,
            stdin=job.manifest.stdin,
            files=job.files,
        )

    def _own_env(self) -> dict[str, str]:
        """What a manifest cannot override."""
        return {
            "PATH": search_path(self.interpreters.values()),
            "HOME": JOB_DIR,
            "PWD": JOB_DIR,
            "TMPDIR": TMP_DIR,
            "USER": USER,
        }
