"""The broker's node calls (docs/node-protocol.md), each with its bounds, and their errors as three kinds."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import requests
from urllib3.exceptions import HTTPError

from agent import answers
from agent.clock import Clock
from agent.errors import AnswerLostError, AnswerTimeoutError, BadAnswerError, BrokerAwayError, BrokerError, CallError
from agent.join_token import JoinToken
from agent.metrics import Metrics
from agent.model import Key, read_keys
from agent.transport import ANSWER_LIMIT, REQUEST_HEADER, Answer, Transport
from loglines import REQUEST_ID, new_request_id

READ_TIMEOUT = 10.0
CLAIM_WAIT = 20  # seconds; the protocol allows 25
LINK_SILENCE = 15.0  # a link that says nothing for so long is given up; the broker pings every 5 s

DEFAULT_LEASE = 60.0  # of a broker that does not say: NODE_TIMEOUT's default
SHORTEST_BEAT = 0.1
RESULT_WORDS = {"ok", "duplicate", "stale_lease", "unknown_job", "missing_artifacts"}
SMALL_ANSWER = 4 << 20  # bytes; only claims bring more, the jobs' code and files


@dataclass(frozen=True)
class SessionTerms:
    """What a registration grants."""

    node_id: str
    session: str | None
    secret: str | None
    lease_seconds: float
    heartbeat_seconds: float
    sent_at: float
    """When the request was sent: the lease counts from here."""


class Claimed(NamedTuple):
    """What a claim brought."""

    jobs: list[dict[str, Any]]
    drain: bool
    """The broker wants the node to claim no more."""


class BrokerClient:
    """Calls to one broker. Usable from any thread."""

    def __init__(
        self, base_url: str, clock: Clock, token: JoinToken | None = None, metrics: Metrics | None = None
    ) -> None:
        self._transport = Transport(base_url)
        # Long polls have connections of their own, so that abort_claim() ends nothing else.
        self._claims = Transport(base_url)
        self._clock = clock
        self._metrics = metrics or Metrics()
        self._token = token or JoinToken(None, None)

    def register(self, body: dict[str, Any]) -> SessionTerms:
        """Start a session. BrokerRefusedError `wrong_secret` when the remembered id belongs to another node, and with
        status 401 or 403 when the broker asks for another join token."""
        sent_at = self._clock.now()
        answer = self._post("/register", body, repeat=False, headers=self._token.headers())
        try:
            node_id, session, secret = (answers.word(answer, name) for name in ("node_id", "session", "secret"))
        except BadAnswerError as error:
            raise BrokerAwayError(f"/register: {error}") from error
        if node_id is None:
            raise BrokerAwayError("/register: the answer has no node_id; is this a broker?")
        lease = answers.seconds(answer, "lease_seconds", DEFAULT_LEASE)
        beat = answers.seconds(answer, "heartbeat_seconds", lease / 3)
        return SessionTerms(
            node_id=node_id,
            session=session,
            secret=secret,
            lease_seconds=lease,
            # Beats that come no sooner than the lease ends are a slip of somebody's: they are there to renew it.
            heartbeat_seconds=max(SHORTEST_BEAT, beat if beat < lease else lease / 3),
            sent_at=sent_at,
        )

    def heartbeat(self, body: dict[str, Any], read_timeout: float) -> dict[str, Any]:
        """Renew the lease."""
        return self._post("/heartbeat", body, read_timeout=read_timeout, acknowledged=True)

    def claim(self, who: dict[str, Any], claim_number: int, max_jobs: int, wait: float) -> Claimed:
        """Ask for jobs; holds until there is one or `wait` seconds have passed."""
        body = {**who, "claim_number": claim_number, "max_jobs": max_jobs, "wait": wait}
        answer = self._post("/claim", body, read_timeout=wait + READ_TIMEOUT, transport=self._claims, repeat=False)
        if "jobs" not in answer and "job" not in answer:
            raise BrokerAwayError("/claim: the answer names no jobs, not even none; is this a broker?")
        jobs = answers.entries(answer, "jobs") or answers.entries({"jobs": [answer.get("job")]}, "jobs")
        return Claimed(jobs, answer.get("drain") is True)

    def abort_claim(self) -> None:
        """Make a claim under way raise BrokerAwayError at once."""
        self._claims.abort()

    def start(self, who: dict[str, Any], keys: list[Key]) -> dict[str, Any]:
        """Say that the programs of these attempts now run."""
        return self._post("/start", {**who, "jobs": [key.wire() for key in keys]})

    def complete(self, who: dict[str, Any], completion: dict[str, Any]) -> str:
        """Hand in one result; the word is `ok` or `duplicate`."""
        body = {**completion, **who}
        answer = self._post("/complete", body, read_timeout=READ_TIMEOUT * 3, acknowledged=True)
        return "duplicate" if answer.get("duplicate") is True else "ok"

    def complete_batch(self, who: dict[str, Any], completions: list[dict[str, Any]]) -> dict[str, str]:
        """Hand in several results; the words by job id (one attempt of a job at a time is this node's).

        A result without a word, or with one that nobody knows, is not in the answer: it was not acknowledged.
        """
        body = {**who, "completions": completions}
        answer = self._post("/complete/batch", body, read_timeout=READ_TIMEOUT * 3)
        words = {
            answers.text(entry, "job_id"): "missing_artifacts"
            if entry.get("missing")
            else answers.text(entry, "status")
            for entry in answers.entries(answer, "results")
        }
        return {job_id: word for job_id, word in words.items() if word in RESULT_WORDS}

    def progress(self, who: dict[str, Any], chunks: list[dict[str, Any]]) -> set[Key]:
        """Pass on what programs print; the attempts of which nothing more is wanted."""
        answer = self._post("/progress", {**who, "chunks": chunks})
        return set(read_keys(answer.get("stop")))

    def release(self, who: dict[str, Any], keys: list[Key], reason: str) -> None:
        """Give attempts back unrun; they are not counted."""
        self._post("/release", {**who, "jobs": [key.wire() for key in keys], "reason": reason})

    def open_link(self, who: dict[str, Any]) -> requests.Response:
        """Open the always-open connection; the caller reads its lines and closes it."""
        try:
            response = self._transport.open("POST", "/link", _dump(who), headers=shown(who), read_timeout=LINK_SILENCE)
        except CallError as error:
            raise BrokerAwayError(f"/link: {error}") from error
        if response.status_code != 200:
            with response:
                _check("/link", Answer(response.status_code, _beginning(response), None))
            raise BrokerAwayError(f"/link: {response.status_code} is no answer to it; is this a broker?")
        return response

    def _post(
        self,
        path: str,
        body: dict[str, Any],
        *,
        read_timeout: float = READ_TIMEOUT,
        transport: Transport | None = None,
        repeat: bool = True,
        acknowledged: bool = False,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        data = _dump(body)
        request_id = REQUEST_ID.get() or new_request_id()
        said = {REQUEST_HEADER: request_id, **(shown(body) if headers is None else headers)}
        line = transport or self._transport
        limit = SMALL_ANSWER if transport is None else ANSWER_LIMIT

        def send() -> Answer:
            return line.call("POST", path, data, headers=said, read_timeout=read_timeout, limit=limit)

        try:
            with self._metrics.timed(path):
                answer = _once_more(send) if repeat else send()
                _check(path, answer)
                return answers.acknowledged(path, answer.json()) if acknowledged else answer.json()
        except CallError as error:
            away = BrokerAwayError(f"{path}: {error}")
            away.request_id = request_id
            raise away from error
        except BrokerError as error:
            error.request_id = request_id
            raise


def shown(who: dict[str, Any]) -> dict[str, str]:
    """The headers that say whose call it is; a broker that asks for keys looks at them before it reads the body."""
    session = who.get("session")
    return {"Sandrun-Node": who["node_id"], "Sandrun-Session": session} if session else {}


def _once_more(send: Callable[[], Answer]) -> Answer:
    """Send again when a kept-alive connection turns out closed: these calls change nothing the second time."""
    try:
        return send()
    except AnswerTimeoutError:
        raise
    except AnswerLostError:
        return send()


def _dump(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _check(path: str, answer: Answer) -> None:
    """Raise what a status outside 2xx means."""
    try:
        said = answer.json()
    except CallError:
        said = None
    answers.check(path, answer.status, said, answer.retry_after)


def _beginning(response: requests.Response) -> bytes:
    """The first bytes of an answer that is not to be read whole."""
    try:
        return bytes(response.raw.read(1 << 16))
    except (HTTPError, OSError) as error:
        raise BrokerAwayError(f"/link: {type(error).__name__}") from error
