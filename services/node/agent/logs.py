"""One log line per event, as JSON or as key=value, on standard error.

Lines carry ids, numbers and reasons; never a job's code, input or output, and never the node's secret. A thread of its
own writes them: where nobody reads standard error any more, lines are lost, but no heartbeat waits.
"""

import json
import logging
import queue
import sys
import threading
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

FORMATS = ("json", "text")
MOST_WAITING = 10_000  # lines; beyond them new ones are counted only
LEVELS = ("debug", "info", "warning", "error")


class EventLog:
    """A logger whose message is a short event name and whose facts are fields."""

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

    def crash(self, event: str, **fields: object) -> None:
        """An unexpected exception is being handled: where it came from is added."""
        self._write(logging.ERROR, event, fields, exc_info=True)

    def _write(self, level: int, event: str, fields: dict[str, object], exc_info: bool = False) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, extra={"fields": fields}, exc_info=exc_info)


class _LineFormatter(logging.Formatter):
    def __init__(self, style: str) -> None:
        super().__init__()
        self._json = style == "json"

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "source": record.name,
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = repr(record.exc_info[1])
            frames = traceback.extract_tb(record.exc_info[2])
            line["trace"] = " < ".join(f"{f.filename}:{f.lineno} {f.name}" for f in reversed(frames))
        if self._json:
            return json.dumps(line, default=str)
        return " ".join(f"{key}={_plain(value)}" for key, value in line.items())


def _plain(value: object) -> str:
    text = str(value)
    return json.dumps(text) if not text or any(c in text for c in ' "=\n\r\t') else text


class LineWriter(logging.Handler):
    """Writes lines to a stream from a thread of its own. `emit` never waits."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.Queue[str] = queue.Queue(MOST_WAITING)
        self._lost = 0
        threading.Thread(target=self._write, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record's line."""
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._lost += 1
        except Exception:
            self.handleError(record)

    def drain(self, seconds: float) -> bool:
        """Wait until what was queued so far is written, at most so long; whether it is."""
        with self._lines.all_tasks_done:
            return self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, seconds)

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            lost, self._lost = self._lost, 0
            try:
                self._stream.write(f"{line}\n" if not lost else f"{line}\n{_lines_lost(self.formatter, lost)}\n")
                self._stream.flush()
            except (OSError, ValueError):
                continue  # nobody is there to be told
            finally:
                self._lines.task_done()


def _lines_lost(formatter: logging.Formatter | None, count: int) -> str:
    record = logging.LogRecord("agent.logs", logging.WARNING, "", 0, "lines_lost", None, None)
    record.fields = {"count": count, "note": "standard error was not read for a while"}
    return (formatter or logging.Formatter()).format(record)


def configure(level: str, style: str) -> LineWriter:
    """Send every log line of the process to standard error; `level` and `style` as in LEVELS and FORMATS."""
    handler = LineWriter(sys.stderr)
    handler.setFormatter(_LineFormatter(style))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # urllib3 warns for every connection that a peer closed; the callers here report what matters.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    return handler
