"""Web pages in the operator's browser must not use the broker behind his back.

A broker on 127.0.0.1 without keys can be reached by every page that he opens. Two ways lead there. A page of another
origin sends a request that needs no preflight (a form, a multipart upload, a WebSocket): the browser says where it
comes from. Or a page's own name is made to point to 127.0.0.1 after it was loaded (DNS rebinding): then the request is
of one origin, and only its Host tells that the name is not one of ours.
"""

from ipaddress import ip_address
from typing import Final

from starlette.types import Scope

from broker.api.errors import HttpError
from broker.errors import CrossSiteError

__all__ = ["Origins"]

READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
PRIVATE_SUFFIXES: Final = (".localhost", ".local", ".internal", ".home.arpa", ".lan")
"""Names that no public name server gives out. Neither does it names without a dot."""
REMEMBERED: Final = 1000


class Origins:
    """Judges requests by the headers Host and Origin. `allowed`: names, or "*" for all. `any_name` with keys, since a
    rebound page has none of the real page's, and for brokers that are open on purpose."""

    def __init__(self, allowed: str, *, any_name: bool) -> None:
        names = {name.strip().lower() for name in allowed.split(",") if name.strip()}
        self._any = any_name or "*" in names
        self._allowed = names
        self._known: set[bytes] = set()

    def check(self, scope: Scope) -> None:
        """HttpError 421 for a strange name, CrossSiteError for a page of another origin."""
        host = origin = None
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
            elif name == b"origin":
                origin = value
        if host is not None and not self._any and host not in self._known:
            self._look(host)
        if origin is not None and scope.get("method", "WEBSOCKET") not in READS:
            _, _, place = origin.partition(b"://")
            if place.lower() != (host or b"").lower():
                raise CrossSiteError("A web page of another origin may not call the broker.")

    def _look(self, host: bytes) -> None:
        text = host.decode("latin-1").lower()
        name = text.rpartition(":")[0] if text.rpartition(":")[2].isdigit() else text
        if not (name in self._allowed or "." not in name or name.endswith(PRIVATE_SUFFIXES) or _is_address(name)):
            raise HttpError(
                421, "The broker does not go by this name: add it to BROKER_ALLOWED_HOSTS, or require keys."
            )
        if len(self._known) < REMEMBERED:
            self._known.add(host)


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
