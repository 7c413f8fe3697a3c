"""What this node can do, found out and not assumed: cores, memory, GPU, interpreters with their versions."""

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from agent import limits
from agent.description import Description
from agent.logs import EventLog
from agent.settings import Settings

LOG = EventLog("agent.capabilities")

PROBE_SECONDS = 5.0
# A default job's memory (memory_mb in docs/sandrun.md): with less for each slot, jobs would press each other out.
SLOT_MEMORY_MB = 512
MOST_SLOTS = 1024  # that a broker takes; it refuses to register a node with more
PROBE_BYTES = 64 << 10  # of what a program prints about itself

# Looked for only beside a sandrun that does not list its own.
_VERSION_COMMANDS = {
    "python3": ["--version"],
    "node": ["--version"],
    "bash": ["--version"],
    "sh": ["-c", "echo"],
    "ruby": ["--version"],
    "perl": ["-e", "print $^V"],
}
_VERSION = re.compile(r"\d+(\.\d+)+")


def detect(settings: Settings, description: Description) -> dict[str, Any]:
    """The `capabilities` of POST /register. A setting beats what is found."""
    versions = _interpreters(settings, description)
    memory_mb = limits.memory_bytes() >> 20
    memory_gb = settings.memory_gb if settings.memory_gb is not None else round(memory_mb / 1024, 2)
    capabilities: dict[str, Any] = {
        "cpu_cores": settings.cpu_cores if settings.cpu_cores is not None else limits.cpu_cores(),
        "memory_gb": memory_gb,
        "gpu": settings.gpu if settings.gpu is not None else _gpu(description),
        "interpreters": sorted(versions) if description.ready else [],
        "interpreter_versions": {name: text for name, text in versions.items() if text},
        "labels": settings.labels,
        "max_memory_mb": description.max_memory_mb or memory_mb,
    }
    if settings.region:
        capabilities["region"] = settings.region
    if description.lacks:
        capabilities["lacks"] = description.lacks
    if description.environments:
        capabilities["environments"] = list(description.environments)
    if description.isolation:
        capabilities["isolation"] = description.isolation
    if description.version:
        capabilities["sandrun_version"] = description.version
    return capabilities


def slots(settings: Settings, description: Description) -> int:
    """Jobs at once: as set, else by cores and memory; never more than the sandrun takes, one for a foreign one.

    Our sandrun has worked them out from the container's own limits; whoever set cores or memory here offers less.
    """
    room = 1 if description.foreign else description.slots
    if settings.slots is not None:
        if room is not None and settings.slots > room:
            LOG.warning("slots_cut", set=settings.slots, sandrun=room)
        return min(settings.slots, room or settings.slots)
    bounds = [MOST_SLOTS] if room is None else [MOST_SLOTS, room]
    if room is None or settings.cpu_cores is not None:
        bounds.append(int(settings.cpu_cores or limits.cpu_cores()))
    if room is None or settings.memory_gb is not None:
        memory_mb = (limits.memory_bytes() >> 20) if settings.memory_gb is None else settings.memory_gb * 1024
        bounds.append(int(memory_mb // SLOT_MEMORY_MB))
    return max(1, min(bounds))


def _interpreters(settings: Settings, description: Description) -> dict[str, str]:
    found = description.interpreters
    if not found and settings.interpreters is None:
        return run_interpreters(tuple(_VERSION_COMMANDS))
    if settings.interpreters is None:
        return found
    if not found:
        return {**dict.fromkeys(settings.interpreters, ""), **run_interpreters(settings.interpreters)}
    missing = sorted(set(settings.interpreters) - set(found))
    if missing:
        LOG.warning("interpreters_missing", missing=missing, note="set, but this sandrun does not have them")
    return {name: found[name] for name in settings.interpreters if name in found}


def run_interpreters(names: tuple[str, ...]) -> dict[str, str]:
    """Those of `names` that start here, with their versions; each is given PROBE_SECONDS."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        answers = pool.map(_version, names)
    return {name: version for name, version in zip(names, answers, strict=True) if version is not None}


def _version(name: str) -> str | None:
    text = _output([name, *_VERSION_COMMANDS.get(name, ["--version"])])
    if text is None:
        return None
    found = _VERSION.search(text)
    return found.group(0) if found else ""


def _gpu(description: Description) -> bool:
    """Whether a job can have a GPU: the driver's tool lists one, and the sandrun hands it on (ours would say so)."""
    if not description.foreign and not description.can("gpu"):
        return False
    listed = _output(["nvidia-smi", "--list-gpus"]) or ""
    return any(line.startswith("GPU ") for line in listed.splitlines())  # and not "No devices were found"


def _output(command: list[str]) -> str | None:
    """What a command prints when it ends well within PROBE_SECONDS, and is brief; else None."""
    path = shutil.which(command[0])
    if path is None:
        return None
    try:
        with subprocess.Popen(
            [path, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as program:
            try:
                said = _brief(program)
            finally:
                # With its children: one that holds the pipe open, or floods it, must not stay behind.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(program.pid, signal.SIGKILL)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return said


def _brief(program: subprocess.Popen[bytes]) -> str | None:
    """All that it prints until it ends by itself with 0; None when that is too much or too late."""
    pipe = program.stdout
    deadline = time.monotonic() + PROBE_SECONDS
    said = b""
    while pipe is not None and len(said) <= PROBE_BYTES:
        if not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return None
        part = os.read(pipe.fileno(), PROBE_BYTES)
        if not part:
            return said.decode() if program.wait(max(0.0, deadline - time.monotonic())) == 0 else None
        said += part
    return None
