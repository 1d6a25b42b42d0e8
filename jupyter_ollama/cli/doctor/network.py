"""Checks of the port, of the server that answers there, and of proxies."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

from jupyter_ollama_client.client import Client
from jupyter_ollama_client.errors import OllamaClientError

from ..command import CommandError
from ..connection import connect
from .finding import Finding, error, note, ok

SCHEMES = {"http": 80, "https": 443}
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
ADDRESS = "OLLAMA_HOST holds the address of a server, or the one to listen at"
PATIENCE = 5.0
"""Seconds until a connection or an answer counts as missing."""


def findings() -> Iterator[Finding]:
    """Yield the findings about the network of this host."""
    try:
        with closing(connect()) as client:
            yield port(client)
    except CommandError as fault:
        yield error("Port", str(fault), ADDRESS)
    yield proxies()


def port(client: Client) -> Finding:
    """Find out whether a server answers at OLLAMA_HOST, and which program it is."""
    address = urlsplit(client.url)
    host, number = address.hostname or "", address.port or SCHEMES[address.scheme]
    where = f"{host}:{number}"
    try:
        with socket.create_connection((host, number), PATIENCE):
            pass
    except OSError as fault:
        if isinstance(fault, ConnectionRefusedError):
            return ok("Port", f"{where} is free for `jupyter ollama serve`")
        return error("Port", f"{where} cannot be reached: {fault}", ADDRESS)
    if program := ollama_of(client):
        return ok("Port", f"{program} answers at {where}")
    advice = f"Choose another port: OLLAMA_HOST={host}:{number + 1}"
    return error("Port", f"{where} is taken by another program than Ollama", advice)


def ollama_of(client: Client) -> str:
    """Return which Ollama server answers a client, "" for another program."""
    try:
        version = client.version(PATIENCE)
    except OllamaClientError:
        return ""
    try:
        client.call("GET", "/health", timeout=PATIENCE)
    except OllamaClientError:
        return f"Ollama {version}"
    return f"jupyter_ollama (API version {version})"


def proxies() -> Finding:
    """Report proxies, and requests to this host that would go to one."""
    names = [name for name in PROXIES if os.environ.get(name) or os.environ.get(name.lower())]
    if not names:
        return ok("Proxy", "none is set")
    text = f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} set"
    if all(proxy_bypass(host) for host in ("localhost", "127.0.0.1")):
        return ok("Proxy", f"{text}; not used for this host")
    return note(
        "Proxy",
        f"{text}; other clients may send requests for this host to the proxy",
        "export NO_PROXY=localhost,127.0.0.1",
    )
