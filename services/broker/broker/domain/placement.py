"""Which node can run which job, decided per class of jobs, so that a claim never looks at a job its node cannot run.

A job's class holds everything that matching looks at. The pending jobs of a class lie side by side in one range of the
claim index, and a node's claim reads the ranges of the classes it can run, nothing else.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from broker.domain.barring import base_of

__all__ = ["MEMORY_STEP_MB", "JobClass", "NodeProfile", "Wish", "can_run", "distance", "lacking", "waiting_for"]

MEMORY_STEP_MB = 64
"""Memory is matched in steps, so that odd numbers do not multiply the classes."""

PLAIN_MEMORY_MB = 4096
"""More memory than that is out of the ordinary."""
CORE_STEP = 0.5
"""CPU cores are matched in steps, too."""

_EARTH_HALF_GIRTH_KM = 20_038.0


@dataclass(frozen=True, slots=True)
class JobClass:
    """What a job asks of a node. Equal classes have equal keys."""

    interpreter: str
    memory_mb: int = 0
    """MiB, rounded up to a step; 0 when the job does not say."""
    gpu: bool = False
    min_cpu_cores: float = 0
    labels: tuple[tuple[str, str], ...] = ()
    """Sorted pairs, all of which the node must have."""
    region: str | None = None
    prefer_region: str | None = None
    prefer_near: tuple[float, float] | None = None
    """Latitude and longitude in degrees, rounded to one degree."""
    needs: tuple[str, ...] = ()
    """Sorted names of what it was given and not every sandrun can hand to a program: of NEEDS."""
    environment: str | None = None
    """The prepared environment that it runs in."""

    @property
    def has_preference(self) -> bool:
        """Whether some nodes are better than others for it."""
        return self.prefer_region is not None or self.prefer_near is not None

    @property
    def is_plain(self) -> bool:
        """Whether it asks for nothing out of the ordinary: there are few such classes."""
        plain = JobClass(self.interpreter, self.memory_mb, needs=self.needs)
        return self == plain and self.memory_mb <= PLAIN_MEMORY_MB

    @property
    def wishes(self) -> list[str]:
        """What it asks for beside its interpreter, for people."""
        said = [f"{self.memory_mb} MiB"] if self.memory_mb else []
        said += ["GPU"] if self.gpu else []
        said += [f"{self.min_cpu_cores:g} cores"] if self.min_cpu_cores else []
        said += [f"{name}={value}" for name, value in self.labels]
        said += [NEEDS[need].noun for need in self.needs]
        said += [f"environment {self.environment}"] if self.environment else []
        return said + ([self.region] if self.region else [])

    def key(self) -> str:
        """The class as compact text: what the store keeps with each job."""
        parts: list[object] = [
            self.interpreter,
            self.memory_mb,
            int(self.gpu),
            self.min_cpu_cores,
            self.labels,
            self.region,
            self.prefer_region,
            self.prefer_near,
            self.needs,
            self.environment,
        ]
        while len(parts) > 1 and not parts[-1]:
            parts.pop()
        return json.dumps(parts, separators=(",", ":"), ensure_ascii=False)

    @staticmethod
    @lru_cache(maxsize=4096)
    def from_key(key: str) -> "JobClass":
        """The class that `key` came from; nodes that it bars are not looked at."""
        parts = json.loads(base_of(key))
        parts += [0, 0, 0, (), None, None, None, (), None][len(parts) - 1 :]
        interpreter, memory, gpu, cores, labels, region, prefer_region, near, needs, environment = parts
        return JobClass(
            interpreter,
            memory,
            bool(gpu),
            cores,
            tuple((name, value) for name, value in labels),
            region,
            prefer_region,
            (near[0], near[1]) if near else None,
            tuple(needs),
            environment or None,
        )

    @staticmethod
    def memory_step(memory_mb: int | None) -> int:
        """`memory_mb` rounded up to the step in which memory is matched; 0 for none."""
        return 0 if not memory_mb else math.ceil(memory_mb / MEMORY_STEP_MB) * MEMORY_STEP_MB

    @staticmethod
    def core_step(cores: float | None) -> float:
        """`cores` rounded up to the step in which they are matched; 0 for none."""
        return 0.0 if not cores else math.ceil(cores / CORE_STEP) * CORE_STEP


@dataclass(frozen=True, slots=True)
class NodeProfile:
    """What a node offers, as far as matching looks at it. Nodes with equal profiles are interchangeable."""

    interpreters: frozenset[str] = frozenset()
    max_memory_mb: int | None = None
    """The most that one job may have, in MiB; None when the node does not say."""
    gpu: bool = False
    cpu_cores: float | None = None
    labels: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    region: str | None = None
    location: tuple[float, float] | None = None
    lacks: frozenset[str] = frozenset()
    """Of NEEDS: what its sandrun would leave out."""
    environments: frozenset[str] = frozenset()


def can_run(job: JobClass, node: NodeProfile) -> bool:
    """Whether the node offers everything that the class asks for."""
    return not _unmet(job, node)


def distance(job: JobClass, node: NodeProfile) -> float:
    """How far the node is from what the class would prefer: 0 is at home, 1 is the other end of the world.

    Preferences never keep a job waiting; they choose among nodes that are free at the same moment.
    """
    if job.prefer_region is not None:
        return 0.0 if job.prefer_region == node.region else 1.0
    if job.prefer_near is not None:
        return 1.0 if node.location is None else _great_circle(job.prefer_near, node.location)
    return 0.0


class Wish(NamedTuple):
    """Something that a class asks for, as a noun and as what a node does that offers it."""

    noun: str
    clause: str


NEEDS = {
    "env": Wish("environment variables for jobs", "gives jobs environment variables"),
    "stdin": Wish("standard input for jobs", "gives jobs standard input"),
}
"""What every sandrun of ours gives and an existing one may not, by the job's field."""


