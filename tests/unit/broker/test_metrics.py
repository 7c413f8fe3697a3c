"""Histograms, and the names that classes of jobs get in the metrics."""

import random

from hypothesis import given
from hypothesis import strategies as st

from broker.domain.histogram import CALL_SECONDS, JOB_SECONDS, Histogram
from broker.domain.placement import JobClass
from broker.service.told import KEEP_SECONDS, MOST_CLASSES, OTHER, ToldClasses


@given(st.lists(st.floats(0, 1e5)))
def test_a_histogram_counts_every_value_at_or_below_its_bound(values: list[float]) -> None:
    histogram = Histogram(JOB_SECONDS)
    histogram.add_all(values)
    assert list(histogram.cumulative()) == [
        (bound, sum(value <= bound for value in values)) for bound in (*JOB_SECONDS, float("inf"))
    ]
    assert (len(histogram), histogram.total) == (len(values), sum(values))


def test_bounds_rise() -> None:
    for bounds in (CALL_SECONDS, JOB_SECONDS):
        assert list(bounds) == sorted(set(bounds))


def key_of(number: int) -> str:
    return JobClass("python3", labels=(("made-up", str(number)),)).key()


def test_the_largest_classes_get_names_and_all_jobs_are_counted() -> None:
    pending = {(key_of(number), 5): number + 1 for number in range(500)}
    pending[key_of(499), 9] = 7
    sums = ToldClasses().sums(pending, 0.0)
    assert len(sums) == MOST_CLASSES + 1
    assert sums["python3, made-up=499"] == 507
    assert "python3, made-up=479" not in sums
    assert sum(sums.values()) == sum(pending.values())


def test_a_flood_of_classes_takes_no_name_from_one_that_has_it() -> None:
    told = ToldClasses()
    plain = (JobClass("python3").key(), 5)
    told.sums({plain: 1}, 0.0)
    rng = random.Random(1)
    names: set[str] = set()
    for moment in range(200):
        flood = {(key_of(rng.randrange(10**9)), 5): 50 for _ in range(100)}
        sums = told.sums(flood, float(moment))
        names |= sums.keys()
        assert sums["python3"] == 0
    assert len(names) <= MOST_CLASSES + 1, "time series are kept for weeks: their number in an hour is what counts"
    later = told.sums({(key_of(-1), 5): 3, plain: 1}, 200 + KEEP_SECONDS)
    assert (later["python3, made-up=-1"], later["python3"]) == (3, 1)


def test_names_are_short_and_printable_and_classes_with_the_same_name_are_summed() -> None:
    long = "x" * 200
    pending = {(JobClass("python3", labels=((long, str(number)),)).key(), 5): number for number in (1, 2)} | {
        (JobClass("python3", labels=(("a", '\n\x1b[31m}"'),)).key(), 5): 4
    }
    sums = ToldClasses().sums(pending, 0.0)
    assert set(sums) == {"python3, " + "x" * 71, 'python3, a=??[31m}"', OTHER}
    assert sums["python3, " + "x" * 71] == 3
