"""The broker's numbers as Prometheus families, read at the moment of a scrape.

Every label has few values, which the program knows: fixed words, routes, HTTP statuses. The one that clients have a say
in, the class of a pending job, goes through ToldClasses.
"""

import platform
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from broker import __version__
from broker.domain.histogram import Histogram
from broker.domain.words import Failure, JobStatus
from broker.service.broker import Broker
from broker.service.overview import node_state
from broker.service.told import ToldClasses
from broker.service.traces import Traces

__all__ = ["registry_of"]

PREFIX = "sandrun_broker_"
PRIORITIES = range(10)


def registry_of(broker: Broker) -> CollectorRegistry:
    """A registry with this broker's numbers and its process's."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_BrokerCollector(broker))
    ProcessCollector(registry=registry)
    return registry


class _BrokerCollector(Collector):
    """Reads what is there anyway; runs on the event loop, and takes a millisecond."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._told = ToldClasses()

    def describe(self) -> list[Metric]:
        """Nothing: what there is is known once the broker has started."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Everything."""
        build = {"version": __version__, "python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
        yield InfoMetricFamily(f"{PREFIX}build", "The broker and what it runs on.", value=build)
        yield _gauge("ready", "1 while calls are served.", self._broker.ready)
        yield from self._jobs()
        yield from self._queue()
        yield from self._nodes()
        yield from self._calls()
        yield from self._store()
        yield from self._files()
        yield from self._webhooks()
        if self._broker.traces is not None:
            yield from self._spans(self._broker.traces)

    def _jobs(self) -> Iterator[Metric]:
        meter = self._broker.meter
        totals = self._broker.store.totals()
        yield _gauges("jobs", "Jobs that the broker has, by status.", "status", totals)
        yield _counter("jobs_submitted", "Jobs that were submitted.", meter.submitted)
        yield _counter("jobs_copied", "Jobs that got the result of an identical job.", meter.copied)
        ended = CounterMetricFamily(
            f"{PREFIX}jobs_ended", "Jobs that ended, by status and by why they failed.", labels=("status", "failure")
        )
        ended.add_metric((JobStatus.COMPLETED.value, "none"), meter.completed)
        for failure in Failure:
            ended.add_metric((JobStatus.FAILED.value, failure.value), meter.failures[failure])
        yield ended
        yield _counter("attempts_granted", "Attempts that nodes claimed.", meter.granted)
        attempts = {outcome.value: count for outcome, count in meter.attempts.items()}
        yield _counters("attempts_ended", "Attempts that ended, by outcome.", "outcome", attempts)
        yield _counter("program_cpu_seconds", "Processor time of programs, as nodes measured it.", meter.cpu_seconds)
        yield _histogram("job_wait_seconds", "From a job's submit to its first claim.", meter.waits)
        yield _histogram("job_run_seconds", "Run time of programs, as nodes measured it.", meter.runs)
        yield _histogram("job_total_seconds", "From a job's submit to its end.", meter.lives)

    def _queue(self) -> Iterator[Metric]:
        broker = self._broker
        pending = broker.tally.pending
        sums = self._told.sums(pending, broker.clock.now())
        yield _gauges("queue_jobs", "Pending jobs by class; small classes are one, other.", "class", sums)
        priorities: Counter[str] = Counter({str(priority): 0 for priority in PRIORITIES})
        unrunnable = 0
        for (class_key, priority), count in pending.items():
            priorities[str(priority)] += count
            unrunnable += count if class_key in broker.reaper.hopeless else 0
        yield _gauges("queue_priority_jobs", "Pending jobs by priority.", "priority", priorities)
        yield _gauge("queue_unrunnable_jobs", "Pending jobs that no node which is there could run.", unrunnable)

    def _nodes(self) -> Iterator[Metric]:
        broker = self._broker
        now = broker.clock.now()
        states = Counter({"active": 0, "draining": 0, "silent": 0})
        slots = used = held = 0
        oldest = 0.0
        for session in broker.book:
            state = node_state(session, now)
            states[state] += 1
            held += session.held
            if state != "silent":
                slots += session.slots or 0
                used += min(session.held, session.slots or session.held)
                oldest = max(oldest, now - session.last_heartbeat)
        yield _gauges("nodes", "Known nodes by state; silent: the lease is over.", "state", states)
        yield _gauge("links", "Nodes whose link is open.", len(broker.links))
        yield _gauge("slots", "Slots of the nodes that are not silent.", slots)
        yield _gauge("slots_used", "Slots of these with an attempt.", used)
        yield _gauge("leases_held", "Attempts that nodes hold, those claimed ahead included.", held)
        yield _gauge("heartbeat_age_seconds", "Of the node among these that beat the longest ago.", oldest)

    def _calls(self) -> Iterator[Metric]:
        broker, meter = self._broker, self._broker.meter
        answers = CounterMetricFamily(
            f"{PREFIX}http_responses", "Answers by call and HTTP status.", labels=("call", "code")
        )
        for (call, code), count in sorted(meter.answers.items()):
            answers.add_metric((call or "other", str(code)), count)
        yield answers
        waiting = {
            "claim": len(broker.queue),
            "result": len(broker.waits),
            "events": len(broker.events),
            "output": len(broker.live),
        }
        yield _gauges("waiting_calls", "Calls that wait for news, by what they wait for.", "kind", waiting)
        yield _gauge("connections", "Open connections.", meter.connections())
        yield _histogram("claim_seconds", "What a claim that asked the store took, without waiting.", meter.claims)
        yield _histogram("event_loop_lag_seconds", "How late the event loop was, ten times a second.", meter.lags)

    def _store(self) -> Iterator[Metric]:
        load = self._broker.store.load()
        yield _histogram("store_commit_seconds", "Transactions of the database's writer.", load.commits)
        yield _histogram("store_operation_seconds", "From a change's call to its commit.", load.operations)
        yield _counter("store_refused", "Transactions that the database refused.", load.refused)
        yield _gauge("store_trouble", "1 while the database refuses changes.", self._broker.store.trouble() is not None)
        yield _gauge("store_queue_operations", "Changes that wait to be written.", load.waiting)
        yield _gauge("store_queue_limit_operations", "How many may.", load.most_waiting)
        yield _gauge("store_queue_bytes", "Payload of the changes that wait.", load.waiting_bytes)
        yield _gauge("database_bytes", "Size of the database file.", load.database_bytes)
        yield _gauge("database_wal_bytes", "Size of its write-ahead log.", load.log_bytes)
        yield _gauge("disk_free_bytes", "Free room on the database's disk.", load.free_bytes)
        if load.backed_up_at is not None:
            yield _gauge("backup_timestamp_seconds", "When broker-backup was last used.", load.backed_up_at)

    def _files(self) -> Iterator[Metric]:
        folder = self._broker.folder
        yield _gauge("blobs", "Stored contents of files.", len(folder))
        yield _gauge("blob_bytes", "Their size.", folder.stored_bytes)
        yield _gauge("blob_limit_bytes", "The most that is kept of them.", folder.max_bytes)

    def _webhooks(self) -> Iterator[Metric]:
        webhooks = self._broker.webhooks
        yield _gauge("webhooks_pending", "Ends of jobs that receivers have not heard of yet.", webhooks.due)
        yield _counters("webhook_deliveries", "Tries to deliver, by result.", "result", webhooks.deliveries)

    def _spans(self, traces: Traces) -> Iterator[Metric]:
        yield _counters("trace_spans", "Spans for the collector, by what became of them.", "result", traces.counts)
        yield _counter("trace_jobs_dropped", "Ended jobs whose spans were not made.", traces.dropped)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, text, value=value)


def _counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, text, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family


def _histogram(name: str, text: str, counted: Histogram) -> Metric:
    buckets = [("+Inf" if bound == float("inf") else str(bound), float(count)) for bound, count in counted.cumulative()]
    return HistogramMetricFamily(PREFIX + name, text, buckets=buckets, sum_value=counted.total)
