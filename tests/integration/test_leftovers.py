"""What a killed test run left is removed by the next, and nothing that may still be somebody's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import docker
import docker.errors
import pytest

from support.bundle import BROKER_IMAGE
from support.leftovers import LABEL, OWNER, owner, surely_dead, sweep

RUN = f"leftovers-{os.getpid()}"


@pytest.fixture
def engine() -> Iterator[docker.DockerClient]:
    engine = docker.from_env()
    yield engine
    mine = {"label": f"{LABEL}={RUN}"}
    for left in [
        *engine.containers.list(all=True, filters=mine, ignore_removed=True),
        *engine.networks.list(filters=mine),
        *engine.volumes.list(filters=mine),
    ]:
        with suppress(docker.errors.NotFound):
            left.remove()
    engine.close()


@pytest.fixture
def dead() -> str:
    """A process that was, as a killed run."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    said = owner(process.pid)
    assert not surely_dead(said), "it lives"
    process.kill()
    process.communicate(timeout=60)
    return said


def test_only_what_surely_nobody_owns_is_removed(engine: docker.DockerClient, dead: str) -> None:
    world, _, rest = owner().partition("/")
    owners = {
        "dead": dead,
        "its number is another's now": owner() + "0",
        "alive": owner(),
        "in another container": f"{world}x/{dead.partition('/')[2]}",
        "on another machine": f"x{world}/{rest}",
        "unreadable": "x",
        "none": "",
    }
    names = {}
    for who, said in owners.items():
        labels = {LABEL: RUN, OWNER: said}
        container = engine.containers.create(BROKER_IMAGE, labels=labels)
        names[who] = [container.name, engine.volumes.create(labels=labels).name]
    network = engine.networks.create(f"{RUN}-dead", labels={LABEL: RUN, OWNER: dead})
    network.connect(names["dead"][0])
    sweep(engine)
    mine = {"label": f"{LABEL}={RUN}"}
    left = {container.name for container in engine.containers.list(all=True, filters=mine, ignore_removed=True)}
    left |= {volume.name for volume in engine.volumes.list(filters=mine)}
    for who, made in names.items():
        assert left.isdisjoint(made) if who in ("dead", "its number is another's now") else left >= set(made), who
    assert not engine.networks.list(filters=mine)
