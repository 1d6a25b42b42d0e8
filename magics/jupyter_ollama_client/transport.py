"""HTTP requests to a server, over TCP or a Unix socket."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .addresses import is_loopback
from .credentials import authorization, hidden, split_credentials
from .errors import OllamaConnectionError
from .responses import ResponseReader, reason, split_lines, without_none

if TYPE_CHECKING:
    import httpx2

CONNECT_TIMEOUT = 10.0
"""Seconds to wait for a connection. An answer has no limit: a model may take long."""


class Transport:
    """Sends requests to the server at ``url``; see `Client` for the parameters."""

    def __init__(self, url: str, token: str | None = None, *, socket: str | None = None) -> None:
        address, self._credentials = split_credentials(url)
        self.url = address.rstrip("/")
        self.token = hidden(token)
        self.socket = socket
        self.responses = ResponseReader(self.url, self._credentials is not None)
        self._http: httpx2.Client | None = None

    def close(self) -> None:
        """Close every connection. The next request opens a new one."""
        http, self._http = self._http, None
        if http is not None:
            http.close()

    def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Send one request and return the JSON object of its response, {} for an empty body."""
        if body is not None:
            kwargs["json"] = without_none(body)
        with self.reading(method, path, **kwargs) as response:
            content = response.read()
            return self.responses.decode(content, response) if content.strip() else {}

    def stream(self, path: str, body: dict[str, Any]) -> Generator[dict[str, Any]]:
        """Post a request and yield the objects of its NDJSON response as they arrive.

        The request is sent when the first object is requested.
        """
        with self.reading("POST", path, json=without_none(body)) as response:
            for line in split_lines(response.iter_bytes()):
                yield self.responses.item(line, response)

    def read_object(self, response: httpx2.Response) -> dict[str, Any]:
        """Return the JSON object of a response that another HTTP client has read."""
        return self.responses.object(response)

    def session_settings(self) -> dict[str, Any]:
        """Return the settings of an HTTP client for this server, except its transport."""
        import httpx2

        headers = {"User-Agent": f"jupyter-ollama-magics/{__version__}"}
        headers |= authorization(self.token, self._credentials)
        return {
            "headers": headers,
            "trust_env": not is_loopback(self.url),
            # Loading the certificates takes long, and plain HTTP does not use them.
            "verify": self.url.startswith("https:"),
            "timeout": httpx2.Timeout(None, connect=CONNECT_TIMEOUT),
        }

    @contextmanager
    def reading(self, method: str, path: str, **kwargs: Any) -> Iterator[httpx2.Response]:
        """Yield a successful response whose body has not been read."""
        import httpx2

        connected = False
        try:
            with self._session().stream(method, self.url + path, **kwargs) as response:
                connected = True
                if not response.is_success:
                    response.read()
                    self.responses.require_success(response)
                yield response
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            raise OllamaConnectionError(
                self.url, reason(error), connected=connected or isinstance(error, httpx2.ReadError)
            ) from error

    def _session(self) -> httpx2.Client:
        if self._http is None:
            import httpx2

            transport = httpx2.HTTPTransport(uds=self.socket) if self.socket else None
            self._http = httpx2.Client(transport=transport, **self.session_settings())
        return self._http
