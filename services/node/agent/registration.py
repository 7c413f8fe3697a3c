"""Registering: who this node is, what it can do, and how long to insist."""

import secrets
import socket
import threading
from collections.abc import Callable
from typing import Any

from agent import __version__
from agent.backoff import Backoff
from agent.broker_client import BrokerClient
from agent.clock import Clock
from agent.errors import BrokerAwayError, BrokerError, BrokerRefusedError
from agent.identity import Identity, IdentityFile
from agent.lease import Session
from agent.logs import EventLog
from agent.settings import Settings
from loglines import always

LOG = EventLog("agent.registration")

Offer = tuple[dict[str, Any], int]
"""Capabilities and slots."""

# Sessions that the broker ends again and again so soon mean that another process has the same identity.
SHORT_SESSION, SHORT_SESSIONS = 30.0, 3


REFUSED_CAP = 60.0  # seconds between tries that somebody has to mend first: a token, a setting
_ASKS_FOR_KEY = (0, 401, 403)


def _advice(error: BrokerRefusedError) -> dict[str, str]:
    """What to do about it, for the log."""
    if error.status not in _ASKS_FOR_KEY:
        return {}
    return {"note": "set NODE_TOKEN or NODE_TOKEN_FILE to a token from: broker-keys create --role node --name NAME"}


class Registrar:
    """Gets sessions from the broker, with the identity of earlier ones."""

    def __init__(self, settings: Settings, broker: BrokerClient, clock: Clock, identity: IdentityFile) -> None:
        self._settings = settings
        self._broker = broker
        self._clock = clock
        self._identity = identity
        self.offered: Offer = ({}, 0)
        """What the last try named."""
        self._started = 0.0
        self._short_in_a_row = 0
        self._key = ""
        """Names this try to become a node until it is answered: a lost answer must not make one more node."""

    def register(self, offer: Callable[[], Offer], stop: threading.Event) -> Session | None:
        """A new session, however long it takes; None when `stop` was set first. `offer` is asked before each try."""
        backoff = Backoff(0.2, self._settings.poll_interval)
        refused = Backoff(min(2.0, self._settings.poll_interval), REFUSED_CAP)
        while not stop.is_set():
            try:
                self.offered = offer()
                return self._try(*self.offered)
            except BrokerRefusedError as error:
                if error.reason == "wrong_secret":
                    LOG.warning("identity_refused", note="registering as a new node")
                    self._identity.forget()
                    continue
                pause = refused.next()
                LOG.error("registration_refused", error=error.message, retry_in=round(pause, 1), **_advice(error))
                stop.wait(pause)
            except BrokerError as error:
                after = error.retry_after if isinstance(error, BrokerAwayError) else None
                pause = max(backoff.next(), after or 0.0)
                LOG.warning("broker_away", error=str(error), retry_in=round(pause, 2))
                stop.wait(pause)
        return None

    def ended(self, session: Session) -> None:
        """This session is over; after several short ones in a row the node becomes a new one."""
        short = session.reason == "session_ended" and self._clock.now() - self._started < SHORT_SESSION
        self._short_in_a_row = self._short_in_a_row + 1 if short else 0
        if self._short_in_a_row >= SHORT_SESSIONS:
            LOG.error("identity_shared", note="another process keeps ending our sessions; registering as a new node")
            self._identity.forget()
            self._short_in_a_row = 0

    def _try(self, capabilities: dict[str, Any], slots: int) -> Session:
        url = self._settings.broker_url
        known = self._identity.load(url)
        self._key = self._key or secrets.token_urlsafe(24)
        body: dict[str, Any] = {
            "endpoint": self._settings.sandrun_url,
            "capabilities": capabilities,
            "slots": slots,
            "name": self._settings.name or socket.gethostname(),
            "version": __version__,
            "idempotency_key": self._key,
        }
        if known is not None:
            body.update(node_id=known.node_id, secret=known.secret)
        terms = self._broker.register(body)
        self._key = ""
        self._started = self._clock.now()
        if terms.secret:
            self._identity.save(Identity(url, terms.node_id, terms.secret))
        always(node=terms.node_id)
        LOG.info(
            "registered",
            back=known is not None and known.node_id == terms.node_id,
            slots=slots,
            lease_seconds=terms.lease_seconds,
            interpreters=capabilities["interpreters"],
        )
        return Session(terms, self._clock)
