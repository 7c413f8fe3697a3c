"""Tells the broker which programs run now (POST /start): in the background, many at once, not for jobs already over."""

import threading
from collections.abc import Callable

from agent.attempts import Attempt
from agent.backoff import Backoff
from agent.broker_client import BrokerClient
from agent.errors import BrokerAwayError, BrokerRefusedError, SessionOverError
from agent.lease import Session
from agent.logs import EventLog
from agent.model import Key, read_keys

LOG = EventLog("agent.notices")

# A job that is over sooner than this is never announced: at 100 short jobs a second that saves 100 calls a second.
COALESCE = 0.05
RETRY_CAP = 5.0


class StartNotices:
    """Collects starts and announces them."""

    def __init__(
        self,
        broker: BrokerClient,
        on_lost: Callable[[Key, str], None],
        on_session_over: Callable[[Session, str], None],
    ) -> None:
        self._broker = broker
        self._on_lost = on_lost
        self._on_session_over = on_session_over
        self._lock = threading.Lock()
        self._waiting: list[Attempt] = []
        self._some = threading.Event()

    def add(self, attempt: Attempt) -> None:
        """Its program runs now."""
        with self._lock:
            self._waiting.append(attempt)
        self._some.set()

    def run(self, stop: threading.Event) -> None:
        """Announce until `stop` is set."""
        backoff = Backoff(COALESCE * 4, RETRY_CAP)
        pause = COALESCE
        while not stop.is_set():
            self._some.wait(timeout=1.0)
            if not self._some.is_set() or stop.wait(pause):
                continue
            self._some.clear()
            with self._lock:
                batch, self._waiting = self._waiting, []
            pause = COALESCE
            live = [attempt for attempt in batch if not attempt.settled and not attempt.session.over.is_set()]
            if not self._announce(live):
                pause = backoff.next()
                with self._lock:
                    self._waiting += live
                self._some.set()
            elif live:
                backoff.reset()

    def _announce(self, attempts: list[Attempt]) -> bool:
        """False when the broker is to be told again later."""
        if not attempts:
            return True
        session = attempts[0].session
        keys = [attempt.key for attempt in attempts if attempt.session is session]
        try:
            answer = self._broker.start(session.who, keys)
        except BrokerAwayError as error:
            LOG.warning("start_not_announced", count=len(keys), error=str(error))
            return False
        except SessionOverError as error:
            self._on_session_over(session, error.reason)
        except BrokerRefusedError as error:
            LOG.warning("start_refused", error=str(error))
        else:
            for key in read_keys(answer.get("lost")):
                self._on_lost(key, "start_refused")
        return True