def waiting_for(job: JobClass, nodes: Iterable[NodeProfile]) -> str | None:
    """What none of the (live) nodes offers, as a phrase for a person; None when some node can run the class."""
    missed = lacking(job, nodes)
    if missed is None:
        return None
    if not missed[0]:
        return "a live node that takes jobs: none is there"
    return "a live node with " + " and ".join(wish.noun for wish in missed[0])


def lacking(job: JobClass, nodes: Iterable[NodeProfile]) -> tuple[list[Wish], bool] | None:
    """What keeps a class from running: wishes that no node meets (True), or wishes each of which some node meets, but
    none all of them (False); none at all when there is no node. None when some node can run it."""
    unmet_by_all: set[Wish] | None = None
    wanted: list[Wish] = []
    for node in nodes:
        unmet = _unmet(job, node)
        if not unmet:
            return None
        unmet_by_all = set(unmet) if unmet_by_all is None else unmet_by_all & set(unmet)
        wanted += [wish for wish in unmet if wish not in wanted]
    by_nobody = [wish for wish in wanted if unmet_by_all and wish in unmet_by_all]
    return (by_nobody, True) if by_nobody else (wanted, False)


def _unmet(job: JobClass, node: NodeProfile) -> list[Wish]:
    unmet = []
    if job.interpreter not in node.interpreters:
        unmet.append(Wish(f"interpreter {job.interpreter}", f"offers {job.interpreter}"))
    if node.max_memory_mb is not None and job.memory_mb > node.max_memory_mb:
        memory = f"{job.memory_mb} MiB of memory for one job"
        unmet.append(Wish(memory, f"has {memory}"))
    if job.gpu and not node.gpu:
        unmet.append(Wish("a GPU", "has a GPU"))
    if job.min_cpu_cores and (node.cpu_cores or 0) < job.min_cpu_cores:
        cores = f"{job.min_cpu_cores:g} CPU cores"
        unmet.append(Wish(cores, f"has {cores}"))
    if job.region is not None and job.region != node.region:
        unmet.append(Wish(f"region {job.region}", f"is in region {job.region}"))
    unmet += [NEEDS[need] for need in job.needs if need in node.lacks]
    if job.environment is not None and job.environment not in node.environments:
        unmet.append(Wish(f"environment {job.environment}", f"has environment {job.environment}"))
    labels = [f"label {name}={value}" for name, value in job.labels if (name, value) not in node.labels]
    unmet += [Wish(label, f"has the {label}") for label in labels]
    return unmet


def _great_circle(one: tuple[float, float], other: tuple[float, float]) -> float:
    lat1, lon1, lat2, lon2 = (math.radians(degrees) for degrees in (*one, *other))
    half = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * 6_378.0 * math.asin(math.sqrt(min(1.0, half))) / _EARTH_HALF_GIRTH_KM
