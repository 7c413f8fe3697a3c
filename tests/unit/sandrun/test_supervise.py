"""The verdict is the supervisor's own: what it measured and did, never what a program claims."""

from __future__ import annotations

import os
import select
from dataclasses import replace
from types import SimpleNamespace

import pytest

from sandrun.sandbox.launcher import Measure, ProgramEnd, TreeUsage
from sandrun.sandbox.output import OutputBuffer
from sandrun.sandbox.spec import MIB, Failure, Limits, Outcome
from sandrun.sandbox.supervise import Streams, supervise
from unit.sandrun.builders import KILLED, LIMITS, NOTHING_USED, FakeSandbox, cancel_descriptor


def run(sandbox: FakeSandbox, limits: Limits = LIMITS, cancel: bool = False) -> tuple[Outcome, Streams]:
    streams = Streams(OutputBuffer(limits.output_keep_bytes), OutputBuffer(limits.output_keep_bytes))
    with cancel_descriptor() as fd:
        if cancel:
            os.eventfd_write(fd, 1)
        try:
            return supervise(sandbox, limits, streams, fd), streams
        finally:
            sandbox.close()


def running(**measured: object) -> FakeSandbox:
    return FakeSandbox(end=None, measures=[replace(NOTHING_USED, **measured)])  # type: ignore[arg-type]


def test_success() -> None:
    outcome, streams = run(FakeSandbox(prints=b"out", complains=b"err"))
    assert (outcome.failure, outcome.exit_code, outcome.signal, outcome.limit_hit) == (None, 0, None, None)
    assert (streams.stdout.captured().head, streams.stderr.captured().head) == (b"out", b"err")
    assert outcome.memory_peak_bytes == 2 * MIB
    assert outcome.cpu_seconds == 0.02


@pytest.mark.parametrize("code", [1, 124, 125, 128, 134, 137, 139, 143, 159, 255])
def test_no_exit_code_is_taken_for_anything_else(code: int) -> None:
    outcome, _ = run(FakeSandbox(end=ProgramEnd(exit_code=code), prints=b"[DONE] Job completed\nKilled\n"))
    assert (outcome.failure, outcome.exit_code, outcome.signal) == (Failure.EXIT, code, None)


@pytest.mark.parametrize("number", [6, 9, 11, 15, 31])
def test_a_signal_that_was_not_ours_is_the_programs(number: int) -> None:
    outcome, _ = run(FakeSandbox(end=ProgramEnd(signal=number)))
    assert (outcome.failure, outcome.exit_code, outcome.signal) == (Failure.SIGNAL, None, number)


def test_an_end_that_nobody_saw_is_no_success() -> None:
    outcome, _ = run(FakeSandbox(end=ProgramEnd()))
    assert (outcome.failure, outcome.exit_code, outcome.signal) == (Failure.EXIT, None, None)


def test_wall_clock() -> None:
    outcome, _ = run(running(), replace(LIMITS, timeout=0.05))
    assert (outcome.failure, outcome.signal, outcome.exit_code) == (Failure.TIMEOUT, KILLED, None)
    assert outcome.limit_hit is not None
    assert outcome.limit_hit.name == "timeout"
    assert 0.05 <= outcome.limit_hit.peak <= outcome.wall_seconds + 0.001


@pytest.mark.parametrize(
    ("measured", "failure", "name", "peak"),
    [
        ({"memory_bytes": 65 * MIB, "memory_exceeded": True}, Failure.MEMORY, "memory_mb", 65),
        ({"tasks": 17}, Failure.PROCESSES, "processes", 17),
        ({"disk_bytes": 8 * MIB, "disk_full": True}, Failure.DISK, "disk_mb", 8),
        ({"disk_bytes": 9 * MIB}, Failure.DISK, "disk_mb", 9),
        ({"inodes": 1001}, Failure.DISK, "inodes", 1001),
    ],
)
def test_each_measure(measured: dict[str, object], failure: Failure, name: str, peak: float) -> None:
    outcome, _ = run(running(**measured))
    assert outcome.failure is failure
    assert outcome.limit_hit is not None
    assert (outcome.limit_hit.name, outcome.limit_hit.peak) == (name, peak)
    assert outcome.signal == KILLED


@pytest.mark.parametrize(
    "measured", [{"tasks": 16}, {"inodes": 1000}, {"disk_bytes": 8 * MIB}, {"memory_bytes": 64 * MIB}]
)
def test_using_all_of_a_limit_is_allowed(measured: dict[str, object]) -> None:
    outcome, _ = run(FakeSandbox(measures=[replace(NOTHING_USED, **measured)]))  # type: ignore[arg-type]
    assert outcome.failure is None


