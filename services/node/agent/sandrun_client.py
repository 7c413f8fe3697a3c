"""The sandrun HTTP API as the agent uses it, for ours and for a foreign one.

What a sandrun can do beyond the common API is read from its `GET /`: an extension that is not listed there is not used.
A foreign one may block `/status` and `/submit` for as long as a job runs, so those calls take their read timeout from
the caller, and it gets no query string and no keep-alive.
"""

from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import quote

from agent.description import Description, read_description
from agent.errors import (
    AnswerTimeoutError,
    BadAnswerError,
    BadUploadError,
    CallError,
    JobVanishedError,
    NotReachedError,
    SandrunBusyError,
    SandrunGoneError,
    SandrunRefusedError,
    SandrunSilentError,
)
from agent.submission import Body, FileBody
from agent.transport import Answer, Transport
from loglines import SUBMIT_REQUEST

HEALTH_TIMEOUT = 3.0
CALL_TIMEOUT = 10.0
FILES_TIMEOUT = 120.0  # unpacking a large archive takes sandrun a while
MOST_ENVIRONMENTS = 100  # that a node tells the broker of
SUBMIT_REQUEST_HEADER = "X-Submit-Request-Id"  # ours has it in its log lines about the job
STATUS_WAIT = 25  # seconds a waiting status holds, at most what the extension allows


class Taken(NamedTuple):
    """A job that sandrun has taken."""

    job_id: str
    waits: bool
    """It does not run yet: sandrun has no slot, or not the memory, for it."""


