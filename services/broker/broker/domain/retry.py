"""What happens to a job when one of its attempts ends without being the job's end."""

from dataclasses import dataclass

from broker.domain.words import AttemptOutcome, Failure

__all__ = [
    "BACKOFF_BASE_SECONDS",
    "BACKOFF_CAP_SECONDS",
    "Again",
    "Counters",
    "Over",
    "after_attempt",
    "backoff",
]

BACKOFF_BASE_SECONDS = 1.0
BACKOFF_CAP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Counters:
    """What a job has been through, before the attempt in question is counted.

    `losses` are infrastructure failures, `reruns` program failures that `retry_on` asked to run again;
    each is allowed `max_retries` times, the two do not share the allowance.
    """

    losses: int
    reruns: int
    max_retries: int
    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class Again:
    """The job goes back to the queue after `delay` seconds."""

    delay: float
    losses: int
    reruns: int
    give_back: bool = False
    """Whether the attempt is not counted."""


@dataclass(frozen=True, slots=True)
class Over:
    """The job has failed for good."""

    failure: Failure
    losses: int
    reruns: int
    give_back: bool = False
    """Whether its last attempt is not counted."""


_LAST_WORD = {
    AttemptOutcome.NODE_LOST: Failure.NODE_LOST,
    AttemptOutcome.PLATFORM: Failure.PLATFORM,
    AttemptOutcome.OVERDUE: Failure.TIMEOUT,
}


def backoff(failures: int, jitter: float) -> float:
    """Full jitter: a delay in seconds between 0 and the doubling ceiling, `jitter` being in [0, 1)."""
    exponent = min(max(failures, 1) - 1, 16)
    return jitter * min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * float(2**exponent))


def after_attempt(
    outcome: AttemptOutcome,
    counters: Counters,
    jitter: float,
    *,
    verdict: Failure | None = None,
    retry_on: frozenset[str] = frozenset(),
) -> Again | Over:
    """Decide whether a job whose attempt ended with `outcome` runs again.

    `verdict` is the node's word on a program that failed. The first lost node costs no delay: the job is not to blame.
    The counters say what its attempts were, also when it ends for another reason: they always add up.
    """
    reruns = counters.reruns
    losses = counters.losses + (outcome in _LAST_WORD)
    released = outcome is AttemptOutcome.RELEASED
    if counters.cancel_requested or outcome is AttemptOutcome.CANCELLED:
        return Over(Failure.CANCELLED, losses, reruns, give_back=released)
    if released:
        return Again(0.0, losses, reruns, give_back=True)
    if outcome is AttemptOutcome.FAILED:
        failure = verdict or Failure.EXIT
        if failure not in retry_on or reruns >= counters.max_retries:
            return Over(failure, losses, reruns)
        return Again(backoff(reruns + 1, jitter), losses, reruns + 1)
    if losses > counters.max_retries:
        return Over(_LAST_WORD[outcome], losses, reruns)
    first_loss = outcome is AttemptOutcome.NODE_LOST and losses == 1
    return Again(0.0 if first_loss else backoff(losses, jitter), losses, reruns)
