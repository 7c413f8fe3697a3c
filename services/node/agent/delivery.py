"""Hands results to the broker, off the critical path of the slots, until it has acknowledged each of them."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from agent.artifacts import MOST_NAMED, Artifacts
from agent.attempts import Attempts
from agent.backoff import Backoff
from agent.broker_client import BrokerClient
from agent.errors import BrokerAwayError, BrokerRefusedError, SessionOverError
from agent.logs import EventLog
from agent.metrics import Metrics
from agent.model import platform_failure
from agent.outbox import Outbox
from agent.spool import Entry
from agent.tracing import Tracing

LOG = EventLog("agent.delivery")

RETRY_BASE = 0.2
CUT = 32 << 10  # characters of each stream that are left when the broker finds a result too large


class Delivery:
    """Takes results from the outbox and brings them to the broker. `run` may be called by several threads."""

    def __init__(
        self,
        broker: BrokerClient,
        outbox: Outbox,
        attempts: Attempts,
        artifacts: Artifacts,
        metrics: Metrics,
        tracing: Tracing | None = None,
        *,
        retry_cap: float,
        on_session_over: Callable[[dict[str, Any], str], None],
    ) -> None:
        self._broker = broker
        self._outbox = outbox
        self._attempts = attempts
        self._artifacts = artifacts
        self._metrics = metrics
        self._tracing = tracing or Tracing()
        self._backoff = Backoff(RETRY_BASE, retry_cap)
        self._on_session_over = on_session_over
        self._batches = True
        self.broker_away = False
        """Whether the last delivery found no broker."""

    def run(self, stop: threading.Event) -> None:
        """Deliver until `stop` is set."""
        while not stop.is_set():
            batch = self._outbox.take(timeout=1.0)
            if batch:
                self.deliver(batch, self._backoff)

    def deliver(self, batch: list[Entry], backoff: Backoff) -> None:
        """Try once to hand in results of one session."""
        try:
            if len(batch) > 1 and self._batches:
                self._send_batch(batch)
            else:
                for entry in batch:
                    self._send(entry)
            backoff.reset()
            self._found_broker()
        except BrokerAwayError as error:
            self.broker_away = True
            delay = max(backoff.next(), error.retry_after or 0.0)
            self._metrics.delivery_retries.inc(len(batch))
            LOG.warning("results_wait", count=len(batch), retry_in=round(delay, 2), error=str(error))
            for entry in batch:
                self._later(entry, delay)
            self._outbox.pause(delay)
        except SessionOverError as error:
            self._found_broker()
            # The session's jobs were rescued when it ended: nobody wants these results any more.
            for entry in batch:
                self._finish(entry, error.reason)
            self._on_session_over(batch[0].who, error.reason)

    def _found_broker(self) -> None:
        if self.broker_away:
            self.broker_away = False
            self._outbox.pause(0)

    def _send_batch(self, batch: list[Entry]) -> None:
        try:
            words = self._broker.complete_batch(batch[0].who, [entry.completion for entry in batch])
        except BrokerRefusedError as error:
            if error.status in (404, 405):
                self._batches = False
            LOG.warning("batch_refused", count=len(batch), error=str(error))
            for entry in batch:
                self._send(entry)
            return
        for entry in batch:
            word = words.get(entry.key.job_id)
            if word == "missing_artifacts":
                self._send(entry)  # alone, which says what is missing
            elif word is None:
                self._later(entry, RETRY_BASE)
            else:
                self._finish(entry, word)

    def _send(self, entry: Entry) -> None:
        try:
            self._finish(entry, self._broker.complete(entry.who, entry.completion))
        except BrokerRefusedError as error:
            if error.reason == "missing_artifacts":
                self._send_files_again(entry, error.missing)
            elif error.status in (404, 409):
                self._finish(entry, error.reason or "stale_lease")
            elif error.status in (401, 403):
                raise BrokerAwayError(str(error)) from error
            else:
                self._refused(entry, error)

    def _send_files_again(self, entry: Entry, missing: list[str]) -> None:
        """The broker was restarted and has not got the files any more. What cannot be had is named as dropped."""
        if not self._artifacts.send_again(entry, missing):
            entry = without(entry, set(missing))
        self._later(entry, 0.0)

    def _refused(self, entry: Entry, error: BrokerRefusedError) -> None:
        """The broker will never take this result as it is: send less of it."""
        smaller = reduced(entry, error)
        LOG.error("result_refused", **entry.key.facts, error=str(error), sending_less=smaller is not None)
        if smaller is None:
            self._finish(entry, "refused")
        else:
            self._later(smaller, RETRY_BASE)

    def _later(self, entry: Entry, delay: float) -> None:
        """Try again; after an hour the node holds the attempt no longer, and the broker has the job run again."""
        if not self._outbox.later(entry, delay):
            LOG.error("result_too_old", **entry.key.facts)
            self._finish(entry, "given up")

    def _finish(self, entry: Entry, word: str) -> None:
        failed = self._outbox.done(entry.key)
        self._artifacts.done(entry.sandrun_id)
        self._attempts.forget(entry.key)
        self._metrics.delivered(word)
        self._tracing.delivered(entry, word, failed + 1)
        log = LOG.debug if word in ("ok", "duplicate") else LOG.warning
        log("result_delivered", **entry.key.facts, answer=word)


def without(entry: Entry, missing: set[str]) -> Entry:
    """The same result without these files."""
    completion = dict(entry.completion)
    files = completion.get("artifacts") or []
    dropped = [{"path": f["path"], "size": f["size"], "reason": "undelivered"} for f in files if f["sha256"] in missing]
    completion["artifacts"] = [file for file in files if file["sha256"] not in missing]
    completion["artifacts_dropped"] = [*(completion.get("artifacts_dropped") or []), *dropped][:MOST_NAMED]
    return replace(entry, completion=completion)


def reduced(entry: Entry, error: BrokerRefusedError) -> Entry | None:
    """The same verdict with less text when it was too large, else a platform failure; None if that was refused too."""
    completion = entry.completion
    if completion["failure"] == "platform":
        return None
    output, printed = str(completion.get("output") or ""), str(completion.get("error") or "")
    bytes_too = any(completion.get(name) for name in ("output_base64", "error_base64"))
    if error.status == 413 and (bytes_too or max(len(output), len(printed)) > CUT):
        whole = {name: value for name, value in completion.items() if name not in ("output_base64", "error_base64")}
        cut = {**whole, "output": output[:CUT], "error": printed[:CUT]}
        return replace(entry, completion=cut)
    return replace(
        entry, completion=platform_failure(entry.key, f"the broker refused the result: {error.message}").wire()
    )
