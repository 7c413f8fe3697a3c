"""Every error the agent raises or maps to, in one tree.

AgentError
├── SettingError              a setting that cannot be used; the message names it
├── BadSubmissionError        a job that cannot be put into a submission
├── CallError                 one HTTP exchange failed
│   ├── NotReachedError       nothing was sent: refused, no route, no name, connect timed out
│   ├── AnswerLostError       something was sent, no whole answer came back
│   │   └── AnswerTimeoutError    … within the time given
│   └── BadAnswerError        an answer came that cannot be understood
├── BrokerError
│   ├── BrokerAwayError       not now: try again later
│   ├── SessionOverError      kill all runs and register again
│   └── BrokerRefusedError    the broker understood and said no
└── SandrunError
    ├── SandrunGoneError      crashed, hung or replaced: nobody's fault but the platform's
    │   └── SandrunSilentError    it took the request and says nothing within the time given
    ├── SandrunBusyError      not now (429, 503)
    ├── SandrunRefusedError   it will never run this job
    │   └── BadUploadError    nor would any other: its files are wrong
    └── JobVanishedError      it does not know the job (any more)
"""

from collections.abc import Sequence


class AgentError(Exception):
    """Something the agent knows how to deal with."""


class SettingError(AgentError):
    """A setting cannot be used."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name


class BadSubmissionError(AgentError):
    """A job cannot be put into a submission; the message says which part of it."""


class InputLostError(AgentError):
    """A file that the job was submitted with cannot be had; the message says why."""


class CallError(AgentError):
    """An HTTP exchange failed."""


class NotReachedError(CallError):
    """The other side was not reached; nothing was sent."""


class AnswerLostError(CallError):
    """The request was sent, the answer was not received whole."""


class AnswerTimeoutError(AnswerLostError):
    """No whole answer within the time given."""


class BadAnswerError(CallError):
    """The answer cannot be understood."""


class BrokerError(AgentError):
    """The broker could not be asked or said no."""

    request_id = ""
    """Of the call, as the broker's log has it."""

    def __str__(self) -> str:
        said = super().__str__()
        return f"{said} (request {self.request_id})" if self.request_id else said


class BrokerAwayError(BrokerError):
    """The broker cannot take the call now; `retry_after` is its own wish in seconds, if it said one."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SessionOverError(BrokerError):
    """The broker no longer knows this session or this node."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BrokerRefusedError(BrokerError):
    """The broker answered with an error that trying again does not mend."""

    def __init__(self, status: int, reason: str, message: str, missing: Sequence[str] = ()) -> None:
        super().__init__(f"{status} {reason or message}".strip())
        self.missing = list(missing)
        """SHA-256 of the files that have to be sent first."""
        self.status = status
        self.reason = reason
        self.message = message


class SandrunError(AgentError):
    """A sandrun could not be asked or said no."""


class SandrunGoneError(SandrunError):
    """sandrun does not answer; `sent` tells whether it may have received the request."""

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class SandrunSilentError(SandrunGoneError):
    """No answer within the read timeout: it hangs, or it is a foreign one whose job still runs."""


class SandrunBusyError(SandrunError):
    """sandrun takes no job now."""


class SandrunRefusedError(SandrunError):
    """sandrun will not run this job."""


class BadUploadError(SandrunRefusedError):
    """No sandrun would take these files: the job's own fault."""


class JobVanishedError(SandrunError):
    """sandrun does not know the job."""
