"""Claims jobs for free slots: one claim at a time, held open by the broker until there is work."""

import threading
import time
from collections.abc import Callable

from agent.attempts import Attempt, Attempts
from agent.backoff import Backoff
from agent.broker_client import CLAIM_WAIT, BrokerClient
from agent.errors import BadAnswerError, BrokerAwayError, BrokerRefusedError, SessionOverError
from agent.lease import Session
from agent.logs import EventLog
from agent.metrics import Metrics
from agent.model import Job
from agent.slots import Slots

LOG = EventLog("agent.claimer")

MAX_JOBS = 64  # in one claim, by the protocol
IDLE_CHECK = 0.5


class Claimer:
    """Claims for one session, for free slots.

    `ready` says at no cost whether the node may take work; `permitted` may ask a foreign sandrun, before each claim.
    """

    def __init__(
        self,
        session: Session,
        *,
        broker: BrokerClient,
        attempts: Attempts,
        slots: Slots,
        ready: Callable[[], bool],
        permitted: Callable[[], bool],
        start: Callable[[Attempt], None],
        on_drain: Callable[[], None],
        on_given_up: Callable[[], None],
        retry_cap: float,
        metrics: Metrics,
    ) -> None:
        self._session = session
        self._broker = broker
        self._attempts = attempts
        self._slots = slots
        self._ready = ready
        self._permitted = permitted
        self._start = start
        self._on_drain = on_drain
        self._on_given_up = on_given_up
        self._retry_cap = retry_cap
        self._metrics = metrics
        self._wake = threading.Event()
        self._given_up = threading.Event()
        self._retry = threading.Event()
        self._number = 1
        self._in_doubt = False
        """Whether the claim of this number was sent and its answer lost."""
        self._lapses = 0
        """Of the lease, when the claim under way was first sent."""

    def retry(self) -> None:
        """The broker is back: a pause before the next try makes no sense any more."""
        self._retry.set()

    def wake(self) -> None:
        """A slot is free, or something else that `ready` looks at has changed."""
        self._wake.set()

    def give_up(self) -> None:
        """The node is not ready any more: end the claim under way. What it may have brought goes back with a beat."""
        self._given_up.set()
        self._retry.set()
        self._broker.abort_claim()

    def run(self) -> None:
        """Claim until the session is over."""
        backoff = Backoff(0.1, self._retry_cap)
        while not self._session.over.is_set():
            self._wake.clear()
            count = self._slots.claimable
            if count == 0 or not self._ready():
                if self._in_doubt:
                    self._leave_to_others()
                self._wake.wait(IDLE_CHECK)
                continue
            self._given_up.clear()
            self._retry.clear()
            if not self._permitted():
                self._pause(backoff.next())
                continue
            if not self._given_up.is_set() and self._ready():
                self._try(min(count, MAX_JOBS), backoff)

    def _try(self, count: int, backoff: Backoff) -> None:
        """One claim, and the pause after one that brought nothing."""
        try:
            if self._claim(count):
                backoff.reset()
            else:
                self._pause(backoff.next())
        except BrokerAwayError as error:
            if self._given_up.is_set():
                self._leave_to_others()
                return
            # The same number again: had the lost answer brought attempts, the next one brings them too.
            self._in_doubt = True
            self._metrics.claim_failed()
            LOG.warning("claim_failed", claim_number=self._number, error=str(error))
            self._pause(max(backoff.next(), error.retry_after or 0.0))
        except BrokerRefusedError as error:
            self._metrics.claim_failed()
            LOG.error("claim_refused", error=str(error))
            self._pause(self._retry_cap)
        except SessionOverError as error:
            self._session.end(error.reason)

    def _claim(self, count: int) -> bool:
        """One claim; False when it came back empty too soon, as from a broker that does not hold claims open."""
        asked = time.monotonic()
        number = self._number
        if not self._in_doubt:
            self._lapses = self._session.lease.lapses
        answer = self._broker.claim(self._session.who, number, count, CLAIM_WAIT)
        if self._session.lease.lapses != self._lapses:
            # A pause of this process, or a slow answer: what was granted before it may be another node's by now, and
            # the beat that renewed the lease did not list it.
            LOG.warning("claim_answered_too_late", jobs=len(answer.jobs))
            self._leave_to_others()
            return False
        jobs = []
        if len(answer.jobs) > MAX_JOBS:
            # What is left out is not held, so the next beat gives it back.
            LOG.error("claim_too_large", jobs=len(answer.jobs), most=MAX_JOBS, note="is this a broker?")
        for value in answer.jobs[:MAX_JOBS]:
            try:
                jobs.append(Job.from_wire(value))
            except BadAnswerError as error:
                LOG.error("job_unreadable", error=str(error))
        attempts = self._attempts.grant(self._session, number, jobs)
        self._settled()
        self._metrics.claimed(len(attempts))
        for attempt in attempts:
            self._start(attempt)
        if answer.drain:
            self._on_drain()
        return bool(attempts) or time.monotonic() - asked > CLAIM_WAIT / 2

    def _leave_to_others(self) -> None:
        """This claim will not be tried again: what a lost answer may have brought is not to wait for this node."""
        self._attempts.give_up_claim(self._session, self._number)
        self._settled()
        self._on_given_up()

    def _settled(self) -> None:
        self._number += 1
        self._in_doubt = False

    def _pause(self, seconds: float) -> None:
        """Cut short by retry(), which the session's end calls too."""
        self._retry.wait(seconds)
