"""Which addresses pages may be fetched from: public ones, and those that an admin allows."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable

from ..errors import OllamaError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_UNICAST = ipaddress.IPv6Network("2000::/3")


class Guard:
    """Turns names of hosts into addresses that may be asked.

    The caller has to connect to the address it got: a name can mean another one the next moment.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        """``allowed`` are addresses or networks beside the public ones. Raises ValueError."""
        self._allowed = [ipaddress.ip_network(text, strict=False) for text in allowed]

    async def resolve(self, host: str, port: int) -> str:
        """Return an address of a host. Raises OllamaError: 403 if one may not be asked, or 502."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise OllamaError(502, f"cannot find the address of {host}") from None
        addresses = [str(info[4][0]) for info in found]
        if not all(map(self.allows, addresses)):
            raise OllamaError(403, f"{host} has an address that is not public")
        return addresses[0]

    def allows(self, text: str) -> bool:
        """Tell whether an address may be asked."""
        address = _real(ipaddress.ip_address(text.partition("%")[0]))
        return _is_public(address) or any(address in network for network in self._allowed)


def _real(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address not in _UNICAST:
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)