def test_cpu_while_it_runs() -> None:
    outcome, _ = run(running(cpu_seconds=1.2), replace(LIMITS, cpu_seconds=1.0))
    assert outcome.failure is Failure.CPU
    assert outcome.limit_hit is not None
    assert (outcome.limit_hit.name, outcome.limit_hit.value) == ("cpu_seconds", 1.0)


def test_cpu_found_in_the_kernels_account_afterwards() -> None:
    """It ended by itself between two samples, but it had used more than it may."""
    outcome, _ = run(FakeSandbox(usage=TreeUsage(1.5, MIB)), replace(LIMITS, cpu_seconds=1.0))
    assert (outcome.failure, outcome.exit_code) == (Failure.CPU, 0)


def test_a_disk_full_at_the_end_is_told_even_if_the_program_says_all_is_well() -> None:
    full = replace(NOTHING_USED, disk_bytes=8 * MIB, disk_full=True)
    outcome, _ = run(FakeSandbox(measures=[full]))
    assert (outcome.failure, outcome.exit_code) == (Failure.DISK, 0)


def test_too_much_output_ends_the_job() -> None:
    def flood(sandbox: FakeSandbox) -> None:
        os.set_blocking(sandbox.stdout_end, False)

    sandbox = FakeSandbox(end=None, on_go=flood)
    original = sandbox.measure

    def printing() -> Measure:
        for _ in range(40):
            try:
                sandbox.say(b"x" * 65536)
            except BlockingIOError:
                break
        return original()

    sandbox.measure = printing  # type: ignore[method-assign]
    outcome, streams = run(sandbox)
    assert outcome.failure is Failure.OUTPUT
    assert outcome.limit_hit is not None
    assert (outcome.limit_hit.name, outcome.limit_hit.value) == ("output_mb", 1)
    assert outcome.limit_hit.peak == pytest.approx(streams.total / MIB, abs=0.001)


def test_too_much_output_counts_though_the_program_ended() -> None:
    limits = replace(LIMITS, output_bytes=10)
    outcome, _ = run(FakeSandbox(prints=b"0123456789A"), limits)
    assert (outcome.failure, outcome.exit_code) == (Failure.OUTPUT, 0)
    assert run(FakeSandbox(prints=b"0123456789"), limits)[0].failure is None


def test_cancelling() -> None:
    outcome, _ = run(running(), cancel=True)
    assert (outcome.failure, outcome.limit_hit) == (Failure.CANCELLED, None)


def test_the_first_reason_stands() -> None:
    outcome, _ = run(running(tasks=99, cpu_seconds=99.0), replace(LIMITS, cpu_seconds=1.0))
    assert outcome.failure is Failure.PROCESSES


def test_what_is_printed_before_the_kill_is_kept() -> None:
    outcome, streams = run(FakeSandbox(end=None, prints=b"before"), replace(LIMITS, timeout=0.05))
    assert outcome.failure is Failure.TIMEOUT
    assert streams.stdout.captured().head == b"before"


def test_streams_closed_early_do_not_make_it_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    def close(sandbox: FakeSandbox) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sandbox.stdout_end)
        os.dup2(null, sandbox.stderr_end)
        os.close(null)

    turns = 0

    class Counted:
        """A poll object that counts how often it is asked."""

        def __init__(self) -> None:
            self.poll_object = select.poll()
            self.register, self.unregister = self.poll_object.register, self.poll_object.unregister

        def poll(self, timeout: float) -> list[tuple[int, int]]:
            nonlocal turns
            turns += 1
            return self.poll_object.poll(timeout)

    monkeypatch.setattr("sandrun.sandbox.supervise.select", SimpleNamespace(poll=Counted, POLLIN=select.POLLIN))
    outcome, _ = run(FakeSandbox(end=None, on_go=close), replace(LIMITS, timeout=0.3))
    assert outcome.failure is Failure.TIMEOUT
    assert 1 < turns < 100, "a sample every 10 ms, and the two ends; a spin comes to thousands"


def test_processes_that_do_not_die_are_the_platforms_fault() -> None:
    outcome, _ = run(FakeSandbox(usage=None))
    assert outcome.failure is Failure.PLATFORM
    assert outcome.message


def test_peaks_are_those_of_all_samples() -> None:
    samples = [replace(NOTHING_USED, memory_bytes=size * MIB, tasks=tasks) for size, tasks in ((5, 3), (30, 2), (4, 9))]
    sandbox = FakeSandbox(end=None, measures=[*samples, NOTHING_USED])
    measure = sandbox.measure

    def ends_with_the_last() -> Measure:
        if len(sandbox.measures) == 1 and sandbox.end is None:
            sandbox.finish(ProgramEnd(exit_code=0))
        return measure()

    sandbox.measure = ends_with_the_last  # type: ignore[method-assign]
    outcome, _ = run(sandbox, LIMITS)
    assert (outcome.memory_peak_bytes, outcome.processes_peak) == (30 * MIB, 9)
