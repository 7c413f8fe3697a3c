"""How many calls may be under way for one address behind a proxy.

Connections are counted where they are accepted (broker.shell), but a proxy's stand for many clients: one of these could
begin as many calls as the broker has connections, over HTTP/2 from a handful of its own. Here each of them has a share,
and whoever has shown no key a small one.
"""

from collections import Counter
from typing import Final

from starlette.types import Scope

from broker.api.caller import bucket, is_trusted
from broker.errors import OverloadedError
from broker.settings import Settings
from broker.shell.limits import parse_networks

__all__ = ["Crowd"]

MOST_PUBLIC: Final = 100
"""Calls that need no key, of one address: they are over in no time, unless somebody means ill."""

Place = tuple[str, bool]


class Crowd:
    """Counts calls that came through a proxy. Those that did not are connections, which were counted already."""

    def __init__(self, settings: Settings) -> None:
        self._trusted = parse_networks(settings.trusted_proxies)
        self._most = settings.max_connections_per_address
        self._under_way: Counter[Place] = Counter()

    def enter(self, scope: Scope, *, public: bool) -> Place | None:
        """Begin a call; give what is returned to `leave`. OverloadedError."""
        peer = scope.get("client")
        if peer and not (self._trusted and is_trusted(peer[0], self._trusted)):
            return None
        place = (bucket(scope, self._trusted), public)
        if self._under_way[place] >= (min(MOST_PUBLIC, self._most) if public else self._most):
            raise OverloadedError("Too many calls of this address are under way: try again later.")
        self._under_way[place] += 1
        return place

    def leave(self, place: Place | None) -> None:
        """A call is over."""
        if place is not None:
            self._under_way[place] -= 1
            if not self._under_way[place]:
                del self._under_way[place]
