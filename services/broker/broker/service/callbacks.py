"""One call to a URL that a client named: signed, bounded, and never into the operator's network.

The name is looked up once, its addresses are judged, and the one that may be called is called: a name that points
elsewhere a moment later leads nowhere. Each call has a connection of its own, because another name may have the same
address, and a connection over TLS is good for the name that its certificate was checked against only.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import os
import secrets
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

import httpx

from broker.domain.addresses import Allowed
from broker.errors import InvalidFieldError, StartError
from broker.settings import Settings

__all__ = ["Caller", "check_url", "host_of", "load_secret", "signature"]

TIMEOUT_SECONDS = 15.0
ANSWER_BYTES = 4096
LOOK_UPS_AT_A_TIME = 4


def check_url(url: str) -> None:
    """InvalidFieldError unless it is an http or https URL with a host, without a password."""
    try:
        parts = urlsplit(url)
        _ = parts.port, _ascii(parts.hostname or "")
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise InvalidFieldError("callback_url", "callback_url must be an http or https URL without a user or password.")


def host_of(url: str) -> str:
    """Whom calls to it are for; empty when that is not clear."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def load_secret(settings: Settings) -> bytes | None:
    """The key that signs, from the setting or its file; None when there is neither. StartError."""
    text = settings.webhook_secret or ""
    if settings.webhook_secret_file is not None:
        try:
            text = settings.webhook_secret_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise StartError(f"BROKER_WEBHOOK_SECRET_FILE cannot be read: {error.strerror}") from None
    return _decoded(text) if text else None


def signature(secret: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


def look_up(host: str, port: int) -> list[str]:
    """All addresses of a host; a URL may write one in many ways (`http://2130706433/`). Blocks."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class _Target(NamedTuple):
    host: str
    port: int
    shown: str
    """As the header Host names it."""
    parts: SplitResult

    @classmethod
    def of(cls, url: str) -> "_Target":
        parts = urlsplit(url)
        host = _ascii(parts.hostname or "")
        shown = f"[{host}]" if ":" in host else host
        shown += f":{parts.port}" if parts.port is not None else ""
        return cls(host, parts.port or (443 if parts.scheme == "https" else 80), shown, parts)

    def at(self, address: str) -> httpx.URL:
        netloc = f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"
        return httpx.URL(self.parts._replace(netloc=netloc, fragment="").geturl())


class Caller:
    """Makes the calls. Lives on the event loop; names are looked up in threads of its own."""

    def __init__(self, settings: Settings) -> None:
        self._secret = load_secret(settings)
        self._own_secret = settings.database.with_name("webhook.secret")
        self._allowed = Allowed(settings.webhook_allow)
        self._threads = ThreadPoolExecutor(LOOK_UPS_AT_A_TIME, thread_name_prefix="look-up")
        self._client = httpx.AsyncClient(
            timeout=TIMEOUT_SECONDS,
            follow_redirects=False,
            trust_env=False,
            verify=ssl.create_default_context(),  # the system's authorities, and SSL_CERT_FILE's
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def close(self) -> None:
        """Let go of sockets and threads."""
        await self._client.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def call(self, url: str, webhook_id: str, body: bytes) -> tuple[int | None, str | None]:
        """The receiver's status, or why there is none."""
        try:
            target = _Target.of(url)
            async with asyncio.timeout(TIMEOUT_SECONDS):
                addresses = await asyncio.get_running_loop().run_in_executor(
                    self._threads, look_up, target.host, target.port
                )
                address = self._allowed.choose(target.host, addresses)
                if address is None:
                    return None, "the host has no address that may be called (BROKER_WEBHOOK_ALLOW)"
                return await self._post(target, address, webhook_id, body), None
        except TimeoutError:
            return None, f"no answer within {TIMEOUT_SECONDS:g} s"
        except (OSError, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return None, f"{type(error).__name__}: {error}"[:200]

    async def _post(self, target: _Target, address: str, webhook_id: str, body: bytes) -> int:
        if self._secret is None:
            self._secret = _decoded(_kept_secret(self._own_secret))
        timestamp = int(time.time())  # a receiver compares it with its own; the broker's clock never goes back
        headers = {
            "Host": target.shown,
            "Content-Type": "application/json",
            "User-Agent": "sandrun-broker",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self._secret, webhook_id, timestamp, body),
        }
        request = self._client.build_request("POST", target.at(address), content=body, headers=headers)
        request.extensions["sni_hostname"] = target.host  # the certificate is checked against the name
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


def _ascii(host: str) -> str:
    """A name beyond ASCII as the name servers know it. ValueError when it is no name."""
    return host if host.isascii() else host.encode("idna").decode("ascii")


def _kept_secret(path: Path) -> str:
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
