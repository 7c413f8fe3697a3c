"""What follows an attempt that was not the job's end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain.retry import BACKOFF_CAP_SECONDS, Again, Counters, Over, after_attempt, backoff
from broker.domain.words import AttemptOutcome, Failure

FRESH = Counters(losses=0, reruns=0, max_retries=3, cancel_requested=False)
INFRASTRUCTURE = [AttemptOutcome.NODE_LOST, AttemptOutcome.PLATFORM, AttemptOutcome.OVERDUE]


@given(st.integers(0, 10**6), st.floats(0, 1, exclude_max=True))
def test_backoff_stays_below_its_cap(failures: int, jitter: float) -> None:
    assert 0 <= backoff(failures, jitter) < BACKOFF_CAP_SECONDS or jitter == 0


def test_backoff_doubles() -> None:
    assert [backoff(n, 0.5) for n in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_the_first_lost_node_costs_no_delay_the_second_does() -> None:
    first = after_attempt(AttemptOutcome.NODE_LOST, FRESH, 0.5)
    assert first == Again(delay=0.0, losses=1, reruns=0)
    second = after_attempt(AttemptOutcome.NODE_LOST, Counters(1, 0, 3, False), 0.5)
    assert second == Again(delay=1.0, losses=2, reruns=0)


@pytest.mark.parametrize(
    ("outcome", "failure"),
    [
        (AttemptOutcome.NODE_LOST, Failure.NODE_LOST),
        (AttemptOutcome.PLATFORM, Failure.PLATFORM),
        (AttemptOutcome.OVERDUE, Failure.TIMEOUT),
    ],
)
def test_one_loss_more_than_the_retries_is_the_end(outcome: AttemptOutcome, failure: Failure) -> None:
    assert after_attempt(outcome, Counters(3, 0, 3, False), 0.5) == Over(failure, 4, 0)
    assert isinstance(after_attempt(outcome, Counters(2, 0, 3, False), 0.5), Again)
    assert isinstance(after_attempt(outcome, Counters(0, 0, 0, False), 0.5), Over)


def test_a_failed_program_runs_again_only_for_what_the_job_names() -> None:
    retry_on = frozenset({"exit"})
    again = after_attempt(AttemptOutcome.FAILED, FRESH, 0.5, verdict=Failure.EXIT, retry_on=retry_on)
    assert again == Again(0.5, losses=0, reruns=1)
    other = after_attempt(AttemptOutcome.FAILED, FRESH, 0.5, verdict=Failure.SIGNAL, retry_on=retry_on)
    assert other == Over(Failure.SIGNAL, 0, 0)
    none = after_attempt(AttemptOutcome.FAILED, FRESH, 0.5, verdict=Failure.EXIT)
    assert none == Over(Failure.EXIT, 0, 0)
    used_up = Counters(0, 3, 3, False)
    assert after_attempt(AttemptOutcome.FAILED, used_up, 0.5, verdict=Failure.EXIT, retry_on=retry_on) == Over(
        Failure.EXIT, 0, 3
    )


def test_a_release_gives_the_attempt_back() -> None:
    assert after_attempt(AttemptOutcome.RELEASED, Counters(3, 3, 3, False), 0.5) == Again(0.0, 3, 3, give_back=True)


@pytest.mark.parametrize("outcome", [*INFRASTRUCTURE, AttemptOutcome.FAILED, AttemptOutcome.RELEASED])
def test_a_job_that_was_to_be_cancelled_never_runs_again(outcome: AttemptOutcome) -> None:
    """And its counters say what its attempts were: a loss is a loss, a release gives the attempt back."""
    lost, released = outcome in INFRASTRUCTURE, outcome is AttemptOutcome.RELEASED
    for losses in (0, 3):
        end = after_attempt(outcome, Counters(losses, 1, 3, True), 0.5)
        assert end == Over(Failure.CANCELLED, losses + lost, 1, give_back=released)
