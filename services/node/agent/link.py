"""The always-open connection to the broker.

The kernel closes it when this process dies, which is how the broker notices within seconds; the broker sends orders
down it without waiting for a beat.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from agent.backoff import Backoff, jittered
from agent.broker_client import BrokerClient
from agent.errors import BrokerAwayError, BrokerRefusedError, SessionOverError
from agent.lease import Session
from agent.live_output import LiveOutput
from agent.logs import EventLog
from agent.model import read_keys
from agent.orders import Orders

LOG = EventLog("agent.link")

# The broker's default grace for a broken link is half a second: the first try comes at once.
AT_ONCE = 0.02
RETRY_BASE = 0.05
RETRY_CAP = 1.0  # no longer: without a link a killed node is noticed by its lease alone
STEADY = 5.0  # a link that lived for less is opened again with growing pauses: something does not like it
# Should the new link take long (a far broker, TLS), a beat on the connection that is still there says that we live.
PROOF_AFTER = 0.15
WITHOUT_LINK = 30.0  # a broker that has no /link is asked again, should it be replaced by one that has
LONGEST_LINE = 1 << 16


class Link:
    """Holds the link of one session open."""

    def __init__(
        self,
        session: Session,
        *,
        broker: BrokerClient,
        orders: Orders,
        live: LiveOutput,
        on_broken: Callable[[], None],
        on_reopened: Callable[[], None],
        retry_cap: float,
    ) -> None:
        self._session = session
        self._broker = broker
        self._orders = orders
        self._live = live
        self._on_broken = on_broken
        self._on_reopened = on_reopened
        self._retry_cap = retry_cap
        self._lock = threading.Lock()
        self._response: requests.Response | None = None
        self._opened = 0
        self._hello_at: float | None = None

    def run(self) -> None:
        """Keep the link open until the session is over."""
        backoff = Backoff(RETRY_BASE, min(RETRY_CAP, self._retry_cap))
        while not self._session.over.is_set():
            self._hello_at = None
            try:
                with self._broker.open_link(self._session.who) as response:
                    self._keep(response)
                    for line in _lines(response):
                        if self._session.over.is_set():
                            return
                        self._said_hello(line)
                        self.obey(line)
                reason = "the broker closed it"
            except (HTTPError, requests.RequestException, OSError, BrokerAwayError) as error:
                reason = str(error)
            except SessionOverError as error:
                self._session.end(error.reason)
                return
            except BrokerRefusedError as error:
                LOG.warning("link_refused", error=str(error))
                self._session.over.wait(WITHOUT_LINK)
                continue
            finally:
                self._keep(None)
            pause = self._pause(backoff)
            if not self._session.over.wait(pause):
                LOG.warning("link_broken", reason=reason, reopened_after=round(pause, 2))

    def _said_hello(self, line: dict[str, Any]) -> None:
        if line.get("type") == "hello":
            self._hello_at = time.monotonic()
            self._opened += 1
            LOG.debug("link_open", times=self._opened)
            if self._opened > 1:
                self._on_reopened()

    def _pause(self, backoff: Backoff) -> float:
        """How long to wait before the link is opened again."""
        if self._hello_at is None:
            return backoff.next()
        proof = threading.Timer(PROOF_AFTER, self._on_broken)
        proof.daemon = True
        try:
            proof.start()
        except RuntimeError:  # no thread to be had: better a beat too early than none
            self._on_broken()
        if time.monotonic() - self._hello_at < STEADY:
            return backoff.next()
        backoff.reset()
        return jittered(AT_ONCE, 1.0)

    def close(self) -> None:
        """End it from another thread."""
        with self._lock:
            if self._response is not None:
                try:
                    self._response.raw.shutdown()
                except (ValueError, RuntimeError, OSError):
                    return  # it has just ended by itself

    def obey(self, line: dict[str, Any]) -> None:
        """Do what one line says; an unknown type is one of a newer broker and says nothing that a beat would not."""
        kind = line.get("type")
        if kind == "cancel":
            for key in read_keys([line]):
                self._orders.cancel(key)
        elif kind == "lost":
            for key in read_keys([line]):
                self._orders.lost(key, str(line.get("reason") or "the broker says so"))
        elif kind == "follow":
            self._live.obey([line])
        elif kind == "unfollow":
            self._live.unfollow(read_keys([line]))
        elif kind in ("drain", "resume"):
            self._orders.drain(kind == "drain")

    def _keep(self, response: requests.Response | None) -> None:
        with self._lock:
            self._response = response


def _lines(response: requests.Response) -> Iterator[dict[str, Any]]:
    """The objects of an ndjson stream, each as soon as it is there."""
    rest = b""
    while chunk := response.raw.read1(LONGEST_LINE):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            try:
                value = json.loads(line or b"{}")
            except (ValueError, RecursionError):
                value = None
            if isinstance(value, dict):
                yield value
        if len(rest) > LONGEST_LINE:
            return
