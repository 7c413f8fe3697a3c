"""One attempt through sandrun: submit, wait for the end, hand the verdict on.

A run ends in exactly one of: a result, a platform failure, a release. What sandrun did wrong is never the job's fault.
"""

import time
from collections.abc import Callable
from typing import Any

from agent.artifacts import Artifacts, left_by
from agent.attempts import Attempt, Stop
from agent.backoff import Backoff
from agent.description import Description
from agent.errors import (
    BadSubmissionError,
    BadUploadError,
    BrokerRefusedError,
    InputLostError,
    JobVanishedError,
    SandrunBusyError,
    SandrunGoneError,
    SandrunRefusedError,
    SandrunSilentError,
    SessionOverError,
)
from agent.inputs import Inputs
from agent.logs import EventLog
from agent.model import Completion, cancelled, platform_failure, rejected
from agent.notices import StartNotices
from agent.sandrun_client import CALL_TIMEOUT, FILES_TIMEOUT, SandrunClient
from agent.sandrun_watch import SandrunWatch
from agent.settlement import Settlement
from agent.stopper import Stopper
from agent.strays import Strays
from agent.submission import Body, FileBody, build, build_from_files
from agent.verdict import ENDED, completion
from agent.waiting import Waiter
from loglines import about

LOG = EventLog("agent.runner")

BUSY_SECONDS = 15.0  # how long a sandrun that takes no job now is asked again before the job is given back
# How long a job may wait inside sandrun, for memory that others were promised, before it is given back.
QUEUED_SECONDS = 60.0
# How long a job that has a slot waits for a sandrun that has just failed somebody, before it is given back.
DOWN_SECONDS = 1.0
CLEAR_EVERY = 1.0
# A foreign sandrun starts jobs from a loop that sleeps a second.
FOREIGN_START = 2.0
# Ours enforces the time limit itself and needs a moment to kill, collect and report.
LIMIT_REPORT = 15.0
FOREIGN_SUBMIT = 60.0
# A foreign sandrun lets a job run on for at most its documented maximum, whatever this agent has given up.
FOREIGN_LONGEST = 3600.0


