"""Calls that are refused, in the log: the first of a kind at once, the others in a sum every ten seconds, with nothing
that the caller wrote. So a flood of them is a line now and then, and a single one is still found."""

import asyncio
from dataclasses import dataclass
from typing import Final

from starlette.types import Scope

from broker.api.access import SCOPE_KEY
from broker.api.caller import client_address
from broker.domain.principal import Principal
from broker.logs import EventLog
from broker.settings import Settings
from broker.shell.limits import parse_networks

__all__ = ["REFUSED", "Refusals"]

log = EventLog("broker.refusals")

REFUSED: Final = frozenset({401, 403, 421, 429, 503, 507})
"""Statuses that tell of callers and of limits rather than of a mistake in a body."""
SUM_SECONDS = 10.0


@dataclass(slots=True)
class _Sum:
    """Refusals that were not written yet, and the last of them."""

    count: int = 0
    call: str = ""
    address: str = ""
    key: str | None = None


class Refusals:
    """One line for each status in SUM_SECONDS."""

    def __init__(self, settings: Settings) -> None:
        self._trusted = parse_networks(settings.trusted_proxies)
        self._sums: dict[int, _Sum] = {}

    def note(self, status: int, call: str, scope: Scope) -> None:
        """A call was answered with one of REFUSED."""
        principal: Principal | None = scope.get(SCOPE_KEY)
        address, key = client_address(scope, self._trusted), (principal.id or None) if principal else None
        known = self._sums.get(status)
        if known is None:
            self._sums[status] = _Sum()
            log.warning("call was refused", status=status, call=call or None, address=address, key=key)
            asyncio.get_running_loop().call_later(SUM_SECONDS, self._sum_up, status)
        else:
            known.count += 1
            known.call, known.address, known.key = call, address, key

    def _sum_up(self, status: int) -> None:
        told = self._sums.pop(status)
        if told.count:
            last = {"call": told.call or None, "address": told.address, "key": told.key}
            log.warning("more calls were refused", status=status, count=told.count, **last)
