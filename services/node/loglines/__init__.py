"""The log lines of the node's programs: they cannot be forged, and hold nothing which is not the operator's to read.

An event is one line: JSON for machines, or words for people at a terminal. Its facts are fields (job, attempt, fence,
node, session, request). Whatever a stranger chose (a name, a path, an id) may show up in a field: control characters in
it are written as escapes, so that it can neither begin a line nor steer a terminal. Messages of foreign exceptions are
left out of traces: they may quote code, output or a body.

Agent and sandrun share this and nothing else; the broker, which is installed without them, has its own (broker.logs).
"""

import itertools
import json
import logging
import math
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final

from structlog.dev import Column, ConsoleRenderer, KeyValueColumnFormatter
from structlog.processors import JSONRenderer
from structlog.stdlib import ProcessorFormatter
from structlog.typing import Processor

__all__ = [
    "FORMATS",
    "LEVELS",
    "REQUEST_ID",
    "SUBMIT_REQUEST",
    "EventLog",
    "LineFormatter",
    "about",
    "always",
    "new_request_id",
    "resolved",
    "show_traces",
]

FORMATS: Final = ("auto", "json", "text")
LEVELS: Final = ("debug", "info", "warning", "error")
REQUEST_ID: Final[ContextVar[str]] = ContextVar("request_id", default="")
"""Of the call that is being served; empty outside one."""
SUBMIT_REQUEST: Final[ContextVar[str]] = ContextVar("submit_request", default="")
"""The id of the request by which a client submitted the job that all this is about; empty when nobody said."""

LONGEST_TEXT: Final = 4000
LONGEST_TRACE: Final = 100
"""Frames."""
_CONTROL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
"""C0 and C1, separators that count as line ends, marks that turn the direction of text or have no width."""
_KEY: Final = re.compile(r"sbk_[0-9A-Za-z]{12}_[0-9A-Za-z]+|(?i:bearer) +\S+")
_OURS: Final = (OSError,)
"""Exceptions whose messages say what failed and never what was sent."""
_DIM, _BOLD, _BLUE, _RESET = "\x1b[2m", "\x1b[1m", "\x1b[34m", "\x1b[0m"


_ALWAYS: Final[dict[str, object]] = {}
_PROCESS: Final = os.urandom(5).hex()
_NUMBERS: Final = itertools.count(1)

TraceOf = Callable[[str], str | None]
_trace_of: TraceOf | None = None


def new_request_id() -> str:
    """Of a call that nobody named: this process's random number and a count."""
    return f"{_PROCESS}-{next(_NUMBERS):x}"


def always(**fields: object) -> None:
    """Fields that every line of this process has from now on."""
    _ALWAYS.update(fields)


@contextmanager
def about(request_id: str, submit_request: str = "") -> Iterator[None]:
    """What this thread logs and calls meanwhile belongs to a request, and to a job that another one submitted."""
    token, submit_token = REQUEST_ID.set(request_id), SUBMIT_REQUEST.set(submit_request)
    try:
        yield
    finally:
        REQUEST_ID.reset(token)
        SUBMIT_REQUEST.reset(submit_token)


