"""Access to the stand-alone server from browsers: Ollama's Origin and Host rules."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable

_STAINLESS = (
    "arch async custom-poll-interval helper-method lang os package-version poll-helper "
    "retry-count runtime runtime-version timeout"
)
ALLOWED_HEADERS = (
    *("Authorization", "Content-Type", "User-Agent", "Accept", "X-Requested-With", "OpenAI-Beta"),
    *("X-Api-Key", "Anthropic-Version", "Anthropic-Beta", "X-Request-Id", "X-Ollama-Priority"),
    "Anthropic-Dangerous-Direct-Browser-Access",
    *(f"X-Stainless-{name.title()}" for name in _STAINLESS.split()),
)
"""The headers that pages may send, in the answers to preflights."""

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "0.0.0.0")
_APP_ORIGINS = ("app://*", "file://*", "tauri://*", "vscode-webview://*", "vscode-file://*")
_LOCAL_DOMAINS = (".localhost", ".local", ".internal")
_NETWORK_DOMAINS = (".lan", ".home.arpa")
"""Domains that cannot be registered; routers give them to the machines of a network."""


class Origins:
    """The origins that may call: Ollama's own and ``extra`` ones, "*" standing for any text."""

    def __init__(self, extra: Iterable[str] = ()) -> None:
        patterns = [*extra, *_APP_ORIGINS]
        for host in _LOCAL_HOSTS:
            for scheme in ("http", "https"):
                patterns += [f"{scheme}://{host}", f"{scheme}://{host}:*"]
        self.all = "*" in patterns
        self._patterns = [
            re.compile(".*".join(map(re.escape, pattern.lower().split("*"))))
            for pattern in patterns
        ]

    def allow(self, origin: str) -> bool:
        """Return whether pages of this origin may call."""
        return self.all or any(pattern.fullmatch(origin.lower()) for pattern in self._patterns)


def is_local_host(header: str) -> bool:
    """Return whether a Host header names this machine or its network, and no foreign domain.

    A page whose domain was pointed at this machine (DNS rebinding) sends its own domain here.
    """
    host = _named(header)
    if host in ("", "localhost", socket.gethostname().lower()) or host.endswith(_LOCAL_DOMAINS):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_private or address.is_unspecified


class Hosts:
    """The Host headers that a server beyond loopback answers besides those of `is_local_host`.

    These are all IP addresses and all names without a dot: a page whose own domain points at this
    server (DNS rebinding) can send neither. ``allowed`` are further
    names, "*" standing for any text.
    """

    def __init__(self, allowed: Iterable[str], beyond_loopback: bool) -> None:
        self._beyond_loopback = beyond_loopback
        self._patterns = [
            re.compile(".*".join(map(re.escape, _named(pattern).split("*")))) for pattern in allowed
        ]

    def allow(self, header: str) -> bool:
        """Return whether requests with this Host header are answered."""
        host = _named(header)
        if is_local_host(header) or any(pattern.fullmatch(host) for pattern in self._patterns):
            return True
        return self._beyond_loopback and (_is_address(host) or _is_name_of_network(host))


def _named(header: str) -> str:
    """Return the host of a Host header in lower case, "." for a header that is malformed."""
    host, port = split_host(header)
    is_whole = header.partition("]")[2] in ("", f":{port}") if header.startswith("[") else True
    is_whole = is_whole and (not port or port.isdecimal())
    return host.lower().rstrip(".") if is_whole else "."


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_name_of_network(host: str) -> bool:
    is_name = re.fullmatch(r"[a-z0-9_-]+", host) is not None
    return is_name or host.endswith(_NETWORK_DOMAINS)


def split_host(text: str) -> tuple[str, str]:
    """Split "host", "host:port", "[::1]:port", "::1" or ":port" into host and port texts."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":")
    if text.count(":") > 1:
        return text, ""
    host, _, port = text.partition(":")
    return host, port
