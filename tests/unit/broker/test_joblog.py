"""The jobs' log: what is ordinary is summed up, what went wrong is written, and not more often than is good."""

import logging
from typing import Any

import pytest

from broker.context import REQUEST_ID, request_id_of
from broker.domain.words import AttemptOutcome, Failure, JobStatus
from broker.service.joblog import MOST_A_SECOND, SUM_SECONDS, JobLog
from broker.store.changes import Step
from broker.store.records.submission import SubmittedJob

P, A, R, C, F = JobStatus.PENDING, JobStatus.ASSIGNED, JobStatus.RUNNING, JobStatus.COMPLETED, JobStatus.FAILED


def step(old: JobStatus | None, new: JobStatus, **given: Any) -> Step:
    return Step("job-1", old, new, "x", 5)._replace(**given)


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, object]]]:
    return [(record.message, getattr(record, "fields", {})) for record in caplog.records]


def test_the_ordinary_is_summed_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    jobs = JobLog(lambda node: 7)
    jobs.tick(0.0)
    for _ in range(1000):
        held = {"node_id": "n", "fence": 1, "attempt": 1}
        jobs.take([step(None, P), step(P, A, **held), step(A, R, **held)], 1.0)
        jobs.take([step(R, C, outcome=AttemptOutcome.COMPLETED, **held)], 1.0)
    assert lines(caplog) == []
    jobs.tick(SUM_SECONDS - 1)
    assert lines(caplog) == []
    jobs.tick(SUM_SECONDS)
    assert lines(caplog) == [("jobs", {"seconds": 60, "submitted": 1000, "completed": 1000})]
    jobs.tick(3 * SUM_SECONDS)
    assert len(caplog.records) == 1, "nothing happened: nothing is written"


def test_what_went_wrong_is_written_at_a_bounded_rate(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    jobs = JobLog(lambda node: 7)
    jobs.tick(0.0)
    lost = step(R, P, node_id="n", fence=2, attempt=1, outcome=AttemptOutcome.NODE_LOST)
    jobs.take([lost], 1.0)
    facts = {"job": "job-1", "attempt": 1, "fence": 2, "node": "n", "session": 7, "outcome": "node_lost"}
    assert lines(caplog) == [("job was rescued: its node was lost", facts)]
    jobs.take([lost] * 1000, 2.0)
    assert len(caplog.records) == 1 + MOST_A_SECOND
    jobs.take([lost], 3.0)
    assert len(caplog.records) == 2 + MOST_A_SECOND
    jobs.tick(SUM_SECONDS)
    assert lines(caplog)[-1] == ("jobs", {"seconds": 60, "again": 1002, "unwritten": 1000 - MOST_A_SECOND})


def test_a_submit_whose_caller_named_it_is_written_at_a_bounded_rate(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    jobs = JobLog(lambda node: None)
    two = [SubmittedJob("job-1", P), SubmittedJob("job-2", P)]
    for headers in ((), ((b"x-request-id", b"no id"),)):
        token = REQUEST_ID.set(request_id_of(headers))
        jobs.submitted(two, "k", 1.0)
        REQUEST_ID.reset(token)
    jobs.submitted(two, "k", 1.0)
    assert lines(caplog) == [], "nobody named it"
    token = REQUEST_ID.set(request_id_of(((b"x-request-id", b"nightly-8"),)))
    jobs.submitted(two[:1], "k", 1.0)
    jobs.submitted(two, "k", 2.0)
    jobs.submitted([], None, 2.0)
    for _ in range(1000):
        jobs.submitted(two, "k", 3.0)
    REQUEST_ID.reset(token)
    facts = {"job": "job-1", "key": "k", "cached": False}
    assert lines(caplog)[:2] == [("job was submitted", facts), ("job was submitted", facts | {"jobs": 2})]
    assert len(caplog.records) == 2 + MOST_A_SECOND
    jobs.take([step(R, P, node_id="n", outcome=AttemptOutcome.NODE_LOST)], 3.0)
    assert len(caplog.records) == 3 + MOST_A_SECOND, "what goes wrong is not crowded out"


def test_ends_that_are_nobodys_wish_are_written(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    jobs = JobLog(lambda node: None)
    jobs.take([step(R, F, failure=Failure.EXIT, node_id="n", outcome=AttemptOutcome.FAILED)], 1.0)
    assert lines(caplog) == []
    jobs.take([step(P, F, failure=Failure.REJECTED, seconds=300.0)], 1.0)
    jobs.take([step(R, F, failure=Failure.NODE_LOST, node_id="n", outcome=AttemptOutcome.NODE_LOST)], 1.0)
    (rejected, facts), (ended, _) = lines(caplog)
    assert (rejected, facts) == (
        "job ended",
        {"job": "job-1", "status": "failed", "failure": "rejected", "seconds": 300.0},
    )
    assert ended == "job ended"
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
