"""What a request shows to say who it is: a key in Authorization, a dashboard's cookie, or a node's session headers."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from starlette.types import Scope

from broker.api.caller import bucket
from broker.domain.principal import Principal, Role
from broker.errors import (
    CrossSiteError,
    LimitError,
    MissingKeyError,
    SessionEndedError,
    UnauthorizedError,
    UnknownKeyError,
)
from broker.service.broker import Broker
from broker.service.keys import Keys, Shown
from broker.service.logins import Login, Logins
from broker.service.sessions import NodeSession, SessionBook
from broker.shell.limits import parse_networks

__all__ = ["COOKIE", "Caller", "cookie_of", "identify", "node_of", "node_principal", "slowed"]

COOKIE = "sandrun_session"
LONGEST_CREDENTIAL = 512
"""Bytes of an Authorization header; a key has 67."""
_SAFE = frozenset({"GET", "HEAD"})
_WANTED = frozenset(
    {b"authorization", b"cookie", b"host", b"origin", b"sec-fetch-site", b"sandrun-node", b"sandrun-session"}
)


class Caller:
    """Who a request comes from: the key that was shown, now or at the login that is used."""

    __slots__ = ("login", "shown")

    def __init__(self, shown: Shown, login: Login | None = None) -> None:
        self.shown = shown
        self.login = login

    @property
    def principal(self) -> Principal:
        """Who it is."""
        return self.shown.held.principal


def identify(scope: Scope, keys: Keys, logins: Logins) -> Caller:
    """The holder of the key or login that a request shows. UnauthorizedError; CrossSiteError for a login that a page of
    another site would use."""
    headers = _read(scope["headers"])
    shown = headers.get(b"authorization")
    if shown is not None:
        return Caller(keys.recognise(_bearer(shown)))
    cookie = _cookie(headers.get(b"cookie"))
    if cookie is None:
        raise MissingKeyError
    if not _is_own_page(scope, headers):
        raise CrossSiteError
    login = logins.find(cookie)
    return Caller(login.shown, login)


def cookie_of(scope: Scope) -> str | None:
    """The login's cookie, if the request has one."""
    return _cookie(_read(scope["headers"]).get(b"cookie"))


def node_of(scope: Scope, book: SessionBook) -> NodeSession:
    """The session that a node's call comes from. MissingKeyError, UnknownNodeError, SessionEndedError."""
    headers = _read(scope["headers"])
    node, session = headers.get(b"sandrun-node"), headers.get(b"sandrun-session")
    if node is None or session is None:
        raise MissingKeyError("This is a node's call: it needs the headers Sandrun-Node and Sandrun-Session.")
    if len(node) > LONGEST_CREDENTIAL or len(session) > LONGEST_CREDENTIAL:
        raise SessionEndedError
    return book.check(node.decode("latin-1"), session.decode("latin-1"))


def node_principal(session: NodeSession) -> Principal:
    """A node as a caller: it owns no job."""
    return Principal(session.node_id, Role.NODE)


def slowed(error: Exception, scope: Scope, broker: Broker) -> Exception:
    """The error, or 429 for an address that sends wrong keys again and again. A right key is never refused: behind one
    address there may be many, and nobody guesses 256 bits."""
    if not isinstance(error, UnauthorizedError) or isinstance(error, MissingKeyError):
        return error
    most = broker.settings.limit_failed_logins_per_minute
    address = bucket(scope, parse_networks(broker.settings.trusted_proxies))
    if broker.failed_logins.hit("failed_logins", address, most):
        return error
    left = broker.failed_logins.seconds_left("failed_logins", address, most)
    return LimitError("failed_logins_per_minute", f"Too many wrong keys: try again in {left} s.", left)


def _read(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The headers that matter here. One that may be there once and is there twice stands for nobody."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _WANTED:
            if name in found and name != b"cookie":
                raise UnknownKeyError(f"The header {name.decode()} may be sent once.")
            found[name] = found[name] + b"; " + value if name in found else value
    return found


def _bearer(value: bytes) -> str:
    scheme, _, text = value.partition(b" ")
    if len(value) > LONGEST_CREDENTIAL or scheme.lower() != b"bearer" or not value.isascii():
        raise UnknownKeyError("Authorization must be Bearer and a key, as in Authorization: Bearer sbk_…")
    return text.strip().decode("ascii")


def _cookie(header: bytes | None) -> str | None:
    for part in (header or b"").split(b";"):
        name, _, value = part.strip().partition(b"=")
        if name == COOKIE.encode() and 0 < len(value) <= LONGEST_CREDENTIAL:
            return value.decode("latin-1")
    return None


def _is_own_page(scope: Scope, headers: dict[bytes, Any]) -> bool:
    """Whether a request with a cookie comes from the broker's own pages.

    Browsers say so themselves (Sec-Fetch-Site). One that does not must name an Origin that is this host for whatever
    changes something or opens a WebSocket; what merely reads is kept from strangers by SameSite=Strict and by the lack
    of CORS headers.
    """
    said = headers.get(b"sec-fetch-site")
    if said is not None:
        return said in (b"same-origin", b"none")
    origin = headers.get(b"origin")
    if origin is not None:
        return bool(headers.get(b"host")) and urlsplit(origin).netloc == headers[b"host"]
    return scope["type"] == "http" and scope["method"] in _SAFE
