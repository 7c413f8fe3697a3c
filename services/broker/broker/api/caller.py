"""Where a request comes from, proxies looked through if they are trusted."""

from ipaddress import ip_address

from starlette.types import Scope

from broker.shell.limits import Networks, address_key

__all__ = ["bucket", "client_address", "is_trusted"]

LONGEST_HEADER = 2048
UNKNOWN = "unknown"


def client_address(scope: Scope, trusted: Networks) -> str:
    """The peer's address. When the peer is the proxy's socket or a trusted proxy, the last address in X-Forwarded-For
    that is none: what stands further left was written by the client itself, who may write anything."""
    peer = scope.get("client")
    address = peer[0] if peer else ""
    if address and not is_trusted(address, trusted):
        return str(address)
    for part in reversed(_forwarded(scope)):
        if not _is_address(part):
            break
        if not is_trusted(part, trusted):
            return part
    return address or UNKNOWN


def bucket(scope: Scope, trusted: Networks) -> str:
    """What counts as one address where calls are counted: an IPv6 customer has a whole /64."""
    return address_key(client_address(scope, trusted))


def _forwarded(scope: Scope) -> list[str]:
    values = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    text = b",".join(values)[-LONGEST_HEADER:].decode("latin-1")
    return [part.strip() for part in text.split(",") if part.strip()]


def is_trusted(address: str, trusted: Networks) -> bool:
    """Whether it is a proxy's, whose word counts."""
    return bool(trusted) and _is_address(address) and any(ip_address(address) in network for network in trusted)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
