"""Files between broker, agent and sandrun: streamed, never whole in memory, each call with its bounds.

requests in its plain form: `agent.transport` is made for small calls and gathers a request before it sends it.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import requests
from urllib3.exceptions import HTTPError

from agent import answers
from agent.broker_client import shown
from agent.errors import BadAnswerError, BrokerAwayError, SandrunGoneError
from agent.model import Key, Upload
from agent.transport import REQUEST_HEADER
from loglines import REQUEST_ID, new_request_id

CONNECT_TIMEOUT = 3.0
SILENCE = 30.0  # seconds without a byte after which a transfer is given up
PIECE = 256 * 1024
SMALL = 64 * 1024  # bytes of an answer that is no file


class Readable(Protocol):
    """What requests streams a body from; it asks for the length first."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes."""

    def __len__(self) -> int: ...


class Transfers:
    """Usable from any thread; each has connections of its own."""

    def __init__(self, broker_url: str, sandrun_url: str) -> None:
        self._broker = broker_url.rstrip("/")
        self._sandrun = sandrun_url.rstrip("/")
        self._local = threading.local()

    # ---- broker

    def fetch(self, who: dict[str, Any], key: Key, upload: Upload, target: Path) -> None:
        """Continue the download of an input where `target` ends. BrokerAwayError when it broke off."""
        have = target.stat().st_size if target.exists() else 0
        url = f"{self._broker}/inputs/{quote(key.job_id, safe='')}/{upload.sha256}?fence={key.fence}"
        headers = {**_named(who, key), **({"Range": f"bytes={have}-"} if have else {})}
        with self._call("GET", url, headers=headers) as answer:
            if answer.status_code == 416:
                target.unlink()
                raise BrokerAwayError("/inputs: the file is shorter than what there is of it")
            _check("/inputs", answer)
            with target.open("ab" if answer.status_code == 206 else "wb") as file:
                try:
                    for piece in answer.iter_content(PIECE):
                        file.write(piece)
                except requests.RequestException as error:
                    raise BrokerAwayError(f"/inputs: {type(error).__name__}") from error

    def put(self, who: dict[str, Any], key: Key, sha256: str, body: Readable) -> None:
        """Send one content. BrokerAwayError unless the broker itself says that it has it."""
        url = f"{self._broker}/artifacts/{quote(key.job_id, safe='')}/{sha256}?fence={key.fence}"
        with self._call("PUT", url, headers=_named(who, key), data=body if len(body) else b"") as answer:
            _check("/artifacts", answer)
            try:
                answers.acknowledged("/artifacts", _object(answer) or {})
            except BadAnswerError as error:
                raise BrokerAwayError(str(error)) from error

    # ---- sandrun

    @contextmanager
    def output(self, sandrun_id: str, path: str, size: int) -> Iterator["Download"]:
        """One file that a job left. SandrunGoneError; FileNotFoundError when sandrun has it no more."""
        name = quote(path.encode("utf-8", "surrogateescape"))
        url = f"{self._sandrun}/download/{quote(sandrun_id, safe='')}/{name}"
        named = {REQUEST_HEADER: REQUEST_ID.get() or new_request_id()}
        try:
            with self._session(self._sandrun).get(
                url, headers=named, stream=True, timeout=(CONNECT_TIMEOUT, SILENCE)
            ) as answer:
                if answer.status_code in (403, 404):
                    raise FileNotFoundError(path)
                if answer.status_code != 200:
                    raise SandrunGoneError(f"/download: status {answer.status_code}")
                yield Download(answer, size)
        except requests.RequestException as error:
            raise SandrunGoneError(f"/download: {type(error).__name__}") from error

    def _call(self, method: str, url: str, **options: Any) -> requests.Response:
        try:
            return self._session(self._broker).request(
                method, url, stream=True, allow_redirects=False, timeout=(CONNECT_TIMEOUT, SILENCE), **options
            )
        except requests.RequestException as error:
            raise BrokerAwayError(f"{method}: {type(error).__name__}") from error

    def _session(self, base: str) -> requests.Session:
        sessions: dict[str, requests.Session] | None = getattr(self._local, "sessions", None)
        if sessions is None:
            sessions = self._local.sessions = {}
        if base not in sessions:
            session = sessions[base] = requests.Session()
            session.trust_env = base == self._broker  # no proxy stands between here and our own sandrun
        return sessions[base]


def _named(who: dict[str, Any], key: Key) -> dict[str, str]:
    """Whose call it is, and which attempt it is about."""
    return {**shown(who), REQUEST_HEADER: key.request_id}


class Download:
    """A file on its way from sandrun, hashed as it passes."""

    def __init__(self, answer: requests.Response, size: int) -> None:
        self._answer = answer
        self._size = size
        self._hash = hashlib.sha256()
        self.taken = 0

    def __len__(self) -> int:
        return self._size

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes. SandrunGoneError when it breaks off before its size."""
        left = self._size - self.taken
        if left <= 0:
            return b""
        try:
            data: bytes = self._answer.raw.read(min(left, size if size > 0 else PIECE, PIECE), decode_content=True)
        except Exception as error:
            raise SandrunGoneError(f"/download: {type(error).__name__}") from error
        if not data:
            raise SandrunGoneError("/download: it ended early")
        self.taken += len(data)
        self._hash.update(data)
        return data

    def save(self, target: Path) -> str:
        """Write all of it to a file; its SHA-256."""
        with target.open("wb") as file:
            while data := self.read():
                file.write(data)
        return self._hash.hexdigest()


def _check(path: str, answer: requests.Response) -> None:
    """Raise what a status outside 2xx means."""
    if 200 <= answer.status_code < 300:
        return
    answers.check(path, answer.status_code, _object(answer), None)


def _object(answer: requests.Response) -> dict[str, Any] | None:
    """The answer's JSON object; None when it is none, or does not end in the first SMALL bytes."""
    try:
        said = json.loads(answer.raw.read(SMALL, decode_content=True))
    except (ValueError, RecursionError, HTTPError, OSError):
        return None
    return said if isinstance(said, dict) else None
