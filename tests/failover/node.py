"""One node container and what can be done to it from outside."""

from __future__ import annotations

import re
from typing import Any

import docker.errors
from docker.models.containers import Container
from docker.models.networks import Network

from support.bundle import ServiceContainer, wrapped
from support.node_log import NodeLog

_FREEZES = 5
_TOKEN = re.compile(r"python3 main\.py (token-\w+)")


def freeze(box: Container) -> None:
    """`docker pause`, again when processes that were just starting kept the kernel from freezing them all."""
    for left in reversed(range(_FREEZES)):
        try:
            box.pause()
            return
        except docker.errors.APIError as error:
            if not left or "unable to freeze" not in str(error):
                raise


class Node:
    """A node container on the pool's network."""

    def __init__(self, container: ServiceContainer, pool: Network) -> None:
        self.container = container
        self._pool = pool

    def __repr__(self) -> str:
        return f"node {self.name}"

    @property
    def box(self) -> Container:
        """docker-py's container."""
        return wrapped(self.container)

    @property
    def name(self) -> str:
        """Its host name, by which the broker lists it."""
        return self.container.get_container_id()[:12]

    @property
    def state(self) -> str:
        """running, paused, exited …"""
        self.box.reload()
        return str(self.box.status)

    def kill(self) -> None:
        """SIGKILL to all of it."""
        self.box.kill("SIGKILL")

    def start(self) -> None:
        """Start it again after its end, with its volume."""
        self.box.start()

    def stop(self) -> int:
        """`docker stop`: SIGTERM and 30 s of grace; the exit status."""
        self.box.stop(timeout=30)
        return int(self.box.wait(timeout=60)["StatusCode"])

    def end(self) -> None:
        """SIGTERM, with which `docker stop` begins; does not wait for the end."""
        self.box.kill("SIGTERM")

    def pause(self) -> None:
        """Freeze every process of it; its connections stay open."""
        freeze(self.box)

    def resume(self) -> None:
        """Let it go on, as if no time had passed."""
        self.box.unpause()

    def cut(self) -> None:
        """Take it off the network. Nobody is told: its connections are neither closed nor reset."""
        self._pool.disconnect(self.box)

    def mend(self) -> None:
        """Put it back on the network, perhaps at another address."""
        self._pool.connect(self.box)

    @property
    def is_cut(self) -> bool:
        """Whether it is off the network."""
        self.box.reload()
        networks: dict[str, Any] = self.box.attrs["NetworkSettings"]["Networks"]
        return self._pool.name not in networks

    def heal(self) -> None:
        """Undo whatever was done to it."""
        if self.state == "paused":
            self.resume()
        if self.is_cut:
            self.mend()
        if self.state == "exited":
            self.start()

    def sandboxes(self) -> set[str]:
        """Tokens of the jobs whose programs are alive in it, as the host's process list says."""
        processes = self.box.top()["Processes"]
        return {found[1] for process in processes if (found := _TOKEN.search(process[-1]))}

    def log(self) -> NodeLog:
        """What its agent has logged so far, over all its starts."""
        return NodeLog(self.box.logs().decode(errors="replace"))
