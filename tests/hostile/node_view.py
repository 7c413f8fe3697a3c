"""Looks into the node's container from outside the sandboxes: processes, zombies, descriptors, memory, files.

Needs the docker command and a container on its engine. A small program stays inside the container, as the service's own
user, and answers one line of JSON for each line it is asked.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

#: Seconds within which everything of an ended job must be gone.
GONE_SECONDS = 20.0
#: Seconds within which the whole node must be back to its base after the last job (job data is kept for the TTL).
BASE_SECONDS = 90.0
#: Bytes by which memory may stay above its base: allocator arenas and kernel caches, no job's data.
MEMORY_SLACK = 48 << 20
DESCRIPTOR_SLACK = 4

LOOKER = r"""
import json, os, sys

def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""

def memory():
    if os.path.exists("/sys/fs/cgroup/memory.stat"):
        fields = dict(line.split() for line in read("/sys/fs/cgroup/memory.stat").decode().splitlines())
        return sum(int(fields.get(name, 0)) for name in ("anon", "shmem", "sock", "kernel_stack", "pagetables"))
    base = "/sys/fs/cgroup/memory/"
    fields = dict(line.split() for line in read(base + "memory.stat").decode().splitlines())
    return int(fields["rss"]) + int(fields.get("shmem", 0)) + int(read(base + "memory.kmem.tcp.usage_in_bytes") or 0)

def cpu_seconds():
    fields = dict(line.split() for line in read("/sys/fs/cgroup/cpu.stat").decode().splitlines())
    if "usage_usec" in fields:
        return int(fields["usage_usec"]) / 1e6
    return int(read("/sys/fs/cgroup/cpuacct/cpuacct.usage") or read("/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage")) / 1e9

def oom_kills():
    text = read("/sys/fs/cgroup/memory.events") or read("/sys/fs/cgroup/memory/memory.oom_control")
    return int(dict(line.split() for line in text.decode().splitlines()).get("oom_kill", 0))

own = {os.getpid()}
for line in sys.stdin:
    question = json.loads(line)
    processes, descriptors = [], 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) in own:
            continue
        stat = read(f"/proc/{pid}/stat").decode(errors="replace")
        if not stat:
            continue
        command = read(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode(errors="replace")
        environment = read(f"/proc/{pid}/environ").decode(errors="replace")
        state = stat[stat.rindex(")") + 2]
        marker = next((v[15:] for v in environment.split("\0") if v.startswith("HOSTILE_MARKER=")), "")
        service = "-m sandrun" in command or "/sandrun" in command
        if service:
            descriptors += len(os.listdir(f"/proc/{pid}/fd"))
        process = {"pid": int(pid), "state": state, "marker": marker, "service": service, "command": command[:120]}
        processes.append(process)
    files = []
    for top in question.get("list", []):
        for directory, names, found in os.walk(top):
            files += [os.path.join(directory, name) for name in names + found][: 10_000 - len(files)]
    answer = {"processes": processes, "descriptors": descriptors, "memory": memory(), "files": files}
    answer |= {"oom_kills": oom_kills(), "cpu_seconds": cpu_seconds()}
    print(json.dumps(answer), flush=True)
"""


@dataclass(frozen=True)
class Snapshot:
    """The node at one moment."""

    processes: tuple[dict[str, Any], ...]
    descriptors: int
    memory: int
    oom_kills: int
    cpu_seconds: float
    files: frozenset[str]

    @property
    def zombies(self) -> list[dict[str, Any]]:
        """Processes that nobody has waited for."""
        return [process for process in self.processes if process["state"] == "Z"]


class NodeView:
    """One container, looked into."""

    #: Where a node may keep files of jobs.
    PLACES = ("/tmp", "/dev/shm", "/var/lib/node")

    def __init__(self, container: str) -> None:
        command = ["docker", "exec", "-i", container, "python3", "-u", "-c", LOOKER]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the program in the container."""
        self._process.communicate(timeout=60)

    def look(self, *, files: bool = False) -> Snapshot:
        """The node now; with `files` also the first 10,000 paths in its writable places."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps({"list": self.PLACES if files else ()}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise OSError("the program that looks into the container has ended (was the container stopped?)")
        answer = json.loads(line)
        return Snapshot(processes=tuple(answer.pop("processes")), files=frozenset(answer.pop("files")), **answer)

    def left_behind(self, marker: str) -> list[str]:
        """Processes of the job with this marker that are still there after GONE_SECONDS."""
        deadline = time.monotonic() + GONE_SECONDS
        while True:
            left = [process for process in self.look().processes if process["marker"] == marker]
            if not left:
                return []
            if time.monotonic() > deadline:
                return [f"{len(left)} processes left behind, such as {left[0]}"]
            time.sleep(0.05)  # the poll interval

    def base_problems(self, base: Snapshot, *, seconds: float = BASE_SECONDS) -> list[str]:
        """How the node differs from `base` once it is quiet; waits for it to become so."""
        deadline = time.monotonic() + seconds
        while True:
            problems = _differences(base, self.look(files=True))
            if not problems or time.monotonic() > deadline:
                return problems
            time.sleep(0.2)  # the poll interval


def _differences(base: Snapshot, now: Snapshot) -> list[str]:
    problems = []
    known = {process["pid"] for process in base.processes}
    new = [process for process in now.processes if process["pid"] not in known and process["marker"]]
    if new:
        problems.append(f"{len(new)} processes of jobs, such as {new[0]}")
    if len(now.processes) > len(base.processes) + 4:
        problems.append(f"{len(now.processes)} processes instead of {len(base.processes)}")
    if len(now.zombies) > len(base.zombies):
        problems.append(f"{len(now.zombies)} zombies: {now.zombies[:2]}")
    if now.descriptors > base.descriptors + DESCRIPTOR_SLACK:
        problems.append(f"{now.descriptors} open descriptors instead of {base.descriptors}")
    if now.memory > base.memory + MEMORY_SLACK:
        problems.append(f"{now.memory >> 20} MiB of memory instead of {base.memory >> 20}")
    if len(now.files) > len(base.files):
        new_files = sorted(now.files - base.files)
        problems.append(f"{len(new_files)} new files, such as {new_files[:5]}")
    if now.oom_kills > base.oom_kills:
        problems.append(f"the kernel ran out of the container's memory {now.oom_kills - base.oom_kills} times")
    return problems