class EventLog:
    """A logger whose message is an event in words and whose facts are fields. Disabled levels cost next to nothing."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: object) -> None:
        """For following a single job."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Normal life."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something failed and is being dealt with."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """An operator should look."""
        self._write(logging.ERROR, event, fields)

    def crash(self, event: str, error: BaseException | None = None, **fields: object) -> None:
        """An exception that nobody foresaw (the present one unless given): where it came from is added."""
        self._write(logging.ERROR, event, fields, error or sys.exc_info()[1])

    def _write(self, level: int, event: str, fields: Mapping[str, object], error: BaseException | None = None) -> None:
        if self._logger.isEnabledFor(level):
            info = (type(error), error, error.__traceback__) if error is not None else None
            self._logger.log(level, event, extra={"fields": fields}, exc_info=info)


def show_traces(trace_of: TraceOf) -> None:
    """From now on lines about a job say `trace_id`, if `trace_of` knows one."""
    global _trace_of
    _trace_of = trace_of


def resolved(style: str) -> tuple[str, bool]:
    """`auto` as text at a terminal and JSON elsewhere; and whether colours are seen."""
    terminal = sys.stderr.isatty()
    return ("text" if terminal else "json") if style == "auto" else style, terminal


class LineFormatter(ProcessorFormatter):
    """Turns a record, whoever made it, into a line; see above."""

    def __init__(self, style: str, colors: bool = False) -> None:
        write: Processor = _json if style == "json" else _Text(colors)
        super().__init__(processors=[_facts, _clean, write], use_get_message=True)


def _facts(_: Any, __: str, event: Any) -> dict[str, Any]:
    """The fields of a record, in the order in which they are shown."""
    record: logging.LogRecord = event["_record"]
    moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    line = {"time": moment, "level": record.levelname.lower(), "event": event["event"], "source": record.name}
    if request := REQUEST_ID.get():
        line["request"] = request
    if submit_request := SUBMIT_REQUEST.get():
        line["submit_request"] = submit_request
    line.update(_ALWAYS)
    line.update(getattr(record, "fields", {}))
    if _trace_of is not None and isinstance(job := line.get("job"), str) and (trace_id := _trace_of(job)):
        line["trace_id"] = trace_id
    error = event["exc_info"][1] if "exc_info" in event else None
    if error is not None:
        line["trace"] = _trace(error)
    return line


def _trace(error: BaseException) -> list[str]:
    """Where an exception came from and of which kind."""
    lines: list[str] = ["Traceback, the last call last:"]
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        said = f": {str(following)[:LONGEST_TEXT]}" if isinstance(following, _OURS) else ""
        lines.append(f"{type(following).__module__}.{type(following).__qualname__}{said}")
        lines += _frames(following.__traceback__)
        following = following.__cause__ or following.__context__
    return lines


def _frames(trace: TracebackType | None) -> list[str]:
    """Without the source lines: what is on the disk may be younger than what runs."""
    frames = traceback.extract_tb(trace, limit=-LONGEST_TRACE)
    return [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]


def _clean(_: Any, __: str, event: Any) -> dict[str, Any]:
    return {name: _plain(value) for name, value in event.items()}


def _plain(value: object) -> object:
    """Numbers as they are, everything else as text that stays on its line and holds no key."""
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value  # JSON has no NaN and no Infinity: they are text
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    text = _KEY.sub("(key)", str(value)[:LONGEST_TEXT])
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


_render_json = JSONRenderer(serializer=json.dumps)


def _json(logger: Any, name: str, event: Any) -> str:
    return str(_render_json(logger, name, event))


class _Text:
    """Words for people: time, level, event, then the facts; `lines` and a trace follow indented."""

    def __init__(self, colors: bool) -> None:
        dim, bold, blue, reset = (_DIM, _BOLD, _BLUE, _RESET) if colors else ("", "", "", "")
        self._render = ConsoleRenderer(
            columns=[
                Column("time", KeyValueColumnFormatter(None, dim, reset, str)),
                Column("level", KeyValueColumnFormatter(None, bold, reset, lambda level: str(level).upper(), width=7)),
                Column("event", KeyValueColumnFormatter(None, bold, reset, str)),
                Column("", KeyValueColumnFormatter(blue, "", reset, _quoted)),
            ]
        )

    def __call__(self, logger: Any, name: str, event: Any) -> str:
        below = [*event.pop("lines", ()), *event.pop("trace", ())]
        return "\n".join([str(self._render(logger, name, event)), *(f"    | {line}" for line in below)])


def _quoted(value: object) -> str:
    """A value that ends where it seems to end."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or set(text) & set(' "=[]') else text
