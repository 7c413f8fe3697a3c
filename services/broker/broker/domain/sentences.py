"""Why a job waits, and why one failed, in one sentence for a person. Numbers come in, words come out."""

import signal
from collections.abc import Mapping, Sequence
from typing import Any

from broker.domain.placement import Wish
from broker.domain.words import AttemptOutcome, Failure, NodeEventKind

__all__ = [
    "about",
    "attempts_so_far",
    "count",
    "missing",
    "results_so_far",
    "times",
    "unverified",
    "what_happened",
    "why_failed",
]

LONGEST_WORD = 80
"""Of what a client chose: a label, an interpreter, a region."""
LONGEST_MESSAGE = 200
WISHES_NAMED = 5
SENSELESS = 1e15
"""No measure of a job is as large; written out it could have 309 digits."""

_LIMIT_WORDS: Mapping[str, tuple[str, str]] = {
    "timeout": ("The program ran for", " s"),
    "cpu_seconds": ("The program used", " s of CPU time"),
    "memory_mb": ("The program's memory reached", " MiB"),
    "output_mb": ("The program printed", " MiB"),
    "disk_mb": ("The program's files took", " MiB"),
    "inodes": ("The program made", " files"),
    "processes": ("The program had", " processes"),
    "file_size_mb": ("One of the program's files took", " MiB"),
    "open_files": ("The program had", " open files"),
}
"""Name of a limit -> what is said of the peak, and its unit."""
_WITHOUT_NUMBERS: Mapping[Failure, str] = {
    Failure.TIMEOUT: "The program ran longer than its timeout",
    Failure.CPU: "The program used more CPU time than its limit",
    Failure.MEMORY: "The program used more memory than its limit",
    Failure.OUTPUT: "The program printed more than its limit",
    Failure.DISK: "The program's files took more room than the limit",
    Failure.PROCESSES: "The program had more processes than its limit",
}
_LOST_WORDS: Mapping[AttemptOutcome, str] = {
    AttemptOutcome.NODE_LOST: "its node was lost",
    AttemptOutcome.PLATFORM: "its executor failed",
    AttemptOutcome.OVERDUE: "its node kept it too long",
    AttemptOutcome.FAILED: "its program failed",
}


def about(seconds: float) -> str:
    """A time for a person: "under a second", "about 40 s", "about 3 min", "about 2 h"."""
    if seconds < 1:
        return "under a second"
    if seconds < 99.5:  # which would be rounded to 1e+02
        return f"about {seconds:.2g} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {round(seconds / 3600)} h" if seconds < 36 * 3600 else f"about {round(seconds / 86400)} days"


def count(number: float, thing: str) -> str:
    """ "1 node", "3 nodes" """
    return f"{number:,.0f} {thing}" + ("" if number == 1 else "s")


def times(number: int) -> str:
    """ "once", "twice", "3 times" """
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def missing(wishes: Sequence[Wish], by_nobody: bool) -> str:
    """ "No live node offers ruby, and none has a GPU": what is asked for and not there."""
    clauses = [_short(wish.clause) for wish in wishes[:WISHES_NAMED]]
    if by_nobody:
        return "No live node " + ", and none ".join(clauses)
    return "No single live node " + " and ".join(clauses)


def attempts_so_far(outcomes: Sequence[AttemptOutcome | None]) -> str:
    """ "after its node was lost twice and its program failed once": what the ended attempts came to."""
    said = []
    for outcome, words in _LOST_WORDS.items():
        number = sum(each is outcome for each in outcomes)
        if number:
            said.append(f"{words} {times(number)}")
    return " and ".join(said)


def what_happened(kind: NodeEventKind, reason: str | None, session: int | None, attempts: int) -> str:
    """What happened to a node. `attempts`: how many were taken back from it."""
    taken = f"; {count(attempts, 'attempt')} {'was' if attempts == 1 else 'were'} taken back" if attempts else ""
    match kind:
        case NodeEventKind.SESSION_BEGAN:
            return f"It registered: session {session} began."
        case NodeEventKind.SESSION_ENDED:
            why = {
                "evicted": "its join token was revoked",
                "left": "it had said that it leaves",
                "restored": "the broker came back from a backup",
            }
            return f"Session {session} ended: {why.get(reason or '', 'the next one took its place')}{taken}."
        case NodeEventKind.SILENT:
            return f"Nothing was heard of it until its lease ended{taken}."
        case NodeEventKind.LINK_BROKE:
            return f"Its link broke and it was not back in time{taken}."
        case NodeEventKind.RETURNED:
            return "It was heard of again."
        case NodeEventKind.LEAVING:
            return "It said that it stops and takes no more jobs."
        case NodeEventKind.DRAINED:
            return "It was drained: it takes no more jobs."
        case NodeEventKind.RESUMED:
            return "It was resumed: it takes jobs again."


