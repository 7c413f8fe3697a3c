"""The always-open connection to the broker.

The kernel closes it when this process dies, which is how the broker notices within seconds; the broker sends orders
down it without waiting for a beat.
"""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from agent.backoff import Backoff
from agent.broker_client import BrokerClient
from agent.errors import BrokerAwayError, BrokerRefusedError, SessionOverError
from agent.lease import Session
from agent.logs import EventLog
from agent.notices import read_keys
from agent.orders import Orders

LOG = EventLog("agent.link")

# Quick first tries: the broker's default grace for a broken link is two seconds.
RETRY_BASE = 0.1
RETRY_CAP = 2.0  # no longer: without a link a killed node is noticed by its lease alone
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
        on_reopened: Callable[[], None],
        retry_cap: float,
    ) -> None:
        self._session = session
        self._broker = broker
        self._orders = orders
        self._on_reopened = on_reopened
        self._retry_cap = retry_cap
        self._lock = threading.Lock()
        self._response: requests.Response | None = None

    def run(self) -> None:
        """Keep the link open until the session is over."""
        backoff = Backoff(RETRY_BASE, min(RETRY_CAP, self._retry_cap))
        opened = 0
        while not self._session.over.is_set():
            try:
                with self._broker.open_link(self._session.who) as response:
                    self._keep(response)
                    for line in _lines(response):
                        if self._session.over.is_set():
                            return
                        if line.get("type") == "hello":
                            opened += 1
                            backoff.reset()
                            LOG.debug("link_open", times=opened)
                            if opened > 1:
                                self._on_reopened()
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
            pause = backoff.next()
            if not self._session.over.wait(pause):
                LOG.warning("link_broken", reason=reason, reopened_after=round(pause, 2))

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
            except ValueError:
                value = None
            if isinstance(value, dict):
                yield value
        if len(rest) > LONGEST_LINE:
            return
