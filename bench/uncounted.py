"""The broker with its counting taken out, to be measured beside the broker as it is: `python -m bench.uncounted`.

Request ids, refusals and whatever else serves the log stay, and so does the reading of clocks.
"""

from __future__ import annotations

import inspect
import textwrap
from typing import Any

from broker.api import around
from broker.domain.histogram import Histogram
from broker.main import main
from broker.service.meter import Meter
from broker.store.ops import ending

COUNTS = "self._answers[name, status] += 1"
"""The line of Around.noted that serves /metrics alone."""


def _nothing(*_: Any) -> None:
    """Count nothing."""


def take_out() -> None:
    """Replace whatever counts."""
    for owner, names in ((Histogram, ("add", "add_all")), (Meter, ("stepped", "ended")), (ending, ("Ended",))):
        for name in names:
            setattr(owner, name, _nothing)
    source = textwrap.dedent(inspect.getsource(around.Around.noted))
    if source.count(COUNTS) != 1:
        raise LookupError(f"Around.noted has not exactly one line {COUNTS}")
    made: dict[str, Any] = {}
    exec(source.replace(COUNTS, "pass"), vars(around), made)  # noqa: S102  # so that it is never behind the original
    setattr(around.Around, "noted", made["noted"])  # noqa: B010  # mypy takes no assignment to a method


if __name__ == "__main__":
    take_out()
    main()
