"""A broker and nodes in real containers, as testcontainers, on networks of their own.

The containers get the isolation and limits of compose.yaml (compose_file.py). Everything carries the label
`sandrun-broker.test` with the run's id and is removed at the end of the `with` block, or by the next run if this one is
killed (leftovers.py).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

import docker.errors
import requests
from docker.models.containers import Container
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from support import compose_file
from support.leftovers import labels, sweep_once
from support.waiting import wait_until

T = TypeVar("T")

TAG = os.environ.get("SANDRUN_TAG", "latest")
BROKER_IMAGE = f"sandrun-broker:{TAG}"
NODE_IMAGE = f"sandrun-node:{TAG}"
AT_ONCE = 4
"""Containers that are started or removed at a time."""

# testcontainers' reaper image cannot be pulled everywhere; the bundle removes by itself what it made.
testcontainers_config.ryuk_disabled = True


class ServiceContainer(DockerContainer):
    """A container of one service of compose.yaml; `overrides` are docker-py's own arguments."""

    def __init__(self, service: str, image: str, label: str, environment: dict[str, str], **overrides: Any) -> None:
        sweep_once()
        arguments = compose_file.container_arguments(service) | overrides
        tmpfs = arguments.pop("tmpfs", {})
        super().__init__(image, env=compose_file.environment(service) | environment, labels=labels(label), **arguments)
        self.tmpfs = tmpfs
        if compose_file.unmasks_proc(service):
            self._unmask_proc()

    def _unmask_proc(self) -> None:
        """What the docker command does for systempaths=unconfined; docker-py knows no argument for it."""
        api = self.get_docker_client().client.api
        create = api.create_container_from_config

        def create_unmasked(config: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            config["HostConfig"].update(MaskedPaths=[], ReadonlyPaths=[])
            return create(config, *args, **kwargs)

        api.create_container_from_config = create_unmasked


class Bundle:
    """One broker with any number of nodes; `url` answers on loopback."""

    def __init__(self, *, nodes: int = 1, broker: dict[str, str] | None = None, node: dict[str, str] | None = None):
        self._label = f"run-{os.getpid()}-{time.monotonic_ns()}"
        self._node_count = nodes
        self._node_environment = node or {}
        self._pool = Network(docker_network_kw={"internal": True, "labels": labels(self._label)})
        self.containers: list[ServiceContainer] = []
        self.port = free_port()
        self.broker = self._broker(broker or {})
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = requests.Session()
        self.http.trust_env = False

    def __enter__(self) -> Self:
        try:
            self._pool.create()
            self._start_broker()
            self.start_nodes(self._node_count)
            if self._node_count:
                self.wait_for_nodes(self._node_count)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.print_logs()
        self.close()

    def print_logs(self) -> None:
        """What all containers printed, for a test that failed."""
        for container in self.containers:
            print(f"--- {container.image} {container.get_container_id()[:12]}\n{self.logs(container)}")

    def close(self) -> None:
        """Remove the containers, their volumes and the network."""
        self.http.close()
        with ThreadPoolExecutor(AT_ONCE) as threads:
            ended = [threads.submit(container.stop) for container in reversed(self.containers)]
        for removal in ended:
            removal.result()
        self.containers.clear()
        if self._pool._network is not None:
            self._pool.remove()
        self._pool._docker.client.close()

    def start_node(
        self, environment: Mapping[str, str] | None = None, *, volumes: Mapping[str, str] | None = None
    ) -> ServiceContainer:
        """A further node container, with named volumes at these paths; does not wait for its registration."""
        node = ServiceContainer("node", NODE_IMAGE, self._label, {**self._node_environment, **(environment or {})})
        for name, path in (volumes or {}).items():
            node.with_volume_mapping(name, path, "rw")
        node.with_network(self._pool)
        self._start(node)
        return node

    def start_nodes(self, count: int, environment: Mapping[str, str] | None = None) -> list[ServiceContainer]:
        """So many further nodes, side by side: most of a container's start is waiting for the engine."""
        with ThreadPoolExecutor(AT_ONCE) as threads:
            return list(threads.map(lambda _: self.start_node(environment), range(count)))

    def _broker(self, environment: dict[str, str]) -> ServiceContainer:
        broker = ServiceContainer("broker", BROKER_IMAGE, self._label, environment)
        # A pair of address and port, which docker-py knows and testcontainers' annotation does not.
        setattr(broker, "ports", {"8000/tcp": ("127.0.0.1", self.port)})  # noqa: B010
        return broker

    def _start_broker(self) -> None:
        self._start(self.broker)
        self._pool.connect(self.broker.get_container_id(), ["broker"])
        self.wait_healthy()

    def running_nodes(self) -> list[ServiceContainer]:
        """The node containers that run."""
        running = []
        for container in self.containers[1:]:
            wrapped(container).reload()
            if wrapped(container).status == "running":
                running.append(container)
        return running

    def _start(self, container: ServiceContainer) -> None:
        self.containers.append(container)
        container.start()

    def wait_healthy(self, *, seconds: float = 120) -> None:
        """Until the broker answers."""
        wait_until(self._is_healthy, seconds=seconds, what=f"broker answers: {self.logs(self.broker)}")

    def wait_for_nodes(self, count: int, *, seconds: float = 120) -> list[dict[str, Any]]:
        """The active nodes, once there are at least `count`."""

        def enough() -> list[dict[str, Any]]:
            active = [node for node in self.get("/nodes").json()["nodes"] if node["active"]]
            return active if len(active) >= count else []

        return wait_until(enough, seconds=seconds, what=f"{count} active nodes")

    def _is_healthy(self) -> bool:
        try:
            return self.get("/health", timeout=10).status_code == 200
        except requests.RequestException:
            return False

    @staticmethod
    def logs(container: DockerContainer) -> str:
        """What the container printed, both streams."""
        try:
            out, err = container.get_logs()
        except docker.errors.APIError as error:
            return f"no logs: {error}"
        return (out + err).decode(errors="replace")

    def get(self, path: str, *, timeout: float = 60, **arguments: Any) -> requests.Response:
        return self.http.get(self.url + path, timeout=timeout, **arguments)

    def post(self, path: str, body: Any, *, timeout: float = 60) -> requests.Response:
        return self.http.post(self.url + path, json=body, timeout=timeout)

    def submit(self, code: str, interpreter: str = "python3", **fields: Any) -> str:
        """The new job's id."""
        answer = self.post("/submit", {"code": code, "interpreter": interpreter, **fields})
        assert answer.status_code == 200, answer.text
        job_id: str = answer.json()["job_id"]
        return job_id

    def result(self, job_id: str, *, seconds: float = 150) -> dict[str, Any]:
        """The job's result, once it is terminal."""

        def terminal() -> dict[str, Any] | None:
            answer = self.get(f"/results/{job_id}", params={"wait": 10}, timeout=60)
            return answer.json() if answer.status_code == 200 else None

        return wait_until(terminal, seconds=seconds, what=f"result of {job_id}: {self.get(f'/status/{job_id}').text}")

    def run(self, code: str, interpreter: str = "python3", **fields: Any) -> dict[str, Any]:
        """Submit and wait."""
        return self.result(self.submit(code, interpreter, **fields))


def wrapped(container: ServiceContainer) -> Container:
    """docker-py's container behind the testcontainer."""
    return container.get_wrapped_container()


def free_port() -> int:
    """A loopback port that is free now; fixed, so that a restarted broker keeps its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
