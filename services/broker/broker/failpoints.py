"""Places where a test may kill the process, to prove that what was answered survives.

Nothing here acts unless BROKER_TEST_HOOKS=1 is in the environment.

BROKER_FAILPOINT=NAME or NAME:N ends the process with SIGKILL at the N-th pass (default the first) of the place NAME:
`before_commit`, `after_commit` (in the writer, around every COMMIT that changed something) and `after_answer_built`.
"""

import os
import signal

__all__ = ["failpoint", "test_hook"]


def test_hook(name: str) -> str | None:
    """The value of an environment variable that only tests may set; None outside tests."""
    return os.environ.get(name) if os.environ.get("BROKER_TEST_HOOKS") == "1" else None


class _Failpoint:
    """The armed place and how many passes are left."""

    def __init__(self, setting: str | None) -> None:
        name, _, count = (setting or "").partition(":")
        self._name = name
        self._left = int(count or "1")

    def __call__(self, name: str) -> None:
        if name == self._name:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


failpoint = _Failpoint(test_hook("BROKER_FAILPOINT"))
"""Call with the place's name; returns at once unless the place is armed."""
