"""Who may call the stand-alone server from a browser: Ollama's Origin and Host rules."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "0.0.0.0")
_APP_ORIGINS = ("app://*", "file://*", "tauri://*", "vscode-webview://*", "vscode-file://*")
_LOCAL_DOMAINS = (".localhost", ".local", ".internal")


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
        """Tell whether pages of this origin may call."""
        return self.all or any(pattern.fullmatch(origin.lower()) for pattern in self._patterns)


def is_local_host(header: str) -> bool:
    """Tell whether a Host header names this machine or its network, and no domain from outside.

    A page whose domain was pointed at this machine (DNS rebinding) sends its own domain here.
    """
    host = split_host(header)[0].lower().rstrip(".")
    if host in ("", "localhost", socket.gethostname().lower()) or host.endswith(_LOCAL_DOMAINS):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_private or address.is_unspecified


def split_host(text: str) -> tuple[str, str]:
    """Split "host", "host:port", "[::1]:port", "::1" or ":port" into host and port texts."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":")
    if text.count(":") > 1:
        return text, ""
    host, _, port = text.partition(":")
    return host, port
