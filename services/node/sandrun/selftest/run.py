"""Running the self-test on a launcher. Must be called from a thread that lives as long as it does (see `launcher`)."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from sandrun.languages import Interpreter
from sandrun.sandbox.bwrap import BwrapLauncher
from sandrun.sandbox.bwrap_sandbox import PROCESSES_HEADROOM
from sandrun.sandbox.launcher import Launcher, LaunchError
from sandrun.sandbox.output import OutputBuffer
from sandrun.sandbox.spec import Failure, InputFile, Limits, Outcome, SandboxSpec
from sandrun.sandbox.supervise import Streams, supervise
from sandrun.selftest.attacks import ATTACKS, PROBE_LIMITS, Attack
from sandrun.selftest.diagnose import diagnose
from sandrun.selftest.layers import BUG, judge_bare, judge_filtered
from sandrun.selftest.report import Layer, Report

__all__ = ["self_test"]

KEEP_BYTES = 64 * 1024
NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")


class ProbeError(Exception):
    """The probe did not give its findings."""


def self_test(launcher: BwrapLauncher, python: Interpreter | None, service_directory: Path) -> Report:
    """Attack every layer; about a second. Never raises for a layer that does not hold."""
    layers = [_unprivileged()]
    if python is None:
        missing = Layer("python3", False, "the self-test is a Python program", "install python3 in the node's image")
        return Report([*layers, missing])
    try:
        with _listeners() as (port, abstract):
            arguments = (str(port), abstract, str(service_directory))
            bare = _probe(launcher.without_filter(), python, arguments)
            layers += judge_bare(bare, {name: str(Path("/proc/self/ns", name).readlink()) for name in NAMESPACES})
            layers += judge_filtered(_probe(launcher, python, arguments))
        layers += [_attacked(launcher, python, attack) for attack in ATTACKS]
    except LaunchError as error:
        found = diagnose(str(error))
        layers.append(Layer(found.layer, False, f"no sandbox can be built: {error}", found.mend))
    except ProbeError as error:
        layers.append(Layer("self-test", False, str(error), BUG))
    layers.append(_nothing_left())
    return Report(layers)


def _unprivileged() -> Layer:
    uid = os.getuid()
    mend = "run the container with user 1000:1000: root's processes escape RLIMIT_NPROC and user namespaces map to root"
    return Layer("unprivileged service", uid != 0, f"runs as uid {uid}", mend)


def _probe(launcher: Launcher, python: Interpreter, arguments: Sequence[str]) -> Any:
    program = resources.files("sandrun.selftest").joinpath("probe.py").read_bytes()
    outcome, printed, complaint = _run(launcher, python, program, PROBE_LIMITS, arguments)
    if outcome.failure is not None:
        raise ProbeError(f"the probe ended with {outcome.failure}: {complaint.strip()[-300:] or outcome.message}")
    try:
        return json.loads(printed)
    except ValueError as error:
        raise ProbeError(f"the probe's findings cannot be read: {error}") from None


def _attacked(launcher: Launcher, python: Interpreter, attack: Attack) -> Layer:
    outcome, _, _ = _run(launcher, python, attack.program.encode(), attack.limits, ())
    hit = outcome.limit_hit
    holds = outcome.failure is attack.verdict
    if holds and attack.verdict is Failure.PROCESSES and hit is not None:
        holds = hit.peak <= attack.limits.processes + PROCESSES_HEADROOM
    if hit is None:
        return Layer(attack.layer, holds, f"an attack ended with {outcome.failure}", BUG)
    proof = f"an attack was ended at {hit.peak:g} of {hit.value:g} ({hit.name}), verdict {outcome.failure}"
    return Layer(attack.layer, holds, proof, BUG)


def _run(
    launcher: Launcher, python: Interpreter, program: bytes, limits: Limits, arguments: Sequence[str]
) -> tuple[Outcome, str, str]:
    command = python.command("main.py", arguments, limits.memory_bytes)
    spec = SandboxSpec(
        command, {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}, limits, files=(InputFile("main.py", program),)
    )
    never = os.eventfd(0, os.EFD_CLOEXEC)
    try:
        sandbox = launcher.start(spec)
        try:
            streams = Streams(OutputBuffer(KEEP_BYTES), OutputBuffer(KEEP_BYTES))
            outcome = supervise(sandbox, limits, streams, never)
        finally:
            sandbox.kill()
            sandbox.close()
    finally:
        os.close(never)
    stdout, stderr = streams.stdout.captured(), streams.stderr.captured()
    return (
        outcome,
        (stdout.head + stdout.tail).decode("utf-8", "replace"),
        (stderr.head + stderr.tail).decode("utf-8", "replace"),
    )


@contextlib.contextmanager
def _listeners() -> Iterator[tuple[int, str]]:
    """Sockets that the probe must not reach: on our loopback, and an abstract one. Both accept connections."""
    abstract = f"sandrun-selftest-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_INET) as loopback, socket.socket(socket.AF_UNIX) as unix:
        loopback.bind(("127.0.0.1", 0))
        loopback.listen()
        unix.bind("\0" + abstract)
        unix.listen()
        yield loopback.getsockname()[1], abstract


def _nothing_left() -> Layer:
    """After all attacks no process of theirs may be our child, living or dead."""
    children: list[str] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            children += (task / "children").read_text(encoding="ascii").split()
    wrong = f"{len(children)} processes are left: {' '.join(children[:10])}"
    return Layer("clean ending", not children, wrong if children else "no process left, living or dead", BUG)
