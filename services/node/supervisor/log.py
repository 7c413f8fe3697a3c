"""One JSON line per event on standard error, as the agent writes them."""

import json
import sys
from datetime import UTC, datetime


def log(level: str, event: str, **fields: object) -> None:
    """Write one line at once."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"time": now, "level": level, "event": event, "source": "supervisor", **fields}
    sys.stderr.write(json.dumps(line, default=str) + "\n")
    sys.stderr.flush()
