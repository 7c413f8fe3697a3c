"""The broker's node calls (docs/node-protocol.md), each with its bounds, and their errors as three kinds."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests

from agent.clock import Clock
from agent.errors import (
    AnswerLostError,
    AnswerTimeoutError,
    BrokerAwayError,
    BrokerRefusedError,
    CallError,
    SessionOverError,
)
from agent.join_token import JoinToken
from agent.model import Key
from agent.transport import Answer, Transport

READ_TIMEOUT = 10.0
CLAIM_WAIT = 20  # seconds; the protocol allows 25
LINK_SILENCE = 15.0  # a link that says nothing for so long is given up; the broker pings every 5 s

_SESSION_WORDS = {"unknown_node", "session_ended"}
_NODE_CALLS = {"/heartbeat", "/claim"}
_LATER = {429, 500, 502, 503, 504}


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


class BrokerClient:
    """Calls to one broker. Usable from any thread."""

    def __init__(self, base_url: str, clock: Clock, token: JoinToken | None = None) -> None:
        self._transport = Transport(base_url)
        # Long polls have connections of their own, so that abort_claim() ends nothing else.
        self._claims = Transport(base_url)
        self._clock = clock
        self._token = token or JoinToken(None, None)

    def register(self, body: dict[str, Any]) -> SessionTerms:
        """Start a session. BrokerRefusedError `wrong_secret` when the remembered id belongs to another node, and with
        status 401 or 403 when the broker asks for another join token."""
        sent_at = self._clock.now()
        answer = self._post("/register", body, repeat=False, headers=self._token.headers())
        if not isinstance(answer.get("node_id"), str):
            raise BrokerAwayError("/register: the answer has no node_id; is this a broker?")
        lease = float(answer.get("lease_seconds") or 60.0)
        return SessionTerms(
            node_id=answer["node_id"],
            session=answer.get("session"),
            secret=answer.get("secret"),
            lease_seconds=lease,
            heartbeat_seconds=float(answer.get("heartbeat_seconds") or lease / 3),
            sent_at=sent_at,
        )

    def heartbeat(self, body: dict[str, Any], read_timeout: float) -> dict[str, Any]:
        """Renew the lease."""
        return self._post("/heartbeat", body, read_timeout=read_timeout)

    def claim(self, who: dict[str, Any], claim_number: int, max_jobs: int, wait: float) -> dict[str, Any]:
        """Ask for jobs; holds until there is one or `wait` seconds have passed."""
        body = {**who, "claim_number": claim_number, "max_jobs": max_jobs, "wait": wait}
        return self._post("/claim", body, read_timeout=wait + READ_TIMEOUT, transport=self._claims, repeat=False)

    def abort_claim(self) -> None:
        """Make a claim under way raise BrokerAwayError at once."""
        self._claims.abort()

    def start(self, who: dict[str, Any], keys: list[Key]) -> dict[str, Any]:
        """Say that the programs of these attempts now run."""
        return self._post("/start", {**who, "jobs": [key.wire() for key in keys]})

    def complete(self, who: dict[str, Any], completion: dict[str, Any]) -> str:
        """Hand in one result; the word is `ok` or `duplicate`."""
        answer = self._post("/complete", {**completion, **who}, read_timeout=READ_TIMEOUT * 3)
        return "duplicate" if answer.get("duplicate") else "ok"

    def complete_batch(self, who: dict[str, Any], completions: list[dict[str, Any]]) -> dict[str, str]:
        """Hand in several results; the words by job id (one attempt of a job at a time is this node's)."""
        body = {**who, "completions": completions}
        answer = self._post("/complete/batch", body, read_timeout=READ_TIMEOUT * 3)
        return {
            str(entry["job_id"]): "missing_artifacts" if entry.get("missing") else str(entry["status"])
            for entry in answer.get("results") or []
        }

    def progress(self, who: dict[str, Any], chunks: list[dict[str, Any]]) -> set[Key]:
        """Pass on what programs print; the attempts of which nothing more is wanted."""
        answer = self._post("/progress", {**who, "chunks": chunks})
        return {Key(str(ref["job_id"]), int(ref["fence"])) for ref in answer.get("stop") or []}

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
            body = response.raw.read(1 << 16)
            response.close()
            _check("/link", Answer(response.status_code, body, None))
        return response

    def _post(
        self,
        path: str,
        body: dict[str, Any],
        *,
        read_timeout: float = READ_TIMEOUT,
        transport: Transport | None = None,
        repeat: bool = True,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        data = _dump(body)
        said = shown(body) if headers is None else headers
        line = transport or self._transport

        def send() -> Answer:
            return line.call("POST", path, data, headers=said, read_timeout=read_timeout)

        try:
            answer = _once_more(send) if repeat else send()
            _check(path, answer)
            return answer.json()
        except CallError as error:
            raise BrokerAwayError(f"{path}: {error}") from error


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
    if 200 <= answer.status < 300:
        return
    try:
        said = answer.json()
    except CallError:
        said = {}
    reason = str(said.get("reason") or "")
    message = f"{path}: {answer.status} {str(said.get('error') or '')[:300]}"
    if reason in _SESSION_WORDS:
        raise SessionOverError(reason)
    if answer.status == 404 and path in _NODE_CALLS and not reason:
        raise SessionOverError("unknown_node")  # brokers without reasons say it with the bare status
    if answer.status in _LATER:
        raise BrokerAwayError(message, answer.retry_after)
    missing = said.get("missing")
    raise BrokerRefusedError(answer.status, reason, message, missing if isinstance(missing, list) else [])
