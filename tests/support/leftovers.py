"""What a killed test run left on the Docker engine, so that the next one can remove it.

Everything made here says which process it belongs to: machine since its start, process namespace, pid, and when that
process began. Only an owner that could be seen from here and is not there is surely dead; several runs on one engine,
from other containers or machines too, leave each other alone.
"""

from __future__ import annotations

import functools
import os
from contextlib import suppress
from pathlib import Path

import docker
import docker.errors

LABEL = "sandrun-broker.test"
OWNER = "sandrun-broker.test.owner"


def labels(run: str) -> dict[str, str]:
    """For whatever this run makes."""
    return {LABEL: run, OWNER: owner()}


def owner(pid: int | None = None) -> str:
    """A process of this namespace, ourselves if none is named; ProcessLookupError when there is none."""
    pid = pid or os.getpid()
    began = _began(pid)
    if began is None:
        raise ProcessLookupError(pid)
    return f"{_world()}/{pid}/{began}"


def surely_dead(said: str) -> bool:
    """Whether this owner would be seen if it lived, and is not there."""
    world, _, rest = said.partition("/")
    pid, _, began = rest.partition("/")
    if world != _world() or not pid.isdecimal():
        return False
    return _began(int(pid)) != began


def sweep(engine: docker.DockerClient) -> None:
    """Remove what belongs to dead owners. Another run may be at the same, so what fails is somebody else's success."""
    filters = {"label": OWNER}
    for container in engine.containers.list(all=True, filters=filters, ignore_removed=True):
        if surely_dead(container.labels.get(OWNER, "")):
            with suppress(docker.errors.APIError):
                container.remove(force=True, v=True)
    for network in engine.networks.list(filters=filters):
        if surely_dead((network.attrs["Labels"] or {}).get(OWNER, "")):
            with suppress(docker.errors.APIError):
                network.remove()
    for volume in engine.volumes.list(filters=filters):
        if surely_dead((volume.attrs["Labels"] or {}).get(OWNER, "")):
            with suppress(docker.errors.APIError):
                volume.remove()


@functools.cache
def sweep_once() -> None:
    """The first time in this run."""
    engine = docker.from_env()
    try:
        sweep(engine)
    finally:
        engine.close()


@functools.cache
def _world() -> str:
    """The machine since its start, and the process namespace in it: a number is not given again while it is in use."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}:{Path('/proc/self/ns/pid').readlink()}"


def _began(pid: int) -> str | None:
    """When it began, in clock ticks since the machine's start (proc_pid_stat(5), field 22); None: it is not there."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]
