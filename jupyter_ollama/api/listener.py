"""The stand-alone server: where OLLAMA_HOST says, reachable without a login."""

from __future__ import annotations

import ipaddress
import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from .endpoint import Route
from .origins import Origins, split_host
from .routes import ROUTES
from .standalone import StandaloneExchange

if TYPE_CHECKING:
    from ..config import OllamaServer

log = logging.getLogger(__name__)

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 11434


def make_application(server: OllamaServer, check_host: bool = True) -> Application:
    """Build the Tornado application. ``check_host`` refuses Host headers of foreign domains."""
    return Application(
        [
            (route.path + "/?", StandaloneExchange, {"server": server, "route": route})
            for route in ROUTES
        ],
        default_handler_class=StandaloneExchange,
        default_handler_args={"server": server, "route": Route("/.*", {})},
        origins=Origins(server.origins),
        check_host=check_host,
    )


def parse_host(text: str) -> tuple[str, int]:
    """Return (address, port) for the forms of OLLAMA_HOST. What is left out is the default.

    Unlike Ollama, ":port" alone does not open the server to other machines; "0.0.0.0:port" does.
    """
    text = text.strip(" \t\"'")
    default_port = DEFAULT_PORT
    if "://" in text:
        parts = urlsplit(text)
        default_port = {"http": 80, "https": 443}.get(parts.scheme, DEFAULT_PORT)
        text = parts.netloc
    host, port = split_host(text.partition("/")[0])
    if not port:
        return host or DEFAULT_HOST, default_port
    if port.isascii() and port.isdigit() and int(port) < 65536:
        return host or DEFAULT_HOST, int(port)
    log.warning("Port %r of OLLAMA_HOST is no port, %d is used", port, default_port)
    return host or DEFAULT_HOST, default_port


def listen(server: OllamaServer, host: str = "") -> HTTPServer:
    """Bind and serve on the running event loop. Raises OSError if the address is taken.

    ``host`` is in a form of OLLAMA_HOST. Close with ``stop()`` on what is returned.
    """
    address, port = parse_host(host)
    sockets = bind_sockets(port, address)
    loopback = all(ipaddress.ip_address(socket.getsockname()[0]).is_loopback for socket in sockets)
    if not loopback:
        log.warning("Listening on %s: every machine that reaches it may use the models", address)
    http_server = HTTPServer(make_application(server, check_host=loopback))
    http_server.add_sockets(sockets)
    return http_server
