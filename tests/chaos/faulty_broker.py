"""The broker with faults under it: run in place of `python -m broker`, steered through the Unix socket CHAOS_CONTROL.

The product has no code for this. Before `broker` is imported, `sqlite3.connect` is replaced by one whose connections
stop at named points (around every commit that changes something), and `time.time` by one that can jump. Points:

- `begin`          a write transaction is about to start: its operations have been taken from the queue
- `statement`      a statement inside a write transaction has run
- `schema`         a statement that makes or changes a table has run
- `before_commit`  all statements have run, nothing is durable
- `after_commit`   durable, nobody has been told

Actions: `kill` (SIGKILL, as the kernel or a power cut would), `hold` (stop there until `release`).
CHAOS_ARMED=POINT:COUNT arms a kill before the broker starts.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import sqlite3
import sys
import threading
import time
from collections import Counter
from typing import Any

HOLD_LIMIT_SECONDS = 240.0


class Faults:
    """What is armed. Called from the broker's threads and from the control thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        point, _, count = os.environ.get("CHAOS_ARMED", "none:0").partition(":")
        self._armed: dict[str, tuple[int, str]] = {point: (int(count), "kill")}
        self._passes: Counter[str] = Counter()
        self._held = threading.Event()
        self._released = threading.Event()
        self.page_cap: int | None = None
        """To be set on the writing connection at its next transaction; 0 lifts the cap."""

    def reach(self, point: str) -> None:
        """A thread of the broker is at `point`; may not return."""
        with self._lock:
            self._passes[point] += 1
            left, action = self._armed.get(point, (0, ""))
            if left > 1:
                self._armed[point] = (left - 1, action)
            if left != 1:
                return
            del self._armed[point]
        if action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        self._held.set()
        self._released.wait(HOLD_LIMIT_SECONDS)

    def command(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out an order from the control socket."""
        name = order["do"]
        if name == "arm":
            with self._lock:
                self._armed[order["point"]] = (order["count"], order["action"])
            if order["action"] == "hold":
                self._held.clear()
                self._released.clear()
        elif name == "wait_held":
            return {"held": self._held.wait(order["seconds"])}
        elif name == "release":
            self._released.set()
        elif name == "shift":
            WallClock.shift = order["seconds"]
        elif name == "pages":
            self.page_cap = order["count"]
        elif name == "passes":
            return dict(self._passes)
        return {"ok": True}


class WallClock:
    """`time.time` with a shift; the monotonic clock is left alone, as a change of the machine's clock leaves it."""

    shift = float(os.environ.get("CHAOS_CLOCK_SHIFT", "0"))
    real = staticmethod(time.time)
    real_ns = staticmethod(time.time_ns)

    @classmethod
    def time(cls) -> float:
        """For time.time."""
        return cls.real() + cls.shift

    @classmethod
    def time_ns(cls) -> int:
        """For time.time_ns."""
        return cls.real_ns() + int(cls.shift * 1e9)


FAULTS = Faults()


class FaultyCursor(sqlite3.Cursor):
    """Tells where the writer is by the statements that it runs."""

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:  # type: ignore[override]
        """As Cursor.execute, with the points around it."""
        connection = self.connection
        assert isinstance(connection, FaultyConnection)
        word = sql.lstrip()[:6].upper()
        if word == "BEGIN " or word == "BEGIN":
            connection.starts(sql)
        if word == "COMMIT" and connection.is_dirty:
            FAULTS.reach("before_commit")
            super().execute(sql, *arguments)
            FAULTS.reach("after_commit")
            return self
        super().execute(sql, *arguments)
        if connection.in_transaction and word in ("INSERT", "UPDATE", "DELETE"):
            FAULTS.reach("statement")
        elif word in ("CREATE", "ALTER "):
            FAULTS.reach("schema")
        return self


class FaultyConnection(sqlite3.Connection):
    """A connection whose commits can be stopped at."""

    _changes_at_begin = 0

    def cursor(self, factory: Any = FaultyCursor) -> Any:
        """Cursors are always ours."""
        return super().cursor(factory if issubclass(factory, FaultyCursor) else FaultyCursor)

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        """By a cursor of ours: the original takes a short cut around cursor()."""
        cursor: sqlite3.Cursor = self.cursor().execute(sql, *arguments)
        return cursor

    @property
    def is_dirty(self) -> bool:
        """Whether the open transaction has changed rows."""
        return self.in_transaction and self.total_changes != self._changes_at_begin

    def starts(self, sql: str) -> None:
        """A transaction is about to begin; only writers say IMMEDIATE or EXCLUSIVE."""
        self._changes_at_begin = self.total_changes
        if "IMMEDIATE" not in sql.upper() and "EXCLUSIVE" not in sql.upper():
            return
        FAULTS.reach("begin")
        if FAULTS.page_cap is not None:
            cap, FAULTS.page_cap = FAULTS.page_cap, None
            self._cap_pages(cap)

    def _cap_pages(self, spare: int) -> None:
        """Let the file grow by `spare` pages and no more; 0 lifts the cap."""
        pages = super().cursor().execute("PRAGMA page_count").fetchone()[0]
        super().cursor().execute(f"PRAGMA max_page_count={pages + spare if spare else 1 << 30}").fetchone()

    def commit(self) -> None:
        """As Connection.commit, with the points around it."""
        dirty = self.is_dirty
        if dirty:
            FAULTS.reach("before_commit")
        super().commit()
        if dirty:
            FAULTS.reach("after_commit")


def _connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
    options.setdefault("factory", FaultyConnection)
    connection: sqlite3.Connection = _real_connect(*arguments, **options)
    return connection


_real_connect = sqlite3.connect


def _serve_control(listener: socket.socket) -> None:
    while True:
        peer, _ = listener.accept()
        threading.Thread(target=_serve_peer, args=(peer,), daemon=True).start()


def _serve_peer(peer: socket.socket) -> None:
    with peer, peer.makefile("rw") as lines:
        for line in lines:
            lines.write(json.dumps(FAULTS.command(json.loads(line))) + "\n")
            lines.flush()


def main() -> None:
    """Put the faults in place, then become the broker."""
    control = os.environ["CHAOS_CONTROL"]
    if os.path.exists(control):  # noqa: PTH110 - pathlib would be imported before the clock is replaced
        os.unlink(control)  # noqa: PTH108
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(control)
    listener.listen()
    threading.Thread(target=_serve_control, args=(listener,), daemon=True).start()
    time.time, time.time_ns = WallClock.time, WallClock.time_ns
    sqlite3.connect = sqlite3.dbapi2.connect = _connect  # type: ignore[assignment]
    sys.argv = ["broker"]
    runpy.run_module("broker", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
