"""sandrun's log: lines that cannot be forged (loglines), on standard error."""

from __future__ import annotations

import logging
import sys

from loglines import FORMATS, LEVELS, LineFormatter, resolved

__all__ = ["configure"]

_QUIET = {"python_multipart": logging.ERROR, "websockets": logging.WARNING, "asyncio": logging.WARNING}
"""Libraries that would write a line for what strangers send wrongly, or all that they send."""


def configure(level: str, style: str) -> None:
    """Send every log line of the process to standard error. ValueError says what a wrong setting should be."""
    for name, value, right in (("LOG_LEVEL", level, LEVELS), ("LOG_FORMAT", style, FORMATS)):
        if value not in right:
            raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(right)}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(*resolved(style)))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(least)
