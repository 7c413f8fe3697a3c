"""Waits for what no condition variable guards."""

import threading
import time

from unit.agent.http_fake import PATIENCE


def wait_until(condition: object, what: str, timeout: float = PATIENCE) -> None:
    """Poll something that no condition variable guards (files)."""
    assert callable(condition)
    deadline = time.monotonic() + timeout
    waiter = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        waiter.wait(0.02)