def results_so_far(results: int, equal: int, quorum: int) -> str:
    """ "1 result has come, it takes 2 equal ones": how far a verification is."""
    came = "1 result has come" if results == 1 else f"{results} results have come, at most {equal} of them equal"
    return f"{came}, it takes {quorum} equal ones"


def unverified(replicas: int, quorum: int, results: int, equal: int) -> str:
    """Why a verification failed: too many results that differ, or too few nodes."""
    came = "1 result came" if results == 1 else f"{results} results came, at most {equal} of them equal"
    if equal + replicas - results < quorum:
        return f"Verification failed: {quorum} equal results of {replicas} nodes were asked for; {came}."
    return (
        f"Verification failed: it takes {quorum} equal results; {came}, and no further node was there to run the job."
    )


def why_failed(
    failure: Failure,
    *,
    exit_code: int | None,
    timeout: float,
    losses: int,
    reruns: int,
    max_retries: int,
    details: Mapping[str, Any],
    message: str | None = None,
    deadline: str | None = None,
    ran: bool = True,
) -> str:
    """One sentence. `details`: what its result says beside the output; `message`: what its last node said; `ran`:
    whether it was ever handed out."""
    allowed = f"the limit is {count(max_retries, 'retry').replace('retrys', 'retries')}"
    # `losses` counts lost nodes, failed executors and overdue attempts together; `failure` names the last one only.
    tries = f", the last of {losses} losses of all kinds" if losses > 1 else ""
    again = f"; the program failed {times(reruns + 1)} in all" if reruns else ""
    said = f": {_short(message, LONGEST_MESSAGE)}" if message else ""
    match failure:
        case Failure.EXIT:
            return f"The program ended with exit code {exit_code}{again}."
        case Failure.SIGNAL:
            return f"The program was ended by {_signal(details.get('signal'))}{again}."
        case Failure.NODE_LOST:
            return f"The job's node was lost{tries}; {allowed}."
        case Failure.PLATFORM:
            return f"The executor failed{tries}; {allowed}; the last time{said or ' it did not say why'}."
        case Failure.TIMEOUT if losses > max_retries:
            return f"The job's node kept it beyond its timeout of {timeout:g} s{tries}; {allowed}."
        case Failure.REJECTED:
            return f"No node could run the job{said or ', and none came that could'}."
        case Failure.EXPIRED:
            return f"The job's deadline, {deadline or 'which it was given'}, passed while it was pending."
        case Failure.CANCELLED:
            return "The job was cancelled." if ran else "The job was cancelled while it was pending."
        case _:
            return _at_its_limit(failure, timeout, details) + again + "."


def _at_its_limit(failure: Failure, timeout: float, details: Mapping[str, Any]) -> str:
    limit = details.get("limit")
    name = limit.get("name") if isinstance(limit, Mapping) else None
    value = limit.get("value") if isinstance(limit, Mapping) else None
    peak = limit.get("peak") if isinstance(limit, Mapping) else None
    if name in _LIMIT_WORDS and isinstance(value, int | float):
        words, unit = _LIMIT_WORDS[str(name)]
        reached = max(value, peak) if isinstance(peak, int | float) else value
        return f"{words} {_number(reached)}{unit}; the limit is {_number(value)}{unit}"
    if failure is Failure.TIMEOUT:
        return f"The program ran longer than its timeout of {timeout:g} s"
    return _WITHOUT_NUMBERS.get(failure, f"The job failed: {failure}")


def _number(value: float) -> str:
    if value >= SENSELESS:  # a node may say anything
        return f"{value:.1e}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _signal(number: object) -> str:
    if not isinstance(number, int):
        return "a signal"
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def _short(text: str, longest: int = LONGEST_WORD) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
