"""Webhooks: the end of a job, told to the URL that its client named, as Standard Webhooks has it.

What is owed is a row written with the job's submit, so no crash loses it; a delivery that was made twice has the same
`webhook-id`. The address is looked up, judged and then called as it was judged: a name that changes between the two
cannot lead into the operator's network. Redirects are not followed.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import logging
import os
import random
import secrets
import socket
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from broker.clock import Clock, iso
from broker.domain.addresses import Allowed
from broker.errors import GoneError, InvalidFieldError, NotFoundError, StartError
from broker.settings import Settings
from broker.store.records import Result, Webhook
from broker.store.webhooks import WebhookStore

__all__ = ["Webhooks", "check_url", "load_secret", "signature"]

log = logging.getLogger(__name__)

RETRIES = (5.0, 30.0, 120.0, 600.0, 3600.0, 3 * 3600.0, 6 * 3600.0)
"""Seconds before each further try, ± 20 %: about ten hours in all."""
AT_A_TIME, AT_A_TIME_PER_HOST = 16, 4
TIMEOUT_SECONDS = 15.0
ANSWER_BYTES = 4096
DELIVERIES_KEPT = 20
FORGET_EVERY_SECONDS = 60.0
GONE = 410
"""What a receiver answers that wants no more (Standard Webhooks)."""


def check_url(url: str) -> None:
    """InvalidFieldError unless it is an http or https URL with a host, without a password."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise InvalidFieldError("callback_url", "callback_url must be an http or https URL without a user or password.")


def load_secret(settings: Settings) -> bytes | None:
    """The key that signs, from the setting or its file; None when there is neither. StartError."""
    text = settings.webhook_secret or ""
    if settings.webhook_secret_file is not None:
        try:
            text = settings.webhook_secret_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise StartError(f"BROKER_WEBHOOK_SECRET_FILE cannot be read: {error.strerror}") from None
    return _decoded(text) if text else None


def _own_secret(path: Path) -> str:
    """Made when it is needed first, and kept."""
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        text = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")
    return path.read_text(encoding="ascii").strip()


def _decoded(text: str) -> bytes:
    """`whsec_` and base64, as Standard Webhooks writes keys; anything else is the key itself."""
    if text.startswith("whsec_"):
        try:
            return base64.b64decode(text.removeprefix("whsec_"), validate=True)
        except ValueError:
            raise StartError("BROKER_WEBHOOK_SECRET: what follows whsec_ must be base64") from None
    return text.encode()


