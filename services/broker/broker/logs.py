"""Log lines that cannot be forged, and that hold nothing which is not the operator's to read.

A record is one line; what belongs to it (a trace) follows indented. Whatever a stranger chose (a name, a path, an id)
may show up in a message: control characters in it are written as escapes, so that it can neither begin a line nor steer
a terminal. Messages of foreign exceptions are left out of traces: they may quote code, output or a body.
"""

import logging
import re
import sqlite3
import sys
import traceback
from types import TracebackType
from typing import Final

from broker.errors import BrokerError

__all__ = ["LineFormatter", "set_up"]

LONGEST_MESSAGE: Final = 4000
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""C0 and C1, separators that count as line ends, marks that turn the direction of text or have no width."""
_KEY: Final = re.compile(r"sbk_[0-9A-Za-z]{12}_[0-9A-Za-z]+|(?i:bearer) +\S+")
_QUERY: Final = re.compile(r'\?[^ "]*')
_OURS: Final = (BrokerError, OSError, sqlite3.Error)
"""Exceptions whose messages say what failed and never what was sent."""

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def set_up(level: str) -> None:
    """Log to standard error from `level` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger("alembic").setLevel(logging.WARNING)


class LineFormatter(logging.Formatter):
    """One line a record; see above."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """The line."""
        message = record.message[:LONGEST_MESSAGE]
        if record.name == "uvicorn.access":
            message = _QUERY.sub("?…", message)
        record.message = _escape(_KEY.sub("(key)", message))
        return super().formatMessage(record)

    def formatException(self, ei: ExcInfo) -> str:  # noqa: N802  # logging's name
        """Where it came from and of which kind, indented."""
        lines: list[str] = []
        error = ei[1]
        seen: set[int] = set()
        while error is not None and id(error) not in seen:
            seen.add(id(error))
            said = f": {_escape(str(error)[:LONGEST_MESSAGE])}" if isinstance(error, _OURS) else ""
            lines += [f"{type(error).__module__}.{type(error).__qualname__}{said}"]
            lines += [line for frame in traceback.format_tb(error.__traceback__) for line in frame.splitlines()]
            error = error.__cause__ or error.__context__
        return "\n".join(f"    | {_KEY.sub('(key)', line)}" for line in ["Traceback, the last call last:", *lines])


def _escape(text: str) -> str:
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
