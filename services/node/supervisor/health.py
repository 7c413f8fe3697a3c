"""Whether sandrun hangs: it lives, yet answers nothing. Restarting it is the container's work, so a hang ends it."""

import socket
import time

PROBE_EVERY = 5.0
PROBE_TIMEOUT = 3.0
# The self-test at its start attacks every layer of its sandbox and may take long on a busy machine.
START_SECONDS = 120.0
HANG_SECONDS = 20.0
HANG_PROBES = 3


class HangWatch:
    """Judges from probes. Time alone never condemns: a paused container wakes up long after its last good probe."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._next = time.monotonic() + PROBE_EVERY
        self._patience_ends = time.monotonic() + START_SECONDS
        self._failures = 0

    def hangs(self) -> bool:
        """Probe when it is time to; whether several probes in a row, over HANG_SECONDS, got no answer."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + PROBE_EVERY
        if answers(self._port):
            self._failures = 0
            self._patience_ends = time.monotonic() + HANG_SECONDS
            return False
        self._failures += 1
        return self._failures >= HANG_PROBES and time.monotonic() > self._patience_ends


def answers(port: int) -> bool:
    """Whether `GET /health` on this port is answered with 200 in time."""
    try:
        with socket.create_connection(("127.0.0.1", port), PROBE_TIMEOUT) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return connection.recv(64).split(b" ")[1:2] == [b"200"]
    except OSError:
        return False
