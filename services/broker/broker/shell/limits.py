"""The shell's limits: what one connection may cost, and how many there may be."""

from collections import Counter
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

__all__ = [
    "DRAIN_BYTES",
    "LINGER_SECONDS",
    "MAX_HEADERS",
    "MAX_HEAD_BYTES",
    "MAX_PIPELINED",
    "MAX_TARGET_BYTES",
    "Doors",
    "Networks",
    "address_key",
    "parse_networks",
]

MAX_TARGET_BYTES: Final = 8 * 1024
"""Path and query of a request; the usual figure of other servers."""
MAX_HEADERS: Final = 100
MAX_HEAD_BYTES: Final = 32 * 1024
"""Target and headers together."""
MAX_PIPELINED: Final = 100
"""Requests that may wait behind the one being answered on one connection."""
DRAIN_BYTES: Final = 256 * 1024
"""What is read of a body that was refused; who has more to send is cut off."""
LINGER_SECONDS: Final = 1.0
"""How long a connection that was refused stays readable for its peer: closed at once, the answer could be lost."""

Networks = tuple[IPv4Network | IPv6Network, ...]


def parse_networks(text: str) -> Networks:
    """Addresses and networks, separated by commas. ValueError names the one that is none."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


@dataclass(slots=True)
class Doors:
    """Counts connections, in all and by address, and says when there are too many.

    An IPv6 address counts as its /64, which is what one customer gets. Trusted proxies, and the proxy's own socket,
    speak for many and count only in all; they leave a fifth of all places to others, so that whatever comes through
    them the nodes still get in.
    """

    most: int
    most_each: int
    trusted: Networks = ()
    total: int = 0
    _proxied: int = 0
    _by_address: Counter[str] = field(default_factory=Counter)

    def enter(self, address: str | None) -> str | None:
        """Let a connection in; None when there are too many. Give what was returned to `leave`."""
        if self.total >= self.most:
            return None
        key = "" if address is None or self.is_trusted(address) else address_key(address)
        if not key:
            if self._proxied >= max(1, self.most * 4 // 5):
                return None
            self._proxied += 1
        else:
            if self._by_address[key] >= self.most_each:
                return None
            self._by_address[key] += 1
        self.total += 1
        return key

    def leave(self, key: str) -> None:
        """A connection that was let in is gone."""
        self.total -= 1
        if not key:
            self._proxied -= 1
        else:
            self._by_address[key] -= 1
            if not self._by_address[key]:
                del self._by_address[key]

    def is_trusted(self, address: str) -> bool:
        """Whether this is a proxy whose X-Forwarded-For is believed."""
        return bool(self.trusted) and any(ip_address(address.partition("%")[0]) in network for network in self.trusted)


def address_key(address: str) -> str:
    """What counts as one address: itself, or the /64 of an IPv6 one."""
    if ":" not in address:
        return address
    parsed = ip_address(address.partition("%")[0])
    assert isinstance(parsed, IPv6Address)
    return str(parsed.ipv4_mapped) if parsed.ipv4_mapped else parsed.exploded[:19]
