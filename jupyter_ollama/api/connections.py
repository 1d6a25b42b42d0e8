"""The HTTP server of the stand-alone endpoint: idle connections never keep others out."""

from __future__ import annotations

import errno
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream

if TYPE_CHECKING:
    from ..bounds import Bounds

log = logging.getLogger(__name__)

_AT_ONCE = 128
"""Connections that are accepted before other work has its turn."""
_PAUSE = 0.5
"""Seconds for which nothing is accepted where there are no descriptors."""
_SILENCE = 60.0
"""Seconds between two messages of the log about connections that were refused."""
_MOST_DESCRIPTORS = 65_536


def raise_descriptor_limit() -> None:
    """Let this process open as many files and connections as the system allows it."""
    try:
        import resource
    except ImportError:
        return  # Windows has no such limit.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_connections(bounds: Bounds) -> int:
    """Return how many connections to keep: as set, no more than descriptors allow."""
    try:
        import resource
    except ImportError:
        return bounds.max_connections
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return bounds.max_connections
    free = soft - min(bounds.reserved_descriptors, soft // 2)
    return max(1, min(bounds.max_connections, free))


class BoundedServer(HTTPServer):
    """A server with a bounded number of connections; new ones replace idle ones.

    A connection is idle if it has sent no request, or no complete head of one. New connections are
    closed where none is idle, or where too many come from their address.
    """

    def initialize(self, request_callback: Any, bounds: Bounds, **options: Any) -> None:  # type: ignore[override]
        """Take the arguments of Tornado's server, and the settings."""
        super().initialize(
            request_callback,
            idle_connection_timeout=bounds.idle_timeout,
            max_header_size=bounds.max_header_bytes,
            **options,
        )
        self._most = most_connections(bounds)
        self._most_of_address = bounds.max_connections_of_address
        self._open: dict[IOStream, str] = {}
        self._idle: dict[IOStream, None] = {}
        """The connections without a request, the longest idle first."""
        self._of_address: Counter[str] = Counter()
        self._refused = 0
        self._silent_until = 0.0

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Begin to accept connections from listening sockets."""
        for listening in sockets:
            self._sockets[listening.fileno()] = listening
            self._handlers[listening.fileno()] = self._accept_from(listening)

    def _accept_from(self, listening: socket.socket) -> Callable[[], None]:
        """Accept connections until the function that is returned is called."""
        loop = IOLoop.current()
        pause: list[object] = []

        def resume() -> None:
            pause.clear()
            loop.add_handler(listening, accept, IOLoop.READ)

        def accept(_: Any, events: int) -> None:
            for _ in range(_AT_ONCE):
                if listening.fileno() < 0:
                    return
                try:
                    connection, address = listening.accept()
                except BlockingIOError:
                    return
                except ConnectionAbortedError:
                    continue
                except OSError as error:
                    self._complain(f"no connection can be accepted: {error.strerror}")
                    if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._make_way():
                        # The socket stays readable: trying at once would take all of a core.
                        loop.remove_handler(listening)
                        pause.append(loop.call_later(_PAUSE, resume))
                        return
                else:
                    self._handle_connection(connection, address)

        def stop() -> None:
            if pause:
                loop.remove_timeout(pause.pop())
            else:
                loop.remove_handler(listening)

        loop.add_handler(listening, accept, IOLoop.READ)
        return stop

    def _handle_connection(self, connection: socket.socket, address: Any) -> None:
        name = _name(address)
        if self._is_full(name) and not self._make_way(name):
            self._complain(f"too many connections from {name}")
            connection.close()
        elif len(self._open) >= self._most and not self._make_way():
            self._complain(f"all of {self._most} connections are busy")
            connection.close()
        else:
            super()._handle_connection(connection, address)

    def _is_full(self, name: str) -> bool:
        return bool(name) and self._of_address[name] >= self._most_of_address

    def _make_way(self, name: str | None = None) -> bool:
        """Close the connection that is idle for longest, of an address if it is given."""
        for stream in self._idle:
            if name is None or self._open[stream] == name:
                stream.close()
                self._forget(stream)
                return True
        return False

    def _complain(self, message: str) -> None:
        """Log that a connection was refused, unless that was logged a short while ago."""
        self._refused += 1
        now = time.monotonic()
        if now >= self._silent_until:
            log.warning("%s (refused so far: %d)", message, self._refused)
            self._silent_until = now + _SILENCE

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Serve a connection."""
        name = _name(address)
        self._open[stream] = name
        self._of_address[name] += 1
        self._idle[stream] = None
        super().handle_stream(stream, address)

    def start_request(self, server_conn: Any, request_conn: Any) -> HTTPMessageDelegate:
        """Count a connection as idle until the head of its next request is complete."""
        stream = server_conn.stream
        if stream in self._open:
            self._idle[stream] = None
        delegate = super().start_request(server_conn, request_conn)
        return _Noting(delegate, lambda: self._idle.pop(stream, None))

    def on_close(self, server_conn: Any) -> None:
        """Forget a connection."""
        super().on_close(server_conn)
        self._forget(server_conn.stream)

    def _forget(self, stream: IOStream) -> None:
        self._idle.pop(stream, None)
        name = self._open.pop(stream, None)
        if name is not None:
            self._of_address[name] -= 1
            if not self._of_address[name]:
                del self._of_address[name]


class _Noting(HTTPMessageDelegate):
    """Passes on a request, and calls ``begun`` when its head is complete."""

    def __init__(self, delegate: HTTPMessageDelegate, begun: Callable[[], object]) -> None:
        self._delegate = delegate
        self._begun = begun

    def headers_received(self, start_line: Any, headers: Any) -> Any:
        self._begun()
        return self._delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Any:
        return self._delegate.data_received(chunk)

    def finish(self) -> None:
        self._delegate.finish()

    def on_connection_close(self) -> None:
        self._delegate.on_connection_close()


def _name(address: Any) -> str:
    """Return the key of an address, "" for this host's own: proxies connect from there."""
    try:
        host = address[0]
        return "" if ip_address(host).is_loopback else str(host)
    except (IndexError, TypeError, ValueError):
        return ""


def describe(request: HTTPServerRequest) -> str:
    """Return a request for the log, without its query, which may hold secrets."""
    path, mark, _ = (request.uri or "").partition("?")
    return f"{request.method} {path}{mark and '?…'} ({request.remote_ip})"
