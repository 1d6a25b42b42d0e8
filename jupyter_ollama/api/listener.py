"""The stand-alone server at OLLAMA_HOST, without a login."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.log import access_log
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from .connections import BoundedServer, describe
from .endpoint import Route
from .origins import Hosts, Origins, split_host
from .routes import ROUTES
from .standalone import StandaloneExchange

if TYPE_CHECKING:
    from ..config import OllamaServer

log = logging.getLogger(__name__)

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 11434

LEAST_BACKLOG = 128
"""Connections that the system keeps until they are accepted, however few are served at once."""


Handlers = Sequence[tuple[str, type[RequestHandler], dict[str, Any]]]


def make_application(
    server: OllamaServer, beyond_loopback: bool = False, handlers: Handlers = ()
) -> Application:
    """Build the Tornado application, for a server that other machines reach or for one of loopback.

    Host headers of foreign domains are refused, unless a token keeps their pages out. ``handlers``
    are additional routes.
    """
    allowed = server.allowed_hosts
    return Application(
        [
            *handlers,
            *(
                (route.path + "/?", StandaloneExchange, {"server": server, "route": route})
                for route in ROUTES
            ),
        ],
        default_handler_class=StandaloneExchange,
        default_handler_args={"server": server, "route": Route("/.*", {})},
        log_function=_log_request,
        origins=Origins(server.origins),
        hosts=Hosts(allowed, beyond_loopback),
        check_host="*" not in allowed and not (beyond_loopback and server.access_token),
        names_the_setting=beyond_loopback,
        token=server.access_token,
    )


def _log_request(handler: RequestHandler) -> None:
    """Log an answer as Tornado does, without the query, which may hold a token."""
    status = handler.get_status()
    level = logging.INFO if status < 400 else logging.WARNING if status < 500 else logging.ERROR
    milliseconds = 1000 * handler.request.request_time()
    access_log.log(level, "%d %s %.2fms", status, describe(handler.request), milliseconds)


def parse_host(text: str) -> tuple[str, int]:
    """Return (address, port) for the forms of OLLAMA_HOST; omitted parts have defaults.

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
    log.warning("Port %r of OLLAMA_HOST is invalid, %d is used", port, default_port)
    return host or DEFAULT_HOST, default_port


def listen(server: OllamaServer, host: str = "", handlers: Handlers = ()) -> HTTPServer:
    """Bind and serve on the running event loop. Raises OSError if the address is taken.

    ``host`` is in a form of OLLAMA_HOST. Close the returned server with ``stop()``.
    """
    address, port = parse_host(host)
    # A class that starts at once must not be reset because a shorter queue of the system is full.
    backlog = max(server.max_connections, LEAST_BACKLOG)
    sockets = bind_sockets(port, address, backlog=backlog)
    loopback = all(ipaddress.ip_address(socket.getsockname()[0]).is_loopback for socket in sockets)
    if not loopback:
        _warn(server, address)
    http_server = BoundedServer(make_application(server, not loopback, handlers), bounds=server)
    http_server.add_sockets(sockets)
    return http_server


def _warn(server: OllamaServer, address: str) -> None:
    """Log which clients may use a server beyond loopback, and the restrictions."""
    if server.access_token:
        log.info("Listening on %s, for clients that send the access token", address)
        return
    log.warning(
        "Listening on %s without a token: every machine that reaches it may use the models", address
    )
    if "*" in server.allowed_hosts:
        log.warning("Every Host header is accepted, so pages of the web may reach it as well")
        return
    names = ", ".join(server.allowed_hosts) or "none"
    log.warning(
        "Requests are answered that name an IP address or a host of this network. Other host "
        "names get 403 (allowed: %s), or pages of the web could use the models by DNS rebinding. "
        "Add one of these to the environment:\n"
        "    OLLAMA_ALLOWED_HOSTS=gpu.example.org   to be reached by this name, too\n"
        "    OLLAMA_ACCESS_TOKEN=...                to ask for a token (clients: OLLAMA_API_KEY)\n"
        "    OLLAMA_ALLOWED_HOSTS=*                 to answer any request, as Ollama does (--open)",
        names,
    )
