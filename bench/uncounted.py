"""The broker with its counting taken out, to be measured beside the broker as it is: `python -m bench.uncounted`."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from starlette.types import Message, Scope, Send

from broker.api.around import Around
from broker.api.refusals import REFUSED
from broker.context import REQUEST_HEADER, REQUEST_ID, request_id_of
from broker.domain.histogram import Histogram
from broker.main import main
from broker.service.meter import Meter
from broker.store.ops import ending


def _uncounted(self: Around, name: str, scope: Scope, send: Send) -> Send:
    """As Around's, without the line that counts: request ids and refusals are there for the log."""
    request_id = request_id_of(scope["headers"])
    REQUEST_ID.set(request_id)

    def noted(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            status = scope["status"] = message["status"]
            message["headers"] = [*message.get("headers", ()), (REQUEST_HEADER, request_id.encode())]
            if status in REFUSED:
                self._refusals.note(status, name, scope)
        return send(message)

    return noted


def _nothing(*_: Any) -> None:
    """Count nothing."""


def take_out() -> None:
    """Replace whatever counts."""
    for owner, name in (
        (Histogram, "add"),
        (Histogram, "add_all"),
        (Meter, "stepped"),
        (Meter, "ended"),
        (ending, "Ended"),
    ):
        setattr(owner, name, _nothing)
    setattr(Around, "noted", _uncounted)  # noqa: B010  # mypy takes no assignment to a method


if __name__ == "__main__":
    take_out()
    main()
