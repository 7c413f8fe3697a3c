"""The state of the node and of its container, read when Prometheus asks."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from agent import __version__, limits
from agent.lease import Session
from agent.metrics import PREFIX
from agent.parts import Parts
from agent.settings import Settings

CGROUP = Path("/sys/fs/cgroup")


def watch(settings: Settings, parts: Parts, session: Callable[[], Session | None], problem: Callable[[], str]) -> None:
    """Add the node's state, its container's and its process's to the registry of its counters."""
    parts.metrics.registry.register(_NodeCollector(settings, parts, session, problem))
    parts.metrics.registry.register(_ContainerCollector(settings.state_dir, CGROUP))
    ProcessCollector(registry=parts.metrics.registry)


class _NodeCollector(Collector):
    """Asks the agent's parts; each answers under a lock of its own, at once."""

    def __init__(
        self, settings: Settings, parts: Parts, session: Callable[[], Session | None], problem: Callable[[], str]
    ) -> None:
        self._settings = settings
        self._parts = parts
        self._session = session
        self._problem = problem

    def collect(self) -> Iterator[Metric]:
        """All gauges."""
        parts, session = self._parts, self._session()
        info = {
            "node_id": session.node_id if session else "",
            "name": self._settings.name or os.uname().nodename,
            "version": __version__,
            "sandrun_version": parts.watch.description.version or "",
            "isolation": parts.watch.description.isolation or "",
        }
        yield InfoMetricFamily(PREFIX.removesuffix("_"), "The node as the broker knows it.", value=info)
        yield _gauge("healthy", "1 while nothing keeps the node from running jobs.", not self._problem())
        yield _gauge("draining", "1 while the broker wants it to claim nothing.", parts.orders.draining)
        yield _gauge("sandrun_up", "1 while sandrun answers.", parts.watch.up)
        total, running, waiting = parts.slots.counts
        yield _gauge("slots", "Attempts that may run at a time.", total)
        yield _gauge("slots_used", "Attempts that run.", running)
        yield _gauge("attempts_ahead", "Attempts claimed ahead, which wait for a slot.", waiting)
        yield _gauge("attempts_held", "Attempts whose end the broker does not know yet.", len(parts.attempts.held()[1]))
        results, on_disk = parts.outbox.counts
        yield _gauge("outbox_results", "Results that the broker has not acknowledged.", results)
        yield _gauge("spool_results", "Those of them that are on the disk.", on_disk)
        if session is not None:
            yield _gauge("lease_remaining_seconds", "Until all runs here are killed.", session.lease.remaining)
            yield _gauge("beat_age_seconds", "Since the last good beat was sent.", session.lease.age)
        if parts.sink is not None:
            spans = CounterMetricFamily(
                f"{PREFIX}trace_spans", "Spans for the collector, by what became of them.", labels=("result",)
            )
            for result, count in parts.sink.counts.items():
                spans.add_metric((result,), count)
            yield spans


class _ContainerCollector(Collector):
    """What the whole container uses, sandrun and the jobs included: cgroup version 2, or 1."""

    def __init__(self, state_dir: Path | None, cgroup: Path) -> None:
        self._folders = [path for path in (state_dir, Path("/tmp")) if path is not None]  # noqa: S108
        self._cgroup = cgroup

    def collect(self) -> Iterator[Metric]:
        """What there is."""
        two, one = self._cgroup, self._cgroup / "memory"
        memory = _first(two / "memory.current", one / "memory.usage_in_bytes")
        if memory is not None:
            yield _gauge("container_memory_bytes", "Memory of all processes, cached files included.", memory)
            yield _gauge("container_memory_limit_bytes", "What they may have.", limits.memory_bytes())
        processes = _first(two / "pids.current", self._cgroup / "pids" / "pids.current")
        if processes is not None:
            yield _gauge("container_processes", "Processes and threads.", processes)
        for name, text, value in self._counters():
            if value is not None:
                yield CounterMetricFamily(PREFIX + name, text, value=value)
        yield from self._disks()

    def _counters(self) -> Iterator[tuple[str, str, float | None]]:
        stat = _pairs(self._cgroup / "cpu.stat")
        cpu = stat.get("usage_usec")
        nanoseconds = _first(self._cgroup / "cpuacct" / "cpuacct.usage")
        if cpu is None and nanoseconds is not None:
            cpu = nanoseconds / 1000
        events = _pairs(self._cgroup / "memory.events") or _pairs(self._cgroup / "memory" / "memory.oom_control")
        throttled = stat.get("throttled_usec")
        yield "container_cpu_seconds", "Processor time of all processes.", cpu and cpu / 1e6
        yield (
            "container_cpu_throttled_seconds",
            "Time for which the limit held them up.",
            None if throttled is None else throttled / 1e6,
        )
        yield "container_oom_kills", "Processes killed for want of memory.", events.get("oom_kill")

    def _disks(self) -> Iterator[Metric]:
        free = GaugeMetricFamily(f"{PREFIX}disk_free_bytes", "Free room where the node writes.", labels=("folder",))
        for folder in self._folders:
            try:
                disk = os.statvfs(folder)
            except OSError:
                continue
            free.add_metric((str(folder),), disk.f_bavail * disk.f_frsize)
        yield free


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def _first(*paths: Path) -> float | None:
    """The number in the first file that has one."""
    for path in paths:
        found = limits.number(path)
        if found is not None:
            return float(found)
    return None


def _pairs(path: Path) -> dict[str, float]:
    words = [line.split() for line in limits.lines(path)]
    return {pair[0]: float(pair[1]) for pair in words if len(pair) == 2 and pair[1].isdecimal()}
