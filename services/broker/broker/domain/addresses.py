"""Which addresses a broker may call on behalf of strangers, and which would lead into the operator's network."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

__all__ = ["Allowed", "is_public"]

Address = IPv4Address | IPv6Address
GLOBAL_UNICAST = ip_network("2000::/3")
"""All that IANA has given out for the public internet. Python calls global what nobody routes, such as ::127.0.0.1."""


def is_public(address: Address) -> bool:
    """Whether an address is on the public internet. An IPv6 address that only wraps an IPv4 one is judged as that."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is not None:
            return is_public(inner)
        if address in ip_network("64:ff9b::/96"):  # NAT64, RFC 6052
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        return address in GLOBAL_UNICAST and address.is_global
    return address.is_global and not address.is_multicast


class Allowed:
    """Hosts and networks that may be called although they are not public: `10.0.0.0/8, ci.internal, 127.0.0.1`."""

    def __init__(self, text: str) -> None:
        self._hosts: set[str] = set()
        self._networks: list[IPv4Network | IPv6Network] = []
        for entry in filter(None, (part.strip().lower() for part in text.split(","))):
            try:
                self._networks.append(ip_network(entry, strict=False))
            except ValueError:
                self._hosts.add(entry)

    def choose(self, host: str, addresses: Sequence[str]) -> str | None:
        """The first of a host's addresses that may be called; None when none may."""
        for text in addresses:
            address = ip_address(text.partition("%")[0])
            if is_public(address) or host.lower() in self._hosts or any(address in net for net in self._networks):
                return text
        return None
