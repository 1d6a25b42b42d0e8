"""Which hosts may be requested: those with public addresses, and those that an admin allows."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from ..errors import OllamaError
from .addresses import METADATA, Address, embedded, is_metadata_name, is_public

_LOOKUPS = 16
"""Names looked up at once. Their threads are not those that serve other requests: a name server
that does not answer holds a thread for as long as the system's resolver waits."""


class Guard:
    """Resolves names of hosts to allowed addresses.

    The caller must connect to the returned address, since the name may resolve to another later.
    """

    def __init__(self, allowed: Iterable[str], ports: Iterable[int] = ()) -> None:
        """``allowed`` are addresses or networks besides the public ones. Raises ValueError.

        Public addresses are allowed at ``ports`` only, or at any port without ``ports``. A network
        does not include the metadata services of clouds, which require their own entries.
        """
        self._allowed = [ipaddress.ip_network(text, strict=False) for text in allowed]
        self._ports = frozenset(ports)

    async def resolve(self, host: str, port: int) -> str:
        """Return an address of a host. Raises OllamaError: 403 if one may not be asked, or 502."""
        if is_metadata_name(host):
            raise OllamaError(403, f"{host} has an address that is not public")
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(_resolvers(), _look_up, host, port)
        except (OSError, UnicodeError):
            raise OllamaError(502, f"cannot find the address of {host}") from None
        if not found or not all(map(self.allows, found)):
            raise OllamaError(403, f"{host} has an address that is not public")
        if self._ports and port not in self._ports and not all(map(self._is_allowed, found)):
            known = ", ".join(map(str, sorted(self._ports)))
            raise OllamaError(403, f"port {port} of {host} may not be asked, only {known}")
        return found[0]

    def allows(self, text: str) -> bool:
        """Return whether an address is allowed; one with a zone, as in fe80::1%2, never is."""
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        if getattr(address, "scope_id", None):
            return False
        return is_public(address) or self._is_allowed(text)

    def _is_allowed(self, text: str) -> bool:
        """Return whether the settings name an address that may not be public."""
        address: Address = embedded(ipaddress.ip_address(text))
        networks = (network for network in self._allowed if address in network)
        return any(network.num_addresses == 1 or address not in METADATA for network in networks)


def _look_up(host: str, port: int) -> list[str]:
    # With a dot at the end, resolvers take an address for a name, and do not know "localhost".
    found = socket.getaddrinfo(host.rstrip("."), port, type=socket.SOCK_STREAM)
    return [str(info[4][0]) for info in found]


@cache
def _resolvers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_LOOKUPS, "jupyter-ollama-names")