def signature(secret: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


class Webhooks:
    """Delivers what is owed. Lives on the event loop."""

    def __init__(self, store: WebhookStore, find: Callable[[str], Any], clock: Clock, settings: Settings) -> None:
        self._store = store
        self._find = find
        """Queries.result: the job with its output."""
        self._clock = clock
        self._secret = load_secret(settings)
        self._own_secret = settings.database.with_name("webhook.secret")
        self._allowed = Allowed(settings.webhook_allow)
        self._owed: dict[str, list[Webhook]] = {}
        """By job id, what waits for the job's end."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(AT_A_TIME)
        self._host_slots: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(AT_A_TIME_PER_HOST)
        )
        self._client = httpx.AsyncClient(timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=False)
        self._forgot_at = 0.0
        self.deliveries = {"delivered": 0, "retried": 0, "failed": 0}
        """What became of each try; `failed`: there is no other."""

    async def start(self) -> None:
        """Take up what an earlier process left."""
        for webhook in await self._store.owed():
            self.owe(webhook)
            self._spawn(self._take_up(webhook.job_id))

    async def stop(self) -> None:
        """Give up what is under way: it is still owed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    def owe(self, webhook: Webhook) -> None:
        """Deliver it when its job ends."""
        self._owed.setdefault(webhook.job_id, []).append(webhook)

    def finished(self, job_ids: Iterable[str]) -> None:
        """These jobs have ended."""
        if self._owed:
            for job_id in job_ids:
                if job_id in self._owed:
                    self._spawn(self._take_up(job_id))

    @property
    def due(self) -> int:
        """Ended jobs whose receivers have not heard of them yet."""
        return len(self._tasks)

    async def of_job(self, job_id: str) -> list[Webhook]:
        """What is or was owed for a job."""
        return await self._store.of_job(job_id)

    async def redeliver(self, job_id: str) -> int:
        """Deliver all of an ended job's webhooks once more; how many."""
        found = [webhook for webhook in await self._store.of_job(job_id) if webhook.payload is not None]
        for webhook in found:
            if webhook.state != "owed":
                again = replace(webhook, state="owed", attempts=0, next_at=None)
                await self._store.save(again)
                self._spawn(self._deliver(again))
        return len(found)

    async def tick(self) -> None:
        """Forget what went with its job; called about twice a second."""
        now = self._clock.now()
        if now - self._forgot_at >= FORGET_EVERY_SECONDS:
            self._forgot_at = now
            await self._store.forget()

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take_up(self, job_id: str) -> None:
        """Begin the deliveries of a job, if it has ended."""
        payload: str | None = None
        with contextlib.suppress(NotFoundError, GoneError):
            result: Result = await self._find(job_id)
            if result.job.completed_at is None:
                return
            payload = _payload(result)
        for webhook in self._owed.pop(job_id, []):
            text = webhook.payload or payload
            if text is None:
                await self._store.save(replace(webhook, state="failed"))  # the job went before it was told
            else:
                await self._deliver(replace(webhook, payload=text))

    async def _deliver(self, webhook: Webhook) -> None:
        """Try until it is delivered, refused for good, or the tries are used up."""
        while webhook.state == "owed":
            if webhook.next_at is not None:
                await asyncio.sleep(max(0.0, webhook.next_at - self._clock.now()))
            async with self._slots, self._host_slots[urlsplit(webhook.url).hostname or ""]:
                began = self._clock.now()
                status, error = await self._call(webhook)
            webhook = self._judged(webhook, began, status, error)
            await self._store.save(webhook)

    def _judged(self, webhook: Webhook, began: float, status: int | None, error: str | None) -> Webhook:
        attempts = webhook.attempts + 1
        state, next_at = "owed", None
        if status is not None and 200 <= status < 300:
            state = "delivered"
        elif status == GONE or attempts > len(RETRIES):
            state = "failed"
        else:
            pause = RETRIES[attempts - 1] * random.uniform(0.8, 1.2)  # noqa: S311  # jitter, no secret
            next_at = self._clock.now() + pause
        self.deliveries["retried" if state == "owed" else state] += 1
        seconds = round(self._clock.now() - began, 3)
        entry = {"at": iso(began), "status": status, "error": error, "seconds": seconds}
        deliveries = [*json.loads(webhook.deliveries), entry][-DELIVERIES_KEPT:]
        return replace(webhook, state=state, attempts=attempts, next_at=next_at, deliveries=json.dumps(deliveries))

    async def _call(self, webhook: Webhook) -> tuple[int | None, str | None]:
        """The receiver's status, or why there is none."""
        parts = urlsplit(webhook.url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                address = await self._address(host, port)
                if address is None:
                    return None, "the host has no address that may be called (BROKER_WEBHOOK_ALLOW)"
                return await self._post(webhook, address, host, port), None
        except TimeoutError:
            return None, f"no answer within {TIMEOUT_SECONDS:g} s"
        except (OSError, httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            return None, f"{type(error).__name__}: {error}"[:200]

    async def _address(self, host: str, port: int) -> str | None:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return self._allowed.choose(host, [str(entry[4][0]) for entry in found])

    async def _post(self, webhook: Webhook, address: str, host: str, port: int) -> int:
        if self._secret is None:
            self._secret = _decoded(_own_secret(self._own_secret))
        body, timestamp = (webhook.payload or "").encode(), int(self._clock.now())
        parts = urlsplit(webhook.url)
        shown = f"[{address}]" if ":" in address else address
        target = httpx.URL(parts._replace(netloc=f"{shown}:{port}", fragment="").geturl())
        headers = {
            "Host": parts.netloc,
            "Content-Type": "application/json",
            "User-Agent": "sandrun-broker",
            "webhook-id": webhook.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self._secret, webhook.id, timestamp, body),
        }
        request = self._client.build_request("POST", target, content=body, headers=headers)
        request.extensions["sni_hostname"] = host  # the certificate is checked against the name
        answer = await self._client.send(request, stream=True)
        try:
            taken = 0
            async for piece in answer.aiter_raw():
                taken += len(piece)
                if taken > ANSWER_BYTES:
                    break
        finally:
            await answer.aclose()
        return answer.status_code


def _payload(result: Result) -> str:
    """What a receiver hears: the verdict, sizes, and where the output is; never the output itself."""
    job = result.job
    details: dict[str, Any] = json.loads(result.details) if result.details else {}
    data = {
        "job_id": job.id,
        "status": job.status.value,
        "failure": job.failure.value if job.failure else None,
        "exit_code": job.exit_code,
        "attempt": job.attempt,
        "node_id": job.node_id,
        "labels": job.labels,
        "created_at": iso(job.created_at),
        "completed_at": iso(job.completed_at),
        "limit": details.get("limit"),
        "usage": details.get("usage"),
        "output_bytes": details.get("output_bytes", len(result.output.encode())),
        "error_bytes": details.get("error_bytes", len(result.error.encode())),
        "files": job.file_count,
        "results_url": f"/results/{job.id}",
    }
    return json.dumps({"type": f"job.{job.status.value}", "timestamp": iso(job.completed_at), "data": data})
