"""The broker with its counting taken out, to be measured beside the broker as it is: `python -m bench.uncounted`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from starlette.types import Receive, Scope, Send

from broker.api.app import FrontDoor
from broker.domain.histogram import Histogram
from broker.main import main
from broker.service.meter import Meter
from broker.store.ops import ending

_counted = cast(Callable[[FrontDoor, Scope, Receive, Send], Awaitable[None]], FrontDoor.__call__)


async def _uncounted(self: FrontDoor, scope: Scope, receive: Receive, send: Send) -> None:
    """As FrontDoor's, without a wrapper around `send`."""
    if scope["type"] != "http":
        await _counted(self, scope, receive, send)
        return
    endpoint = self._find(scope, scope["method"], scope["path"])
    await self._serve(endpoint, scope["path"], scope, receive, send)


def _nothing(*_: Any) -> None:
    """Count nothing."""


def take_out() -> None:
    """Replace whatever counts."""
    for owner, name in ((Histogram, "add"), (Histogram, "add_all"), (Meter, "take"), (ending, "Ended")):
        setattr(owner, name, _nothing)
    setattr(FrontDoor, "__call__", _uncounted)  # noqa: B010  # mypy takes no assignment to a method


if __name__ == "__main__":
    take_out()
    main()
