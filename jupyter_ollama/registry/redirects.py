"""The clients for hosts to which a registry redirects: object stores for downloads and uploads.

A registry may be hostile. Redirects may lead only to public addresses, to the address of the
registry itself if the user named it by address, and to addresses that the settings allow.
"""

from __future__ import annotations

import ipaddress
import ssl
import urllib.request
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import httpx2

from ..errors import OllamaError
from ..web.addresses import is_metadata_name
from ..web.guard import Guard
from .credentials import host_of

_LOCAL = ("localhost", "localhost.localdomain")


class RedirectClients:
    """The clients for hosts other than the registry at ``root``; they keep no connections.

    ``allowed`` are non-public addresses and networks. With ``use_proxies`` the proxies of the
    environment are used, which resolve names themselves.
    """

    def __init__(
        self, root: str, allowed: Iterable[str], tls: ssl.SSLContext, use_proxies: bool
    ) -> None:
        self._registry = host_of(root)
        self._guard = Guard([*allowed, *_own_addresses(httpx2.URL(root).host)])
        self._use_proxies = use_proxies
        self._settings: dict[str, Any] = {
            "verify": tls,
            "trust_env": False,
            # Two hosts may share an address: a connection for one must not serve the other.
            "limits": httpx2.Limits(max_connections=None, max_keepalive_connections=0),
        }
        self._clients: dict[str, httpx2.AsyncClient] = {}

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], **settings: Any
    ) -> httpx2.Response:
        """Send a request and return the answer before its body is read.

        ``settings`` are those of httpx2's ``build_request``. Raises OllamaError(500) for a
        forbidden address, httpx2.TransportError for a failed connection.
        """
        target = httpx2.URL(url)
        if proxy := self._proxy(target):
            self._check_name(target.host)
            client = self._client(proxy)
            request = client.build_request(method, target, headers=headers, **settings)
            return await client.send(request, stream=True)
        port = {"http": 80, "https": 443}[target.scheme] if target.port is None else target.port
        host = target.raw_host.decode("ascii")
        try:
            address = await self._guard.resolve(host, port)
        except OllamaError as error:
            if error.status == 403:
                raise self._refusal(host) from None
            raise httpx2.ConnectError(error.message) from None
        client = self._client("")
        request = client.build_request(
            method,
            target.copy_with(host=address),
            headers={**headers, "Host": target.netloc.decode("ascii")},
            extensions={"sni_hostname": host},
            **settings,
        )
        return await client.send(request, stream=True)

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.aclose()

    def _client(self, proxy: str) -> httpx2.AsyncClient:
        if proxy not in self._clients:
            self._clients[proxy] = httpx2.AsyncClient(proxy=proxy or None, **self._settings)
        return self._clients[proxy]

    def _proxy(self, target: httpx2.URL) -> str:
        """Return the URL of the environment's proxy for an address, or ""."""
        proxies = urllib.request.getproxies() if self._use_proxies else {}
        proxy = proxies.get(target.scheme) or proxies.get("all") or ""
        if not proxy or urllib.request.proxy_bypass(target.netloc.decode("ascii")):
            return ""
        return proxy if "://" in proxy else f"http://{proxy}"

    def _check_name(self, host: str) -> None:
        """Refuse names that a proxy must not resolve; it alone knows their addresses."""
        name = host.rstrip(".").lower()
        with suppress(ValueError):
            ipaddress.ip_address(name)
            if self._guard.allows(name):
                return
        is_name = any(letter.isalpha() for letter in name) and ":" not in name
        if not is_name or is_metadata_name(name) or name in _LOCAL or name.endswith(".localhost"):
            raise self._refusal(host)

    def _refusal(self, host: str) -> OllamaError:
        return OllamaError(
            500,
            f"{self._registry} redirects to {host}, whose address is not public: "
            "OllamaServer.registry_allowed_addresses can allow it",
        )


def _own_addresses(host: str) -> list[str]:
    """Return the addresses of a registry that was named by address.

    Addresses of a name are excluded: its owner may change them at any moment.
    """
    if host in _LOCAL:
        return ["127.0.0.1", "::1"]
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        return []
