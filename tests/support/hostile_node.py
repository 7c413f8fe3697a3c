"""A sandrun alone in the node's container, with the isolation and limits of compose.yaml, published on loopback."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

import requests

from hostile.node_view import NodeView
from support.bundle import NODE_IMAGE, ServiceContainer, free_port, wrapped
from support.waiting import wait_until

#: More slots than a machine of two cores would take: most attacks sleep, and they should meet each other.
SLOTS = 6
#: Another build of the node can be attacked without taking the name that others use.
IMAGE = os.environ.get("HOSTILE_NODE_IMAGE", NODE_IMAGE)
#: Seconds that job data is kept: short, so that "nothing is left" can be waited for.
TTL_SECONDS = 10


class HostileNode:
    """The container under attack. `url` answers on loopback; `view()` looks inside."""

    def __init__(self, *, slots: int = SLOTS, **environment: str) -> None:
        settings = {"SANDRUN_SLOTS": str(slots), "SANDRUN_TTL": str(TTL_SECONDS)} | environment
        label = f"hostile-{os.getpid()}-{time.monotonic_ns()}"
        self.container = ServiceContainer("node", IMAGE, label, settings)
        # More slots than compose.yaml's two need more processes: 100 for the services, 64 and 20 of its sandbox a slot.
        processes = max(self.container._kwargs["pids_limit"], 100 + slots * (64 + 20))
        self.container.with_kwargs(**self.container._kwargs | {"pids_limit": processes})
        # sandrun without the agent: there is no broker here. Loopback of the container is not enough to be published.
        self.container.with_kwargs(
            **self.container._kwargs, entrypoint=["sandrun", "--host", "0.0.0.0", "--port", "8443"]
        )
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # A pair of address and port, which docker-py knows and testcontainers' annotation does not.
        setattr(self.container, "ports", {"8443/tcp": ("127.0.0.1", self.port)})  # noqa: B010

    @property
    def id(self) -> str:
        """The container's id."""
        return str(self.container.get_container_id())

    def __enter__(self) -> Self:
        self.container.start()
        self.wait_until_healthy()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            out, err = self.container.get_logs()
            print((out + err).decode(errors="replace")[-5000:])
        self.container.stop()

    def wait_until_healthy(self, *, seconds: float = 120) -> None:
        """Until /health answers; the self-test is over then."""
        wait_until(self._is_healthy, seconds=seconds, what="sandrun answers")

    def _is_healthy(self) -> bool:
        with suppress(requests.RequestException):
            return requests.get(self.url + "/health", timeout=10).status_code == 200
        return False

    def view(self) -> NodeView:
        """A look into the container; close it."""
        return NodeView(self.id)

    def signal(self, name: str) -> None:
        """Send a signal to the container's first process."""
        wrapped(self.container).kill(signal=name)

    def wait_for_exit(self, *, seconds: float) -> int:
        """The container's exit code once it has ended."""
        return int(wrapped(self.container).wait(timeout=seconds)["StatusCode"])

    def start_again(self) -> None:
        """Start the ended container again."""
        wrapped(self.container).start()
        self.wait_until_healthy()
