"""Small attacks on each limit, with the verdict that a working supervisor must give."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sandrun.sandbox.spec import MIB, Failure, Limits

__all__ = ["ATTACKS", "PROBE_LIMITS", "Attack"]

PROBE_LIMITS = Limits(
    timeout=10.0,
    memory_bytes=128 * MIB,
    cpu_seconds=None,
    processes=16,
    open_files=64,
    file_size_bytes=8 * MIB,
    disk_bytes=8 * MIB,
    inodes=1000,
    output_bytes=1 * MIB,
    output_keep_bytes=64 * 1024,
)


@dataclass(frozen=True, slots=True)
class Attack:
    """A program for python3, what it may use, and how it must end."""

    layer: str
    program: str
    verdict: Failure
    limits: Limits


def _attack(layer: str, program: str, verdict: Failure, **changed: Any) -> Attack:
    return Attack(layer, program, verdict, replace(PROBE_LIMITS, **changed))


ATTACKS = (
    _attack("limit: wall clock", "import time\ntime.sleep(60)", Failure.TIMEOUT, timeout=0.15),
    _attack("limit: CPU", "while True: pass", Failure.CPU, cpu_seconds=0.1),
    _attack(
        "limit: memory",
        "import time\nheld = []\nfor _ in range(64):\n    held.append(b'x' * (4 << 20))\ntime.sleep(5)",
        Failure.MEMORY,
        memory_bytes=48 * MIB,
    ),
    _attack(
        "limit: processes",
        "import os, time\nfor _ in range(200):\n    try:\n        if os.fork() == 0: time.sleep(5)\n"
        "    except OSError: break\ntime.sleep(5)",
        Failure.PROCESSES,
    ),
    _attack("limit: output", "import os\nwhile True: os.write(1, b'x' * 65536)", Failure.OUTPUT),
    _attack(
        "limit: disk",
        "import time\nwith open('/tmp/x', 'wb', 0) as f:\n    try:\n        while f.write(b'x' * 65536): pass\n"
        "    except OSError: pass\ntime.sleep(5)",
        Failure.DISK,
        file_size_bytes=64 * MIB,
    ),
    _attack(
        "limit: files",
        "import time\nfor i in range(5000):\n    open(f'/tmp/{i}', 'w').close()\ntime.sleep(5)",
        Failure.DISK,
    ),
)
