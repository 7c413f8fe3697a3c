"""Talks to whatever is attacked: our sandrun, a foreign one, or a broker. Standard library and requests only.

One `Target` for each thread that submits: it holds one connection pool. Every call has a time limit.
"""

from __future__ import annotations

import base64
import io
import json
import posixpath
import secrets
import tarfile
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests

from hostile.model import COMPLETED, REFUSED, Attack, Outcome

#: Seconds beyond its own wall clock, waiting for a slot included, after which a job counts as hanging.
PATIENCE = 200
#: Seconds of one long poll; every answer but a long poll comes within CALL_SECONDS.
POLL_SECONDS = 20
CALL_SECONDS = 60
#: The download is read up to this, then dropped: a collector without bounds must not fill the attacker's own memory.
DOWNLOAD_BYTES = 512 << 20


class ServiceError(AssertionError):
    """The service broke a promise of its API: no answer, a 5xx, something that is no JSON, a job that never ends."""


def as_json(parts: Mapping[str, bytes], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The same job for a broker that takes JSON alone."""
    return {**manifest, "files": {name: {"base64": base64.b64encode(data).decode()} for name, data in parts.items()}}


def multipart(parts: Mapping[str, bytes], manifest: Mapping[str, Any] | bytes | None) -> tuple[bytes, str]:
    """A body and its content type. File names go in as they are: a library would mend what must stay broken."""
    boundary = secrets.token_hex(16)
    body = io.BytesIO()
    for name, content in parts.items():
        raw = name.encode("utf-8", "surrogateescape").replace(b'"', b"%22")
        body.write(b'--%s\r\nContent-Disposition: form-data; name="files"; filename="' % boundary.encode())
        body.write(raw + b'"\r\nContent-Type: application/octet-stream\r\n\r\n' + content + b"\r\n")
    if manifest is not None:
        text = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        body.write(b'--%s\r\nContent-Disposition: form-data; name="manifest"\r\n\r\n' % boundary.encode())
        body.write(text + b"\r\n")
    body.write(b"--%s--\r\n" % boundary.encode())
    return body.getvalue(), f"multipart/form-data; boundary={boundary}"


class Target:
    """One service under attack."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.http = requests.Session()
        self.http.trust_env = False
        parsed = urlsplit(self.url)
        assert parsed.hostname, f"not a URL: {url}"
        self.address = (parsed.hostname, parsed.port or (443 if parsed.scheme == "https" else 80))
        self.is_broker = self._looks_like_broker()
        #: False for a broker that takes JSON alone: such a one neither unpacks archives nor hands out files.
        self.takes_uploads = not self.is_broker or self._takes_multipart()
        self.description: dict[str, Any] = {} if self.is_broker else self.get("/").json()
        self.extensions = frozenset(self.description.get("extensions", ()))

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def again(self) -> Target:
        """The same service for another thread."""
        twin = object.__new__(Target)
        twin.__dict__.update(self.__dict__)
        twin.http = requests.Session()
        twin.http.trust_env = False
        return twin

    def _looks_like_broker(self) -> bool:
        health = self.get("/health").json()
        return "active_nodes" in health

    def _takes_multipart(self) -> bool:
        body, content_type = multipart({}, None)
        return self.call("POST", "/submit", data=body, headers={"Content-Type": content_type}).status_code != 415

    @property
    def slots(self) -> int:
        """Jobs that run at once: of the node, or of all nodes together."""
        if self.is_broker:
            nodes = self.get("/nodes").json()["nodes"]
            return sum(int(node.get("slots", 1)) for node in nodes if node.get("active")) or 1
        slots = self.description.get("slots")
        return int(slots["total"]) if isinstance(slots, dict) else 1

    # Calls

    def get(self, path: str, *, timeout: float = CALL_SECONDS, **arguments: Any) -> requests.Response:
        """GET; ServiceError when no answer comes."""
        return self.call("GET", path, timeout=timeout, **arguments)

    def call(self, method: str, path: str, *, timeout: float = CALL_SECONDS, **arguments: Any) -> requests.Response:
        """Any request; ServiceError when no answer comes."""
        try:
            return self.http.request(method, self.url + path, timeout=timeout, **arguments)
        except requests.RequestException as error:
            raise ServiceError(f"{method} {path[:100]}: {type(error).__name__}: {error}") from error

    def submit(self, parts: Mapping[str, bytes], manifest: Mapping[str, Any] | bytes | None) -> requests.Response:
        """POST /submit as it is, without retries."""
        if not self.takes_uploads and manifest is not None and not isinstance(manifest, bytes):
            return self.call("POST", "/submit", json=as_json(parts, manifest))
        body, content_type = multipart(parts, manifest)
        return self.call("POST", "/submit", data=body, headers={"Content-Type": content_type})

    def accepted(self, parts: Mapping[str, bytes], manifest: Mapping[str, Any]) -> requests.Response:
        """POST /submit; waits as told while the service is busy (429 or 503 with Retry-After)."""
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self.submit(parts, manifest)
            if answer.status_code not in (429, 503) or time.monotonic() > deadline:
                return answer
            time.sleep(min(float(answer.headers.get("Retry-After", "1")), 5.0))  # the service's own wish

    def cancel(self, job_id: str) -> requests.Response:
        """DELETE /jobs/{id}."""
        return self.call("DELETE", f"/jobs/{job_id}")

    def forget(self, job_id: str) -> None:
        """Have the job's data deleted, where the API has a call that does it (sandrun: the download)."""
        if not self.is_broker:
            self.get(f"/download/{job_id}", stream=True).close()

    # Jobs

    def run(self, attack: Attack, marker: str) -> Outcome:
        """Submit the attack and wait for its verdict. ServiceError when the service does not hold its promises."""
        started = time.monotonic()
        answer = self.accepted(attack.parts(), attack.manifest(marker))
        if answer.status_code != 200:
            return self._refused(answer, time.monotonic() - started)
        job_id = str(_json(answer)["job_id"])
        outcome = self.outcome(job_id, seconds=attack.case.wall_seconds + PATIENCE)
        files: dict[str, bytes] = {}
        odd: tuple[str, ...] = ()
        took = time.monotonic() - started
        if attack.case.collect:
            files, odd = self.download(job_id)
        return Outcome(**{**outcome.__dict__, "seconds": took, "files": files, "odd_members": odd})

    @staticmethod
    def _refused(answer: requests.Response, seconds: float) -> Outcome:
        if not 400 <= answer.status_code < 500:
            raise ServiceError(f"/submit answered {answer.status_code}: {answer.text[:300]}")
        return Outcome(verdict=REFUSED, refusal=str(_json(answer).get("error", "")), seconds=seconds)

    def outcome(self, job_id: str, *, seconds: float) -> Outcome:
        """The job's outcome once it has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            answer = self._poll(job_id)
            if answer is not None:
                return answer
        raise ServiceError(
            f"job {job_id} has not ended within {seconds:.0f} s: {self.get(f'/status/{job_id}').text[:300]}"
        )

    def _poll(self, job_id: str) -> Outcome | None:
        if self.is_broker:
            answer = self.get(f"/results/{job_id}", params={"wait": POLL_SECONDS}, timeout=POLL_SECONDS + CALL_SECONDS)
            if answer.status_code == 202:
                return None
            return _of_broker(_json(_ok(answer)))
        if "wait" in self.extensions:
            query = {"wait": str(POLL_SECONDS), "logs": "true"}
            shown = _json(_ok(self.get(f"/status/{job_id}", params=query, timeout=POLL_SECONDS + CALL_SECONDS)))
        else:
            time.sleep(0.2)  # a foreign sandrun knows no long poll
            shown = _json(_ok(self.get(f"/status/{job_id}", timeout=PATIENCE)))
        if shown["status"] in ("queued", "running"):
            return None
        if "stdout" not in shown:
            shown |= _json(_ok(self.get(f"/logs/{job_id}")))
        return _of_sandrun(shown)

    def download(self, job_id: str) -> tuple[dict[str, bytes], tuple[str, ...]]:
        """Everything the job left, and what in the archive is no plain file; ServiceError beyond DOWNLOAD_BYTES."""
        with self.get(f"/download/{job_id}", stream=True) as answer:
            if answer.status_code == 404:
                return {}, ()
            _ok(answer)
            body = io.BytesIO()
            for block in answer.iter_content(1 << 20):
                body.write(block)
                if body.tell() > DOWNLOAD_BYTES:
                    raise ServiceError(f"the download of {job_id} has no end")
        body.seek(0)
        return read_download(body)


def read_download(body: io.BytesIO) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Files by name, and one sentence for each member that a careful administrator would not unpack."""
    files: dict[str, bytes] = {}
    odd: list[str] = []
    with tarfile.open(fileobj=body, mode="r:gz", errors="surrogateescape") as archive:
        for member in archive:
            if member.isdir():
                continue
            name = member.name
            if not member.isreg():
                odd.append(f"{name!r} is no plain file")
                continue
            if name.startswith("/") or ".." in posixpath.normpath(name).split("/"):
                odd.append(f"{name!r} leaves the directory")
            if member.mode & 0o7022:
                odd.append(f"{name!r} has mode {member.mode:o}")
            content = archive.extractfile(member)
            files[name] = content.read() if content else b""
    return files, tuple(odd)


def _ok(answer: requests.Response) -> requests.Response:
    if answer.status_code != 200:
        raise ServiceError(f"{answer.url} answered {answer.status_code}: {answer.text[:300]}")
    return answer


def _json(answer: requests.Response) -> dict[str, Any]:
    try:
        value = answer.json()
    except ValueError as error:
        raise ServiceError(f"{answer.url} answered {answer.status_code} without JSON: {answer.text[:200]!r}") from error
    if not isinstance(value, dict):
        raise ServiceError(f"{answer.url} answered with {type(value).__name__}, not an object")
    return value


def _stream_text(shown: Mapping[str, Any], name: str) -> str:
    """The stream as text in which bytes that are no UTF-8 are surrogates (ours sends those streams as base64 too)."""
    if shown.get(f"{name}_encoding") == "base64":
        return base64.b64decode(shown[f"{name}_base64"]).decode("utf-8", "surrogateescape")
    return str(shown.get(name) or "")


def _of_sandrun(shown: Mapping[str, Any]) -> Outcome:
    metadata = shown.get("execution_metadata") or {}
    failed = shown["status"] != "completed"
    verdict = metadata.get("failure") or ("exit" if failed else COMPLETED)
    wall = metadata.get("wall_time_ms")
    outcome = Outcome(
        verdict=str(verdict),
        job_id=str(shown["job_id"]),
        exit_code=metadata.get("exit_code"),
        signal=metadata.get("signal"),
        stdout=_stream_text(shown, "stdout"),
        stderr=_stream_text(shown, "stderr"),
        stdout_bytes=metadata.get("stdout_bytes"),
        stderr_bytes=metadata.get("stderr_bytes"),
        limit_hit=metadata.get("limit_hit"),
        wall_seconds=None if wall is None else wall / 1000,
        cpu_seconds=metadata.get("cpu_seconds"),
        memory_peak_bytes=metadata.get("memory_peak_bytes"),
        message=str(metadata.get("message") or ""),
    )
    return _consistent(outcome, failed)


def _of_broker(shown: Mapping[str, Any]) -> Outcome:
    usage = shown.get("usage") or {}
    failed = shown["status"] != "completed"
    outcome = Outcome(
        verdict=str(shown.get("failure") or ("exit" if failed else COMPLETED)),
        job_id=str(shown["job_id"]),
        exit_code=shown.get("exit_code"),
        signal=shown.get("signal"),
        stdout=_stream_text(shown, "output"),
        stderr=_stream_text(shown, "error"),
        stdout_bytes=shown.get("output_bytes"),
        stderr_bytes=shown.get("error_bytes"),
        limit_hit=shown.get("limit"),
        wall_seconds=usage.get("wall_seconds"),
        cpu_seconds=usage.get("cpu_seconds"),
        memory_peak_bytes=usage.get("memory_peak_bytes"),
        message=str(shown.get("message") or ""),
    )
    return _consistent(outcome, failed)


def _consistent(outcome: Outcome, failed: bool) -> Outcome:
    """Status and verdict must tell the same story."""
    if failed == (outcome.verdict == COMPLETED):
        raise ServiceError(f"status {'failed' if failed else 'completed'} with verdict {outcome.verdict}")
    return outcome
