"""A relay container: what stands between a node and the broker on the network."""

from __future__ import annotations

from pathlib import Path

from failover import relay
from failover.cluster import Cluster
from support.bundle import BROKER_IMAGE, ServiceContainer, wrapped

_SIGNALS = {"answers": "SIGUSR1", "requests": "SIGUSR2"}


class Relay:
    """Runs relay.py on the cluster's network, where nodes reach it as `relay`."""

    def __init__(self, cluster: Cluster) -> None:
        script = Path(relay.__file__).read_text(encoding="utf-8")
        container = ServiceContainer("broker", BROKER_IMAGE, cluster.label, {}, entrypoint=["python", "-c", script])
        cluster.add(container, "relay")
        self._box = wrapped(container)
        self.url = f"http://relay:{relay.PORT}"

    def hold(self, direction: str) -> None:
        """Hold back `requests` or `answers`."""
        self._box.kill(_SIGNALS[direction])

    def let_pass(self) -> None:
        """Deliver what was held back, and go on as if nothing had been."""
        self._box.kill("SIGHUP")
