"""The tally: what is pending, and the last hour in slices."""

import random

import pytest

from broker.domain.words import Failure, JobStatus
from broker.service.tally import SLICE_SECONDS, SLICES, Tally
from broker.store.changes import Step
from broker.store.records.upkeep import Flow

P, A, R, C, F = JobStatus.PENDING, JobStatus.ASSIGNED, JobStatus.RUNNING, JobStatus.COMPLETED, JobStatus.FAILED
NOW = 1_000_000.0


def test_pending_follows_every_transition() -> None:
    tally = Tally()
    tally.restore([Flow("x", "ann", 5, 0, 1, 2), Flow("x", "bob", 5, 0, 0, 1), Flow("y", None, 9, 0, 0, 1)])
    assert dict(tally.pending) == {("x", 5): 3, ("y", 9): 1}
    tally.take([Step("1", None, P, "x", 5), Step("2", P, A, "y", 9, 1.0), Step("3", P, F, "x", 5, 2.0)], NOW)
    assert dict(tally.pending) == {("x", 5): 3}
    tally.take([Step("2", A, R, "y", 9), Step("2", R, P, "y", 9)], NOW)
    assert dict(tally.pending) == {("x", 5): 3, ("y", 9): 1}


def test_the_hour_counts_what_ended_and_how_long_it_took() -> None:
    tally = Tally()
    tally.take([Step(str(n), P, A, "x", 5, 0.1) for n in range(99)] + [Step("late", P, A, "x", 5, 50.0)], NOW)
    tally.take([Step(str(n), R, C, "x", 5, 1.0) for n in range(9)], NOW)
    tally.take([Step("10", R, F, "x", 5, 3.0, Failure.MEMORY)], NOW + SLICE_SECONDS)
    hour = tally.hour(NOW + SLICE_SECONDS)
    assert (hour["completed"], hour["failed"], hour["failures"]) == (9, 1, {"memory": 1})
    assert hour["wait_p50"] == pytest.approx(0.1, rel=0.06)
    assert hour["wait_p95"] == pytest.approx(0.1, rel=0.06)
    assert hour["total_p95"] == pytest.approx(3.0, rel=0.06)
    series = tally.series(NOW + SLICE_SECONDS)
    assert all(len(series[name]) == SLICES for name in ("submitted", "completed", "failed", "wait_p50", "total_p95"))
    assert (series["completed"][-2:], series["failed"][-2:]) == ([9, 0], [0, 1])
    assert (series["wait_p50"][-1], series["total_p50"][-1]) == (None, pytest.approx(3.0, rel=0.06))


def test_what_is_older_than_an_hour_is_forgotten() -> None:
    tally = Tally()
    for minute in range(200):
        tally.take([Step("a", R, C, "x", 5, 1.0)], NOW + 60 * minute)
    assert tally.hour(NOW + 60 * 199)["completed"] == 60
    assert sum(tally.series(NOW + 60 * 199 + 1800)["completed"]) == 30
    assert tally.hour(NOW + 60 * 199 + 3600)["completed"] == 0


def test_percentiles_are_right_to_six_percent() -> None:
    source, tally = random.Random(7), Tally()
    times = sorted(source.lognormvariate(0, 2) for _ in range(5000))
    tally.take([Step("a", R, C, "x", 5, seconds) for seconds in times], NOW)
    hour = tally.hour(NOW)
    assert hour["total_p50"] == pytest.approx(times[2500], rel=0.06)
    assert hour["total_p95"] == pytest.approx(times[4750], rel=0.06)


def test_times_of_nothing_are_not_taken_for_errors() -> None:
    tally = Tally()
    tally.take([Step("a", P, A, "x", 5, 0.0), Step("a", A, C, "x", 5, -1e-9)], NOW)
    assert tally.hour(NOW)["wait_p50"] == pytest.approx(0.001, rel=0.1)
