"""A client whose every call is written down, and jobs that prove by their output that they ran."""

from __future__ import annotations

import random
import re
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import requests

from support.history import Call, History

ANSWER_SECONDS = 25.0
RETRY_FIRST, RETRY_LAST = 0.05, 0.5

# Says who ran and which run it was; the token is an argument, so that `docker top` shows where it runs.
PROGRAM = """\
import sys, time, uuid
token, seconds, code = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
run = uuid.uuid4().hex
print("begin", token, run, flush=True)
time.sleep(seconds)
print("end", token, run)
sys.exit(code)
"""


@dataclass
class Job:
    """A submitted job. `ends` are the (status, failure) that it may end with."""

    token: str
    seconds: float
    code: int = 0
    id: str = ""
    ends: set[tuple[str, str | None]] = field(default_factory=set)
    run: str = ""
    """Which of its runs the result is of, once it is known."""

    def check(self, result: dict[str, Any]) -> None:
        """AssertionError unless the result is what one whole run of this very job prints."""
        assert (result["status"], result["failure"]) in self.ends, (self, result)
        if result["failure"] in (None, "exit"):
            printed = re.fullmatch(r"begin (\S+) (\w{32})\nend \1 \2\n", result["output"])
            assert printed, (self, result)
            assert printed[1] == self.token, f"the result of another job: {self} {result}"
            assert result["exit_code"] == self.code, (self, result)
            assert self.run in ("", printed[2]), f"the result of {self} changed to {printed[2]}"
            self.run = printed[2]


class Client:
    """One user of the API. Not for several threads: each has a client of its own."""

    def __init__(self, name: str, url: str, history: History) -> None:
        self.name = name
        self._url = url
        self._history = history
        self._http = requests.Session()
        self._http.trust_env = False

    def close(self) -> None:
        """Cut its connections."""
        self._http.close()

    def call(self, verb: str, method: str, path: str, body: Any = None, *, key: str = "") -> Call:
        """One request, sent once. Without an answer the returned call has no status."""
        said = body if isinstance(body, dict) else {"body": body}
        call = self._history.sent(self.name, verb, {"path": path, "headers": key, **said})
        headers = {"Idempotency-Key": key} if key else {}
        try:
            answer = self._http.request(method, self._url + path, json=body, headers=headers, timeout=ANSWER_SECONDS)
        except requests.RequestException:
            return call
        self._history.answered(call, answer.status_code, answer.json() if answer.content else None)
        return call

    def insist(
        self, verb: str, method: str, path: str, body: Any = None, *, key: str = "", seconds: float = 150
    ) -> Call:
        """Send until an answer other than 503 comes, as a careful client does; AssertionError after `seconds`."""
        deadline = time.monotonic() + seconds
        pause = RETRY_FIRST
        while True:
            call = self.call(verb, method, path, body, key=key)
            if call.status not in (None, 503):
                return call
            if time.monotonic() > deadline:
                raise AssertionError(f"no answer to {verb} within {seconds} s, last {call.status} {call.body}")
            time.sleep(random.uniform(pause / 2, pause))  # the client's backoff
            pause = min(RETRY_LAST, pause * 2)

    def submit(self, seconds: float, *, code: int = 0, **fields: Any) -> Job:
        """A new job that runs for so long; sent again with the same key until it is answered."""
        job = Job(f"token-{uuid.uuid4().hex[:12]}", seconds, code)
        job.ends = {("completed", None) if code == 0 else ("failed", "exit")}
        body = {"code": PROGRAM, "args": [job.token, str(seconds), str(code)], **fields}
        call = self.insist("submit", "POST", "/submit", body, key=uuid.uuid4().hex)
        assert call.status == 200, (call.status, call.body)
        job.id = call.body["job_id"]
        return job

    def cancel(self, job: Job) -> None:
        """Ask for its end; it may have ended before."""
        job.ends = job.ends | {("failed", "cancelled")}
        call = self.insist("cancel", "DELETE", f"/jobs/{job.id}")
        assert call.status in (200, 202), (call.status, call.body)

    def status(self, job: Job) -> dict[str, Any]:
        """What /status says."""
        call = self.insist("status", "GET", f"/status/{job.id}")
        assert call.status == 200, (job, call.status, call.body)
        body: dict[str, Any] = call.body
        return body

    def attempts(self, job: Job) -> list[dict[str, Any]]:
        """The job's attempts so far."""
        call = self.insist("job", "GET", f"/jobs/{job.id}")
        assert call.status == 200, (job, call.status, call.body)
        attempts: list[dict[str, Any]] = call.body["attempts"]
        return attempts

    def result(self, job: Job, *, seconds: float = 200) -> dict[str, Any]:
        """The job's end, waited for and checked."""
        deadline = time.monotonic() + seconds
        while True:
            call = self.insist("results", "GET", f"/results/{job.id}?wait=5", seconds=seconds)
            if call.status == 200:
                job.check(call.body)
                body: dict[str, Any] = call.body
                return body
            assert call.status == 202, (job, call.status, call.body)
            if time.monotonic() > deadline:
                raise AssertionError(f"{job} has not ended within {seconds} s: {self.status(job)}")
