"""What nodes offer, and which classes of jobs that is enough for; worked out once for nodes that offer the same."""

from collections.abc import Collection
from typing import Any

from broker.domain.placement import JobClass, NodeProfile, can_run, distance

__all__ = ["ProfileGroup", "profile_of"]

_MEMO_LIMIT = 4096
MOST_OF_ANYTHING = 2**53
"""Cores, MiB: beyond it a node has enough for every job."""


class ProfileGroup:
    """Sessions that offer the same: what they can run is worked out once."""

    def __init__(self, profile: NodeProfile) -> None:
        self.profile = profile
        self._matches: dict[str, bool] = {}
        self._runnable: tuple[int, tuple[str, ...]] = (-1, ())

    def can_run(self, class_key: str) -> bool:
        """Whether these nodes can run the class."""
        known = self._matches.get(class_key)
        if known is None:
            if len(self._matches) >= _MEMO_LIMIT:
                self._matches.clear()
            known = self._matches[class_key] = can_run(JobClass.from_key(class_key), self.profile)
        return known

    def distance(self, class_key: str) -> float:
        """How far these nodes are from what the class prefers."""
        return distance(JobClass.from_key(class_key), self.profile)

    def runnable(self, pending: Collection[str], version: int) -> tuple[str, ...]:
        """Those of the pending classes that these nodes can run, nearest preference first."""
        if self._runnable[0] != version:
            keys = [key for key in pending if self.can_run(key)]
            if len(keys) > 1:
                keys.sort(key=self.distance)
            self._runnable = (version, tuple(keys))
        return self._runnable[1]


def profile_of(capabilities: dict[str, Any]) -> NodeProfile:
    """What matching looks at, from capabilities that passed wire.nodes.Capabilities. Never fails: it is made of what is
    stored at each start, and earlier versions stored numbers of any size."""
    memory = capabilities.get("max_memory_mb")
    if memory is None and capabilities.get("memory_gb"):
        memory = capabilities["memory_gb"] * 1024
    place = capabilities.get("location")
    cores = capabilities.get("cpu_cores")
    return NodeProfile(
        interpreters=frozenset(capabilities.get("interpreters") or ()),
        max_memory_mb=None if memory is None else int(min(memory, MOST_OF_ANYTHING)),
        gpu=bool(capabilities.get("gpu")),
        cpu_cores=None if cores is None else float(min(cores, MOST_OF_ANYTHING)),
        labels=frozenset((capabilities.get("labels") or {}).items()),
        region=capabilities.get("region"),
        location=(place["latitude"], place["longitude"]) if place else None,
        lacks=frozenset(capabilities.get("lacks") or ()),
        environments=frozenset(capabilities.get("environments") or ()),
    )
