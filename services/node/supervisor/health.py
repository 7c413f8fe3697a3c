"""Whether sandrun hangs: it lives, yet answers nothing. Restarting it is the container's work, so a hang ends it."""

import socket
import time
from enum import Enum

PROBE_EVERY = 5.0
# Until it listens: one that hangs right after its start must not be given the time that a slow start needs.
FIRST_PROBES_EVERY = 1.0
PROBE_TIMEOUT = 3.0
# The self-test at its start attacks every layer of its sandbox and may take long on a busy machine.
START_SECONDS = 120.0
HANG_SECONDS = 20.0
HANG_PROBES = 3


class HangWatch:
    """Judges from probes. Time alone never condemns: a paused container wakes up long after its last good probe."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listened = False
        self._next = time.monotonic() + FIRST_PROBES_EVERY
        self._patience_ends = time.monotonic() + START_SECONDS
        self._failures = 0

    def hangs(self) -> bool:
        """Probe when it is time to; whether several probes in a row, over HANG_SECONDS, got no answer."""
        now = time.monotonic()
        if now < self._next:
            return False
        found = probe(self._port)
        if found is not Found.NOBODY and not self._listened:
            # It listens when it is ready: from now on silence is no slow start.
            self._listened = True
            self._patience_ends = now + HANG_SECONDS
        self._next = now + (PROBE_EVERY if self._listened else FIRST_PROBES_EVERY)
        if found is Found.ANSWER:
            self._failures = 0
            self._patience_ends = time.monotonic() + HANG_SECONDS
            return False
        self._failures += 1
        return self._failures >= HANG_PROBES and time.monotonic() > self._patience_ends


class Found(Enum):
    """What a probe found."""

    ANSWER = "an answer"
    SILENCE = "somebody who listens and says nothing that is right"
    NOBODY = "nobody"


def probe(port: int) -> Found:
    """Ask `GET /health` on this port; the only right answer is 200, in time."""
    try:
        with socket.create_connection(("127.0.0.1", port), PROBE_TIMEOUT) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return Found.ANSWER if connection.recv(64).split(b" ")[1:2] == [b"200"] else Found.SILENCE
    except ConnectionRefusedError:
        return Found.NOBODY
    except OSError:
        return Found.SILENCE
