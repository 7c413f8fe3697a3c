"""Attacks on the HTTP surface itself: no program, only requests. Neighbour and /health are watched too."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import requests

from hostile.campaign import Campaign
from hostile.client import ServiceError, Target, multipart

#: Statuses that say "your request is wrong".
CLIENT_ERRORS = range(400, 500)
#: Signs that the service showed its own insides instead of an error message.
INSIDES = ("Traceback", "site-packages", "/opt/venv", 'File "', "<html")

Attack = Callable[[Target], Iterator[str]]


@dataclass(frozen=True)
class HttpAttack:
    """One idea: a function that makes requests and yields a sentence for everything that was wrong."""

    name: str
    why: str
    run: Attack
    #: Meaningful against a broker too.
    broker: bool
    #: Only in `make abuse`.
    slow: bool

    @property
    def id(self) -> str:
        """Unique name, as reports show it."""
        return f"http/{self.name}"


class Registry(list[HttpAttack]):
    """The attacks of one module, in the order of their definition."""

    def attack(self, why: str, *, broker: bool = False, slow: bool = False) -> Callable[[Attack], Attack]:
        """Enter a function under its own name."""

        def enter(function: Attack) -> Attack:
            name = function.__name__.replace("_", "-")
            self.append(HttpAttack(name, why, function, broker, slow))
            return function

        return enter


def run_http_attack(campaign: Campaign, attack: HttpAttack) -> list[str]:
    """Make the requests, then ask the watches and an ordinary job whether all is well."""
    target = campaign.target.again()
    started = time.monotonic()
    try:
        problems = list(attack.run(target))
        problems += still_serves(target)
        ended = time.monotonic()
        problems += [*campaign.neighbour.problems(started, ended), *campaign.health.problems(started, ended)]
    except ServiceError as error:
        problems = [str(error)]
    finally:
        target.close()
    return problems


def still_serves(target: Target) -> Iterator[str]:
    """An ordinary job still runs."""
    answer = target.accepted({"main.sh": b"echo fine"}, {"interpreter": "bash", "entrypoint": "main.sh", "timeout": 20})
    if answer.status_code != 200:
        yield f"an ordinary job was refused afterwards: {answer.status_code} {answer.text[:200]}"
        return
    job_id = answer.json()["job_id"]
    outcome = target.outcome(job_id, seconds=200)
    if outcome.stdout != "fine\n":
        yield f"an ordinary job failed afterwards: {outcome.verdict} {outcome.stdout!r} {outcome.stderr!r}"
    target.forget(job_id)


def is_client_error(what: str, answer: requests.Response) -> Iterator[str]:
    """The answer is a 4xx in JSON with an `error`, and shows nothing of the service's insides."""
    if answer.status_code not in CLIENT_ERRORS:
        yield f"{what}: answered {answer.status_code}, expected a 4xx: {answer.text[:200]}"
        return
    yield from has_error_text(what, answer)


def has_error_text(what: str, answer: requests.Response) -> Iterator[str]:
    """The body is JSON with an `error` sentence."""
    try:
        error = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        yield f"{what}: {answer.status_code} without a JSON error: {answer.text[:200]!r}"
        return
    if not isinstance(error, str) or len(error) < 5 or any(sign in answer.text for sign in INSIDES):
        yield f"{what}: not an explanation: {answer.text[:300]!r}"


def exchange(target: Target, request: bytes, *, seconds: float = 10.0, most: int = 1 << 20) -> bytes:
    """Send raw bytes; everything that comes back until the service closes or `seconds` have passed."""
    deadline = time.monotonic() + seconds
    received = b""
    with connect(target) as connection:
        try:
            connection.sendall(request)
            while len(received) < most and (left := deadline - time.monotonic()) > 0:
                connection.settimeout(left)
                block = connection.recv(65536)
                if not block:
                    break
                received += block
        except (TimeoutError, ConnectionError):
            pass
    return received


def connect(target: Target, seconds: float = 30.0) -> socket.socket:
    """A connection, through TLS where the URL says so."""
    try:
        connection = socket.create_connection(target.address, timeout=seconds)
    except OSError as error:
        raise ServiceError(f"no connection to {target.address}: {error}") from error
    if not target.url.startswith("https:"):
        return connection
    return ssl.create_default_context().wrap_socket(connection, server_hostname=target.address[0])


def status_of(reply: bytes) -> int | None:
    """The status of a raw reply; None when there is none (the service closed the connection)."""
    first = reply.split(b"\r\n", 1)[0].split()
    return int(first[1]) if len(first) > 1 and first[0].startswith(b"HTTP/") and first[1].isdigit() else None


def raw_problems(what: str, reply: bytes) -> Iterator[str]:
    """A raw reply is a refusal, a close or an ordinary answer, but no failure and no look inside."""
    status = status_of(reply)
    if status is not None and status >= 500 and status not in (501, 503, 505):
        yield f"{what}: answered {status}: {reply[:200]!r}"
    if any(sign.encode() in reply for sign in INSIDES):
        yield f"{what}: shows the service's insides: {reply[:300]!r}"


def post(path: str, body: bytes, content_type: str, *, length: int | None = None, extra: str = "") -> bytes:
    """A raw POST whose Content-Length may lie."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: target\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\nConnection: close\r\n{extra}\r\n"
    )
    return head.encode() + body


def small_job(program: str = "exit 0", **fields: object) -> tuple[bytes, str]:
    """Body and content type of an ordinary bash job."""
    manifest = {"interpreter": "bash", "entrypoint": "main.sh", "timeout": 20, "memory_mb": 64, **fields}
    return multipart({"main.sh": program.encode()}, manifest)
