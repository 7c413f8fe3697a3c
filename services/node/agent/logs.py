"""The agent's log: lines that cannot be forged (loglines), on standard error.

Lines carry ids, numbers and reasons; never a job's code, input or output, and never the node's secret. A thread of its
own writes them: where nobody reads standard error any more, lines are lost, but no heartbeat waits.
"""

import logging
import queue
import sys
import threading
from typing import TextIO

from loglines import FORMATS, LEVELS, EventLog, LineFormatter, resolved

__all__ = ["FORMATS", "LEVELS", "EventLog", "LineWriter", "configure"]

MOST_WAITING = 10_000  # lines; beyond them new ones are counted only


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
    handler.setFormatter(LineFormatter(*resolved(style)))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # urllib3 warns for every connection that a peer closed; the callers here report what matters.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    return handler
