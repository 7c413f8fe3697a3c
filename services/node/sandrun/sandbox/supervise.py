"""Watching one job from its first instruction to its last process, and deciding how it ended.

The verdict comes from what this loop did and measured. What the program prints, its exit code and its timing change
nothing: a limit counts as hit when the supervisor saw it exceeded, and "killed by us" is known because we killed it.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from sandrun.sandbox.launcher import Measure, ProgramEnd, Sandbox
from sandrun.sandbox.output import OutputBuffer
from sandrun.sandbox.spec import MIB, Failure, LimitHit, Limits, Outcome

__all__ = ["Streams", "supervise"]

FIRST_SAMPLE_SECONDS = 0.005
#: A hog overshoots its limit by about 20 MB between two samples 10 ms apart, by 75 MB at 50 ms.
SAMPLE_SECONDS = 0.010
SLOWEST_SAMPLE_SECONDS = 0.100
#: Sampling may take this share of the thread's time, or a job with many processes would slow the whole service.
SAMPLE_SHARE = 0.1

READ_BYTES = 256 * 1024
READS_PER_TURN = 16  # then look at the clock, the limits and whether the job was cancelled
REAP_SECONDS = 20.0


@dataclass(slots=True)
class Streams:
    """Where a job's output goes, and who is told that there is more, or that there is a new sample."""

    stdout: OutputBuffer
    stderr: OutputBuffer
    on_output: Callable[[], None] = lambda: None
    on_sample: Callable[[Measure], None] = lambda measure: None

    @property
    def total(self) -> int:
        """Bytes printed on both."""
        return self.stdout.total + self.stderr.total


def supervise(sandbox: Sandbox, limits: Limits, streams: Streams, cancel_fd: int) -> Outcome:
    """Let the program go, watch it until it ends or must end, end all of its processes, and tell how it went.

    `cancel_fd` becoming readable cancels the job. Does not close the sandbox: its files are there to be collected.
    """
    run = _Run(sandbox, limits, streams, cancel_fd)
    return run.finish(run.watch())


class _Read(Enum):
    SOME = auto()  #: and there may be more
    NOTHING_NOW = auto()
    END = auto()  #: of the stream