class SandrunClient:
    """Calls to one sandrun. Usable from any thread. Errors are those of `agent.errors` under SandrunError."""

    def __init__(self, base_url: str) -> None:
        self._transport = Transport(base_url, keep_alive=False, direct=True)
        self._forgets = False

    def describe(self) -> Description:
        """Ask what it is and can; from then on calls fit it."""
        answer = self._get("/", CALL_TIMEOUT)
        if answer.status != 200:
            raise SandrunGoneError(f"GET /: status {answer.status}")
        found = _object(answer)
        if found.get("service") != "sandrun":
            raise SandrunGoneError("GET / does not say that this is a sandrun; is SANDRUN_URL right?")
        description = read_description(found)
        self._transport.keep_alive = not description.foreign
        self._forgets = description.can("forget")
        return replace(description, environments=self._environments()) if description.foreign else description

    def _environments(self) -> tuple[str, ...]:
        """Names of a foreign one's prepared environments; none when it does not tell in time."""
        try:
            names = _object(self._get("/environments", HEALTH_TIMEOUT)).get("templates")
        except SandrunGoneError:
            return ()
        found = {name for name in names if isinstance(name, str) and name} if isinstance(names, list) else set()
        return tuple(sorted(found)[:MOST_ENVIRONMENTS])

    def health(self) -> None:
        """Return when it is alive; SandrunGoneError when it is not."""
        answer = self._get("/health", HEALTH_TIMEOUT)
        if answer.status != 200:
            raise SandrunGoneError(f"/health: status {answer.status}")

    def submit(self, body: Body | FileBody, read_timeout: float) -> Taken:
        """Hand in a job. One that came as files is streamed from the disk.

        Raises SandrunBusyError (not now), SandrunRefusedError (never), SandrunGoneError (`sent` False: it got nothing).
        """
        return _submitted(self._call("POST", "/submit", read_timeout, body))

    def status(self, job_id: str, read_timeout: float, query: str = "") -> dict[str, Any]:
        """The job's status document. JobVanishedError when sandrun does not know it."""
        answer = self._get(f"/status/{quote(job_id, safe='')}{query}", read_timeout)
        if answer.status == 404:
            raise JobVanishedError("sandrun does not know the job any more; was it restarted?")
        if answer.status != 200:
            raise SandrunGoneError(f"/status: status {answer.status}")
        return _object(answer)

    def logs(self, job_id: str) -> dict[str, Any]:
        """What the job printed: `stdout` and `stderr`."""
        answer = self._get(f"/logs/{quote(job_id, safe='')}", CALL_TIMEOUT)
        if answer.status == 404:
            raise JobVanishedError("sandrun does not know the job's logs any more; was it restarted?")
        if answer.status != 200:
            raise SandrunGoneError(f"/logs: status {answer.status}")
        return _object(answer)

    def cancel(self, job_id: str) -> None:
        """End a job (extension `cancel`); harmless when it has ended or is unknown."""
        answer = self._call("DELETE", f"/jobs/{quote(job_id, safe='')}", CALL_TIMEOUT)
        if answer.status not in (200, 202, 204, 404, 409, 410):
            raise SandrunGoneError(f"DELETE /jobs: status {answer.status}")

    def forget(self, job_id: str) -> None:
        """Delete an ended job's data (extension `forget`); a sandrun that cannot is not asked."""
        if not self._forgets:
            return
        answer = self._call("DELETE", f"/jobs/{quote(job_id, safe='')}?forget=true", CALL_TIMEOUT)
        if answer.status not in (200, 202, 204, 404, 409, 410):
            raise SandrunGoneError(f"DELETE /jobs: status {answer.status}")

    def live_logs(self, job_id: str, stdout_from: int, stderr_from: int, wait: int) -> dict[str, Any]:
        """Output from these bytes on, in base64, as soon as there is some (extension `logs-base64`)."""
        query = f"?stdout_from={stdout_from}&stderr_from={stderr_from}&wait={wait}&encoding=base64"
        answer = self._get(f"/logs/{quote(job_id, safe='')}{query}", wait + CALL_TIMEOUT)
        if answer.status == 404:
            raise JobVanishedError("sandrun does not know the job's logs any more; was it restarted?")
        if answer.status != 200:
            raise SandrunGoneError(f"/logs: status {answer.status}")
        return _object(answer)

    def may_submit(self) -> bool:
        """Whether a foreign sandrun would take and start a job now (`GET /stats`); True when it does not say."""
        try:
            stats = _object(self._get("/stats", CALL_TIMEOUT))
        except SandrunSilentError:
            return False  # a foreign one answers nothing about jobs while one runs
        except SandrunGoneError:
            return True  # /submit will tell
        quota, system = stats.get("your_quota"), stats.get("system")
        if isinstance(quota, dict) and quota.get("can_submit") is False:
            return False
        return not (isinstance(system, dict) and (system.get("active_jobs") or system.get("queue_length")))

    def _get(self, path: str, read_timeout: float) -> Answer:
        return self._call("GET", path, read_timeout)

    def _call(self, method: str, path: str, read_timeout: float, body: Body | FileBody | None = None) -> Answer:
        kind = body.content_type if body else ""
        named = {SUBMIT_REQUEST_HEADER: submitted} if body and (submitted := SUBMIT_REQUEST.get()) else None
        sent = False
        while True:
            data = body.open() if isinstance(body, FileBody) else body.data if body else None
            try:
                return self._transport.call(
                    method, path, data, content_type=kind, headers=named, read_timeout=read_timeout
                )
            except NotReachedError as error:
                raise SandrunGoneError(f"sandrun is not reached: {error}", sent=sent) from error
            except AnswerTimeoutError as error:
                raise SandrunSilentError(f"sandrun does not answer {method} {path} in {read_timeout:.0f} s") from error
            except CallError as error:
                if sent or isinstance(error, BadAnswerError):
                    raise SandrunGoneError(f"sandrun broke off: {error}") from error
                # A kept-alive connection that had just been closed looks like this. Nothing that a job does leaves its
                # sandbox, so a submit may be repeated too: at worst it runs twice and one run's result is never read.
                sent = True


def _submitted(answer: Answer) -> Taken:
    if answer.status in (429, 503):
        raise SandrunBusyError(_said(answer))
    if answer.status == 400 and _reason(answer) == "bad_upload":
        raise BadUploadError(_said(answer))
    if answer.status != 200:
        raise SandrunRefusedError(f"sandrun refused the job ({answer.status}): {_said(answer)}")
    said = _object(answer)
    job_id = said.get("job_id")
    if not isinstance(job_id, str) or not job_id:
        raise SandrunGoneError("/submit: the answer has no job_id")
    return Taken(job_id, waits=bool(said.get("queue_position")))


def _said(answer: Answer) -> str:
    try:
        return str(answer.json().get("error") or "")[:300]
    except BadAnswerError:
        return f"status {answer.status}"


def _reason(answer: Answer) -> str:
    """The word by which our sandrun tells what the job's own fault is."""
    try:
        return str(answer.json().get("reason") or "")
    except BadAnswerError:
        return ""


def _object(answer: Answer) -> dict[str, Any]:
    try:
        return answer.json()
    except BadAnswerError as error:
        raise SandrunGoneError(f"an answer of sandrun cannot be read: {error}") from error
