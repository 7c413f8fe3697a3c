"""Runs inside a node container: plain python3 and the same in the sandbox, in turn. Argument: how many pairs.

Prints {"plain": [ms …], "sandboxed": [ms …]}: from the decision to run until the output is read and all processes gone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sandrun.platform import Platform, detect_platform
from sandrun.sandbox import kernel
from sandrun.sandbox.output import OutputBuffer
from sandrun.sandbox.spec import InputFile, SandboxSpec
from sandrun.sandbox.supervise import Streams, supervise
from sandrun.selftest.attacks import PROBE_LIMITS
from sandrun.settings import Settings

CODE = b"print('hello')\n"


def run_plain(python: str, script: Path) -> float:
    """Milliseconds of a process without any isolation."""
    started = time.perf_counter()
    done = subprocess.run([python, str(script)], env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=True)
    assert done.stdout == b"hello\n"
    return (time.perf_counter() - started) * 1000


def run_sandboxed(platform: Platform, never: int) -> float:
    """Milliseconds of the same program in a sandbox of its own, from nothing to nothing."""
    started = time.perf_counter()
    command = platform.interpreters["python3"].command("main.py", (), PROBE_LIMITS.memory_bytes)
    sandbox = platform.launcher.start(
        SandboxSpec(
            command=command, env={"PATH": "/usr/bin:/bin"}, limits=PROBE_LIMITS, files=[InputFile("main.py", CODE)]
        )
    )
    try:
        stdout = OutputBuffer(4096)
        outcome = supervise(sandbox, PROBE_LIMITS, Streams(stdout, OutputBuffer(4096)), never)
        assert outcome.failure is None, outcome
        assert stdout.total == 6
    finally:
        sandbox.kill()
        sandbox.close()
    return (time.perf_counter() - started) * 1000


def main() -> None:
    """Measure so many pairs."""
    count = int(sys.argv[1])
    kernel.become_subreaper()
    never, _keep = os.pipe()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        platform = detect_platform(directory / "platform", Settings.load(os.environ, {}))
        script = directory / "main.py"
        script.write_bytes(CODE)
        python = platform.interpreters["python3"].path
        pairs = [(run_plain(python, script), run_sandboxed(platform, never)) for _ in range(count + 5)][5:]
    print(json.dumps({"plain": [plain for plain, _ in pairs], "sandboxed": [boxed for _, boxed in pairs]}))


main()