@dataclass(slots=True)
class _Run:
    sandbox: Sandbox
    limits: Limits
    streams: Streams
    cancel_fd: int
    started: float = 0.0
    outcome: Outcome = field(default_factory=Outcome)
    open_streams: dict[int, OutputBuffer] = field(default_factory=dict)

    def watch(self) -> ProgramEnd | None:
        """Runs until the program has ended by itself (how is returned) or `outcome.failure` says why it must (None)."""
        self.open_streams = {
            self.sandbox.stdout_fd: self.streams.stdout,
            self.sandbox.stderr_fd: self.streams.stderr,
        }
        poll = select.poll()
        for fd in (*self.open_streams, self.sandbox.ended_fd, self.cancel_fd):
            poll.register(fd, select.POLLIN)
        self.sandbox.go()
        self.started = time.monotonic()
        next_sample = self.started + FIRST_SAMPLE_SECONDS
        end: ProgramEnd | None = None
        while self.outcome.failure is None:
            wake = min(next_sample, self.started + self.limits.timeout)
            ready = {fd for fd, _ in poll.poll(max(0.0, (wake - time.monotonic()) * 1000))}
            for fd in ready & self.open_streams.keys():
                if self._read(fd) is _Read.END:
                    poll.unregister(fd)
            now = time.monotonic()
            if self.sandbox.ended_fd in ready:
                self._sample()
                end = self.sandbox.program_end()
                break
            if self.cancel_fd in ready:
                self._end(Failure.CANCELLED)
            elif now >= self.started + self.limits.timeout:
                self._end(Failure.TIMEOUT, "timeout", self.limits.timeout, now - self.started)
            elif now >= next_sample:
                next_sample = self._sample_in_time(now)
        self.outcome.wall_seconds = time.monotonic() - self.started
        return end

    def finish(self, end: ProgramEnd | None) -> Outcome:
        """End what is left, read what is left in the pipes, and complete the outcome."""
        outcome = self.outcome
        self.sandbox.kill()
        usage = self.sandbox.reap(REAP_SECONDS)
        for fd in list(self.open_streams):
            while self._read(fd) is _Read.SOME:
                pass
        if usage is None:
            outcome.failure = Failure.PLATFORM
            outcome.message = "processes of the sandbox did not end after SIGKILL"
            return outcome
        outcome.cpu_seconds = max(outcome.cpu_seconds, usage.cpu_seconds)
        outcome.memory_peak_bytes = max(outcome.memory_peak_bytes, usage.memory_peak_bytes)
        self._judge_cpu(outcome.cpu_seconds)
        if end is None:
            outcome.signal = signal.SIGKILL
            return outcome
        outcome.exit_code, outcome.signal = end.exit_code, end.signal
        if outcome.failure is None and end.signal is not None:
            outcome.failure = Failure.SIGNAL
        elif outcome.failure is None and end.exit_code != 0:
            outcome.failure = Failure.EXIT
        return outcome

    def _read(self, fd: int) -> _Read:
        """Take what is there, a bounded amount, and end the job when it has printed too much."""
        buffer = self.open_streams[fd]
        result = _Read.SOME
        for _ in range(READS_PER_TURN):
            try:
                data = os.read(fd, READ_BYTES)
            except BlockingIOError:
                result = _Read.NOTHING_NOW
                break
            if not data:
                del self.open_streams[fd]
                result = _Read.END
                break
            buffer.append(data)
        self.streams.on_output()
        if self.streams.total > self.limits.output_bytes:
            self._end(Failure.OUTPUT, "output_mb", self.limits.output_bytes / MIB, self.streams.total / MIB)
        return result

    def _sample_in_time(self, now: float) -> float:
        """Take a sample; returns when the next is due, so that sampling keeps to its share."""
        self._sample()
        cost = time.monotonic() - now
        return now + min(max(SAMPLE_SECONDS, cost / SAMPLE_SHARE), SLOWEST_SAMPLE_SECONDS)

    def _sample(self) -> None:
        measure = self.sandbox.measure()
        self.streams.on_sample(measure)
        outcome = self.outcome
        outcome.cpu_seconds = max(outcome.cpu_seconds, measure.cpu_seconds)
        outcome.memory_peak_bytes = max(outcome.memory_peak_bytes, measure.memory_bytes)
        outcome.processes_peak = max(outcome.processes_peak, measure.tasks)
        self._judge(measure)

    def _judge(self, measure: Measure) -> None:
        limits = self.limits
        if measure.memory_exceeded:
            self._end(Failure.MEMORY, "memory_mb", limits.memory_bytes / MIB, measure.memory_bytes / MIB)
        elif measure.tasks > limits.processes:
            self._end(Failure.PROCESSES, "processes", limits.processes, measure.tasks)
        elif measure.disk_full or measure.disk_bytes > limits.disk_bytes:
            self._end(Failure.DISK, "disk_mb", limits.disk_bytes / MIB, measure.disk_bytes / MIB)
        elif measure.inodes > limits.inodes:
            self._end(Failure.DISK, "inodes", limits.inodes, measure.inodes)
        else:
            self._judge_cpu(measure.cpu_seconds)

    def _judge_cpu(self, seconds: float) -> None:
        limit = self.limits.cpu_seconds
        if limit is not None and seconds > limit:
            self._end(Failure.CPU, "cpu_seconds", limit, seconds)

    def _end(self, failure: Failure, name: str = "", value: float = 0, peak: float = 0) -> None:
        """Note why the job ends. The first reason stands; the peak of the same limit may still grow."""
        outcome = self.outcome
        if outcome.failure is None:
            outcome.failure = failure
        elif outcome.failure is not failure or outcome.limit_hit is None or outcome.limit_hit.name != name:
            return
        if name:
            outcome.limit_hit = LimitHit(name, value, round(peak, 3))
