"""Steps the wall clock of the Python process that imports it: the broker's interpreter does, as `sitecustomize`.

The machine's clock cannot be moved for one container, so `time.time` is (docs/adr/0065). It differs from the real one
by what the file `offset` beside this one says at each call.
"""

import contextlib
import time
from pathlib import Path

_OFFSET = Path(__file__).with_name("offset")
_real, _real_ns = time.time, time.time_ns
_last = 0.0


def _offset() -> float:
    global _last
    with contextlib.suppress(OSError, ValueError):  # it is being written
        _last = float(_OFFSET.read_text())
    return _last


def _time() -> float:
    return _real() + _offset()


def _time_ns() -> int:
    return _real_ns() + int(_offset() * 1e9)


time.time, time.time_ns = _time, _time_ns
