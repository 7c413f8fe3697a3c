"""Which node can run what, and what to tell those who wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain.placement import JobClass, NodeProfile, can_run, distance, waiting_for

PLAIN = NodeProfile(interpreters=frozenset({"python3", "bash"}), max_memory_mb=1024, cpu_cores=4)
RICH = NodeProfile(
    interpreters=frozenset({"python3", "ruby"}),
    max_memory_mb=8192,
    gpu=True,
    cpu_cores=32,
    labels=frozenset({("disk", "ssd"), ("team", "red")}),
    region="eu",
    location=(52.5, 13.4),
)

classes = st.builds(
    JobClass,
    interpreter=st.sampled_from(["python3", "ruby", "c++"]),
    memory_mb=st.integers(0, 100).map(lambda steps: steps * 64),
    gpu=st.booleans(),
    min_cpu_cores=st.integers(0, 64),
    labels=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3).map(
        lambda d: tuple(sorted(d.items()))
    ),
    region=st.none() | st.text(min_size=1, max_size=5),
    prefer_region=st.none() | st.text(min_size=1, max_size=5),
    prefer_near=st.none() | st.tuples(st.integers(-90, 90), st.integers(-180, 180)),
    needs=st.sampled_from([(), ("env",), ("stdin",), ("env", "stdin")]),
    environment=st.none() | st.text(min_size=1, max_size=5),
)


@given(classes)
def test_a_key_is_the_class(job: JobClass) -> None:
    assert JobClass.from_key(job.key()) == job


@pytest.mark.parametrize(
    ("job", "plain", "rich"),
    [
        (JobClass("python3"), True, True),
        (JobClass("bash"), True, False),
        (JobClass("python3", memory_mb=1024), True, True),
        (JobClass("python3", memory_mb=1088), False, True),
        (JobClass("python3", gpu=True), False, True),
        (JobClass("python3", min_cpu_cores=4), True, True),
        (JobClass("python3", min_cpu_cores=4.5), False, True),
        (JobClass("python3", labels=(("disk", "ssd"),)), False, True),
        (JobClass("python3", labels=(("disk", "hdd"),)), False, False),
        (JobClass("python3", region="eu"), False, True),
        (JobClass("python3", prefer_region="mars"), True, True),
    ],
)
def test_a_node_runs_what_it_offers(job: JobClass, plain: bool, rich: bool) -> None:
    assert (can_run(job, PLAIN), can_run(job, RICH)) == (plain, rich)


@pytest.mark.parametrize(
    ("job", "ours", "foreign"),
    [
        (JobClass("python3"), True, True),
        (JobClass("python3", needs=("stdin",)), True, False),
        (JobClass("python3", needs=("env", "stdin")), True, False),
        (JobClass("python3", environment="ml"), False, True),
        (JobClass("python3", environment="web"), False, False),
    ],
)
def test_what_a_sandrun_lacks_or_has_prepared_is_matched(job: JobClass, ours: bool, foreign: bool) -> None:
    existing = NodeProfile(frozenset({"python3"}), lacks=frozenset({"stdin"}), environments=frozenset({"ml"}))
    assert (can_run(job, RICH), can_run(job, existing)) == (ours, foreign)


def test_few_classes_are_plain_whatever_jobs_are_given() -> None:
    assert JobClass("python3", 512, needs=("env", "stdin")).is_plain
    assert not JobClass("python3", environment="ml").is_plain


def test_a_node_that_offers_nothing_runs_nothing() -> None:
    assert not can_run(JobClass("python3"), NodeProfile())


def test_a_node_that_does_not_state_its_memory_is_taken_at_its_word() -> None:
    assert can_run(JobClass("sh", memory_mb=99_968), NodeProfile(interpreters=frozenset({"sh"})))


@pytest.mark.parametrize(("asked", "step"), [(None, 0), (1, 64), (64, 64), (65, 128), (2048, 2048)])
def test_memory_is_matched_in_steps(asked: int | None, step: int) -> None:
    assert JobClass.memory_step(asked) == step


def test_preferences_order_nodes() -> None:
    berlin, sydney = RICH, NodeProfile(location=(-33.9, 151.2))
    paris = JobClass("python3", prefer_near=(49.0, 2.0))
    assert distance(paris, berlin) < 0.06 < 0.8 < distance(paris, sydney) < distance(paris, PLAIN) == 1.0
    assert distance(JobClass("python3", prefer_region="eu"), RICH) == 0.0
    assert distance(JobClass("python3", prefer_region="eu"), PLAIN) == 1.0
    assert distance(JobClass("python3"), PLAIN) == 0.0


@pytest.mark.parametrize(
    ("job", "nodes", "words"),
    [
        (JobClass("python3"), [PLAIN, RICH], None),
        (JobClass("python3"), [], "a live node that takes jobs: none is there"),
        (JobClass("perl"), [PLAIN, RICH], "a live node with interpreter perl"),
        (JobClass("perl", gpu=True), [PLAIN, RICH], "a live node with interpreter perl"),
        (JobClass("c", environment="ml"), [PLAIN], "a live node with interpreter c and environment ml"),
        (JobClass("bash", gpu=True), [PLAIN, RICH], "a live node with a GPU and interpreter bash"),
    ],
)
def test_what_a_job_waits_for_is_said(job: JobClass, nodes: list[NodeProfile], words: str | None) -> None:
    assert waiting_for(job, nodes) == words
