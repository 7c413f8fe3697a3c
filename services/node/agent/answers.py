"""What the broker's answers mean, whatever stands between: a proxy's error page is no word of the broker's.

Nothing here trusts the shape of an answer: what cannot be meant counts as an answer that was lost.
"""

import re
from typing import Any

from agent.errors import BadAnswerError, BrokerAwayError, BrokerRefusedError, SessionOverError

_SESSION_WORDS = {"unknown_node", "session_ended"}
_NODE_CALLS = {"/heartbeat", "/claim"}
# A refusal that is no JSON comes from something in the broker's place, unless it is an old broker's way to say that it
# has no such call (by these statuses).
_NO_SUCH_CALL = {404, 405}
_NOT_EVERY_BROKERS = {"/link", "/start", "/release", "/progress", "/complete/batch"}
_NOT_NOW = {408, 425, 429}
_TOO_LARGE = 413
_WORD = re.compile(r"[!-~]{1,500}")  # what can be shown in a header
LONGEST_LEASE = 7 * 86400.0


def check(path: str, status: int, said: dict[str, Any] | None, retry_after: float | None) -> None:
    """Raise what a status outside 2xx means; `said`: the answer's JSON object, None when it was none."""
    if 200 <= status < 300:
        return
    reason = text(said, "reason")
    error = text(said, "error")
    message = f"{path}: {status} {error[:300]}".strip()
    if reason in _SESSION_WORDS:
        raise SessionOverError(reason)
    if status >= 500 or status in _NOT_NOW:
        raise BrokerAwayError(message, retry_after)
    no_such_call = path in _NOT_EVERY_BROKERS and status in _NO_SUCH_CALL
    if not error and status != _TOO_LARGE and not no_such_call:
        raise BrokerAwayError(f"{message} without a word of the broker's; does something stand in its place?")
    if status == 404 and path in _NODE_CALLS and not reason:
        raise SessionOverError("unknown_node")  # brokers without reasons say it with the bare status
    raise BrokerRefusedError(status, reason, message, strings(said, "missing"))


def acknowledged(path: str, answer: dict[str, Any]) -> dict[str, Any]:
    """An answer that says `"status": "ok"`, as every broker's does; BadAnswerError for others."""
    if answer.get("status") != "ok":
        raise BadAnswerError(f"{path}: the answer does not say that all is well; is this a broker?")
    return answer


def text(answer: dict[str, Any] | None, name: str) -> str:
    """A text field; empty when it is none."""
    value = answer.get(name) if answer else None
    return value if isinstance(value, str) else ""


def word(answer: dict[str, Any], name: str) -> str | None:
    """A field that goes into headers; None when it is absent. BadAnswerError when it could not go there."""
    value = answer.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise BadAnswerError(f"{name} is no word of printable characters; is this a broker?")
    return value


def entries(answer: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects of a list; anything else in it, or in its place, is left out."""
    value = answer.get(name)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def strings(answer: dict[str, Any] | None, name: str) -> list[str]:
    """The texts of a list."""
    value = answer.get(name) if answer else None
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []


def seconds(answer: dict[str, Any], name: str, default: float) -> float:
    """A length of time above 0 and at most LONGEST_LEASE; anything else is `default`."""
    value = answer.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    return float(value) if 0 < value <= LONGEST_LEASE else default  # NaN is neither, and no integer is too large to ask
