"""An internet address or network in the server's binary form of an inet: family (2 or 3), mask bits, 0, length, bytes."""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Literal

__all__ = ["INET_HEADERS", "network_bytes"]

Network = IPv4Address | IPv6Address | IPv4Network | IPv6Network  # an interface is an address
INET_HEADERS: dict[Literal[4, 6], tuple[int, int, int, int]] = {4: (2, 32, 0, 4), 6: (3, 128, 0, 16)}


def network_bytes(value: Network) -> bytes | None:
    """The bytes of one address, interface or network; None for an IPv6 address with a zone, which an inet cannot hold."""
    address = value.network_address if isinstance(value, IPv4Network | IPv6Network) else value
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return None
    family, mask, _, size = INET_HEADERS[address.version]
    if isinstance(value, IPv4Network | IPv6Network):
        mask = value.prefixlen
    elif isinstance(value, IPv4Interface | IPv6Interface):
        mask = value.network.prefixlen
    return bytes((family, mask, 0, size)) + address.packed
