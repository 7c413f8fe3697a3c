"""What belongs to the call that is being served: its request id, for the log and for the job that it submits."""

import itertools
import os
import re
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Final

__all__ = [
    "LONGEST_REQUEST_ID",
    "REQUEST_HEADER",
    "REQUEST_ID",
    "TRACEPARENT",
    "named",
    "request_id_of",
    "traceparent_of",
]

REQUEST_HEADER: Final = b"x-request-id"
LONGEST_REQUEST_ID: Final = 128
REQUEST_ID: Final[ContextVar[str]] = ContextVar("request_id", default="")
"""Empty outside a call."""
TRACEPARENT: Final[ContextVar[bytes]] = ContextVar("traceparent", default=b"")
"""The caller's header as it is; set while traces are on only."""
_SANE: Final = re.compile(rb"[A-Za-z0-9._-]{1,%d}" % LONGEST_REQUEST_ID)
_PROCESS: Final = os.urandom(5).hex()
_NUMBERS: Final = itertools.count(1)


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The caller's X-Request-Id if it is one (letters, digits and ._- up to 128), else a new one: this process's random
    number and a count."""
    for name, value in headers:
        if name == REQUEST_HEADER and _SANE.fullmatch(value):
            return value.decode("ascii")
    return f"{_PROCESS}-{next(_NUMBERS):x}"


def named() -> bool:
    """Whether the caller of the present call has given it its id."""
    request_id = REQUEST_ID.get()
    return bool(request_id) and not request_id.startswith(f"{_PROCESS}-")


def traceparent_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The caller's traceparent, unread."""
    return next((value for name, value in headers if name == b"traceparent"), b"")
