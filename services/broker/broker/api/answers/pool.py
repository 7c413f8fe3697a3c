"""The pool at a glance, and whether the broker serves."""

from pydantic import Field

from broker.api.answers.base import Answer

__all__ = [
    "HealthAnswer",
    "OverviewAnswer",
    "PoolClass",
    "PoolHour",
    "PoolNode",
    "PoolNodes",
    "PoolQueue",
    "PoolSeries",
    "ReadyAnswer",
]


class PoolNode(Answer):
    """A node in a line."""

    id: str
    name: str | None
    state: str = Field(description="active, draining or silent")
    slots: int | None
    held: int
    isolation: str | None
    version: str | None
    linked: bool
    heartbeat_age: float


class PoolNodes(Answer):
    """The nodes in sums, and up to 60 by name, those in trouble first."""

    known: int
    active: int
    draining: int
    silent: int
    slots: int
    slots_used: int
    isolation: dict[str, int]
    versions: dict[str, int]
    interpreters: dict[str, int]
    list: list[PoolNode]
    unlisted: int


class PoolClass(Answer):
    """The pending jobs of a class."""

    interpreter: str
    wishes: list[str]
    runnable: bool = Field(description="Whether a live node that takes jobs could run it.")
    pending: int
    priorities: dict[str, int]


class PoolQueue(Answer):
    """What is pending; up to 24 classes by name, the largest first."""

    pending: int
    classes: list[PoolClass]
    unlisted: int
    priorities: dict[str, int]


class PoolHour(Answer):
    """The last hour in sums; times in seconds."""

    submitted: int
    completed: int
    failed: int
    failures: dict[str, int]
    wait_p50: float | None
    wait_p95: float | None
    total_p50: float | None
    total_p95: float | None


class PoolSeries(Answer):
    """The last hour in slices, the present one last."""

    slice_seconds: float
    until: float
    submitted: list[int]
    completed: list[int]
    failed: list[int]
    wait_p50: list[float | None]
    wait_p95: list[float | None]
    total_p50: list[float | None]
    total_p95: list[float | None]


class OverviewAnswer(Answer):
    """The pool at a glance."""

    time: str
    jobs: dict[str, int]
    nodes: PoolNodes
    queue: PoolQueue
    hour: PoolHour
    series: PoolSeries


class HealthAnswer(Answer):
    """Whether the broker serves."""

    status: str
    jobs: int
    jobs_by_status: dict[str, int]
    active_nodes: int
    version: str
    sqlite_version: str
    worker_id: None = None
    error: str | None = None


class ReadyAnswer(Answer):
    """Calls are welcome."""

    status: str