class Runner:
    """Runs attempts; `run` is called by one thread for each."""

    def __init__(
        self,
        sandrun: SandrunClient,
        watch: SandrunWatch,
        settlement: Settlement,
        stopper: Stopper,
        notices: StartNotices,
        inputs: Inputs,
        artifacts: Artifacts,
        strays: Strays,
        *,
        on_busy: Callable[[], None],
    ) -> None:
        self._sandrun = sandrun
        self._waiter = Waiter(sandrun)
        self._watch = watch
        self._settlement = settlement
        self._stopper = stopper
        self._notices = notices
        self._inputs = inputs
        self._artifacts = artifacts
        self._strays = strays
        self._on_busy = on_busy

    def run(self, attempt: Attempt) -> None:
        """See the attempt to its end; returns when its slot can take another one."""
        attempt.began_at = time.time()
        with about(attempt.key.request_id, attempt.job.request_id):
            self._run_named(attempt)
        if attempt.sandrun_id is not None:
            self._strays.ended(attempt.sandrun_id)

    def _run_named(self, attempt: Attempt) -> None:
        try:
            self._run(attempt)
        except SandrunSilentError as error:
            self._sandrun_failed(attempt, error)
        except SandrunGoneError as error:
            if error.sent or attempt.sandrun_id is not None:
                self._sandrun_failed(attempt, error)
            else:
                self._watch.suspect(str(error))
                self._settlement.release(attempt, "sandrun was not reached")
        except JobVanishedError as error:
            self._sandrun_failed(attempt, error)
        except (InputLostError, BrokerRefusedError) as error:
            self._input_lost(attempt, error)
        except SessionOverError as error:
            attempt.session.end(error.reason)
        except BadUploadError as error:
            self._settlement.result(attempt, rejected(attempt.key, str(error)))
        except (SandrunRefusedError, BadSubmissionError) as error:
            self._settlement.result(attempt, platform_failure(attempt.key, str(error)))
        except Exception as error:
            # A job that trips a fault of ours must not take the other jobs of the node with it.
            LOG.crash("run_crashed", **attempt.key.facts)
            self._settlement.result(attempt, platform_failure(attempt.key, f"the agent failed: {type(error).__name__}"))
            self._stopper.kill(attempt)

    def _sandrun_failed(self, attempt: Attempt, error: Exception) -> None:
        self._watch.suspect(str(error))
        self._settlement.result(attempt, platform_failure(attempt.key, str(error)))
        self._stopper.kill(attempt)

    def _run(self, attempt: Attempt) -> None:
        if attempt.settled:
            return  # lost while it waited for a slot
        if not self._watch.wait_up(DOWN_SECONDS):
            self._settlement.release(attempt, "sandrun does not answer")
            return
        description = self._watch.description
        _check_supported(attempt, description)
        if not self._hand_to_sandrun(attempt, description):
            return
        self._notices.add(attempt)
        ended = self._wait(attempt, description)
        if ended is not None:
            attempt.ended_at = time.time()
            self._hand_in(attempt, *ended)
        elif not description.can("cancel"):
            self._wait_until_clear(attempt)

    def _hand_to_sandrun(self, attempt: Attempt, description: Description) -> bool:
        """Submit the job; False when the attempt ended before it was started."""
        if not attempt.job.uploads:
            return self._submit(attempt, build(attempt.job, plain_manifest=description.foreign), description)
        with self._inputs.fetched(attempt) as files:
            body = build_from_files(attempt.job, files, plain_manifest=description.foreign)
            return self._submit(attempt, body, description)

    def _input_lost(self, attempt: Attempt, error: InputLostError | BrokerRefusedError) -> None:
        if attempt.stop is Stop.CANCEL:
            self._settlement.result(attempt, cancelled(attempt.key))
        elif isinstance(error, BrokerRefusedError) and error.reason == "stale_lease":
            self._settlement.drop(attempt, "the broker says so")
        elif attempt.stop is None:
            self._settlement.result(attempt, platform_failure(attempt.key, str(error)))

    def _hand_in(self, attempt: Attempt, done: Completion, status: dict[str, Any]) -> None:
        """A verdict of `cancelled` is a result when the job's owner asked; otherwise it traces our own kill."""
        if done.failure != "cancelled" or attempt.stop is Stop.CANCEL:
            left = left_by(str(attempt.sandrun_id), status)
            if left is None:
                self._settlement.result(attempt, done)
            else:
                self._artifacts.hand_over(attempt, done, left)
        elif attempt.stop is Stop.RELEASE:
            self._settlement.release(attempt, "the node drains")
        else:
            self._settlement.result(attempt, platform_failure(attempt.key, "the job was cancelled inside sandrun"))

    def _submit(self, attempt: Attempt, body: Body | FileBody, description: Description) -> bool:
        """Hand the job to sandrun; False when the attempt ended before it was started."""
        # Within one lease, however short: the broker must not wait for a node that only waits itself.
        give_up = time.monotonic() + min(BUSY_SECONDS, max(0.0, attempt.session.lease.remaining))
        backoff = Backoff(0.2, 3.0)
        read_timeout = FOREIGN_SUBMIT if description.foreign else CALL_TIMEOUT * 3
        if isinstance(body, FileBody):
            read_timeout = FILES_TIMEOUT
        while not attempt.stopping.is_set() and not attempt.settled:
            if attempt.session.lease.over:
                self._settlement.release(attempt, "the lease was over before the start")
                return False
            try:
                attempt.handed.set()
                taken = self._sandrun.submit(body, read_timeout)
            except SandrunBusyError as error:
                attempt.handed.clear()
                pause = backoff.next()
                if time.monotonic() + pause > give_up:
                    self._on_busy()
                    self._settlement.release(attempt, f"sandrun takes no job: {error}")
                    return False
                attempt.stopping.wait(pause)
                continue
            self._strays.began(taken.job_id)
            if not attempt.launched(taken.job_id):
                self._stopper.kill(attempt)
                break
            LOG.info("attempt_started", **attempt.facts, sandrun_job=taken.job_id)
            return not taken.waits or self._starts(attempt)
        if attempt.stop is Stop.CANCEL:
            self._settlement.result(attempt, cancelled(attempt.key))
        return False

    def _starts(self, attempt: Attempt) -> bool:
        """Wait until sandrun lets it run; False when that takes too long, and it goes back for another node to run."""
        if self._waiter.started(attempt, QUEUED_SECONDS):
            return True
        self._on_busy()
        self._stopper.kill(attempt)
        self._settlement.release(attempt, "it waited inside sandrun for memory that other jobs were promised")
        return False

    def _wait(self, attempt: Attempt, description: Description) -> tuple[Completion, dict[str, Any]] | None:
        """The completion of the submitted job and sandrun's last status of it; None when it was given up while it may
        still run."""
        enforced = description.can("limits")
        allowed = attempt.job.timeout + (LIMIT_REPORT if enforced else FOREIGN_START)
        status = self._waiter.ended(attempt, allowed, description)
        if status is not None:
            logs = status if description.can("wait", "result") else self._sandrun.logs(str(attempt.sandrun_id))
            return completion(attempt.key, status, logs, description), status
        self._stopper.kill(attempt)
        if attempt.settled:
            return None
        if enforced:
            raise SandrunGoneError("sandrun did not end the job at its time limit")
        gone = Completion(
            key=attempt.key,
            failure="timeout",
            limit={"name": "timeout", "value": attempt.job.timeout, "peak": None},
            usage={"wall_seconds": allowed},
        )
        self._settlement.result(attempt, gone)
        return None

    def _wait_until_clear(self, attempt: Attempt) -> None:
        """Keep the slot until a job that cannot be killed has ended: the next one would only wait behind it."""
        LOG.warning("run_cannot_be_killed", **attempt.key.facts, note="its slot is taken until it ends by itself")
        deadline = time.monotonic() + FOREIGN_LONGEST
        while (left := deadline - time.monotonic()) > 0:
            try:
                if self._sandrun.status(str(attempt.sandrun_id), left).get("status") in ENDED:
                    return
            except (SandrunGoneError, JobVanishedError):
                return
            attempt.session.over.wait(CLEAR_EVERY)


def _check_supported(attempt: Attempt, description: Description) -> None:
    """Refuse what cannot be run as it is meant, above all what this sandrun would silently leave out."""
    if attempt.job.unreadable:
        raise BadSubmissionError(f"the broker's job cannot be read: {attempt.job.unreadable}")
    if attempt.job.stdin and not description.can("stdin"):
        raise SandrunRefusedError("this node's sandrun cannot give a job standard input (no extension 'stdin')")
    wanted = attempt.job.environment
    if wanted and wanted not in description.environments:
        there = ", ".join(description.environments) or "none"
        raise SandrunRefusedError(f"this node's sandrun has no environment {wanted!r}; it has: {there}")
    if attempt.job.env and description.foreign:
        raise SandrunRefusedError("this node's sandrun cannot set a job's environment variables")
