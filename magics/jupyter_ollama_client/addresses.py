"""Addresses of servers: those that Ollama's clients accept, and loopback ones."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit, urlunsplit

DEFAULT_PORT = 11434
WILDCARDS = {"", "*", "0.0.0.0", "::"}
"""Hosts that stand for all interfaces."""


def parse_host(text: str) -> str:
    """Return the URL of an address as OLLAMA_HOST may hold it.

    As in Ollama's clients, the port is 11434 unless a scheme is given, and the address of all
    interfaces stands for this host.

    Parameters
    ----------
    text : str
        ``host``, ``host:port``, ``:port`` or ``http://user:password@host/path``.

    Raises
    ------
    ValueError
        If the text is not an address.

    Examples
    --------
    >>> parse_host(":8080"), parse_host("https://gpu/ollama/")
    ('http://127.0.0.1:8080', 'https://gpu/ollama')
    """
    text = text.strip().strip("\"'")
    has_scheme = "://" in text
    parts = urlsplit(text if has_scheme else f"http://{text}")
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{text} is not an address of an Ollama server: it must begin with http")
    host = parts.hostname or ""
    if host in WILDCARDS:
        host = "::1" if host == "::" else "127.0.0.1"
    port = parts.port or (None if has_scheme else DEFAULT_PORT)
    credentials, at, _ = parts.netloc.rpartition("@")
    netloc = (
        credentials + at + (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    )
    return urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))


def is_loopback(url: str) -> bool:
    """Return whether ``url`` names this host by a loopback address or name."""
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
        if host == "localhost" or host.endswith(".localhost"):
            return True
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
