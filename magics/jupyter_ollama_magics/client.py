"""A small synchronous client of the Ollama API.

It works against Ollama, against jupyter_ollama inside a Jupyter server (over TCP or a Unix socket)
and against one behind a JupyterHub. Streams are iterators of dicts; closing one closes its
connection, which is how a server learns that nobody waits for the answer any more.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ._version import __version__
from .errors import OllamaConnectionError, OllamaResponseError

if TYPE_CHECKING:
    import httpx2

Objects = list[dict[str, Any]]
"""JSON objects. (Inside the class below, ``list`` is a method.)"""

CONNECT_TIMEOUT = 10.0
"""Seconds to wait for a connection. There is no limit on an answer: a model may take long."""


class Client:
    """Talk to the Ollama server at ``url``, the address that has ``/api/version`` below it.

    ``token`` goes out as a Bearer token. ``socket`` is the path of a Unix socket to connect to in
    place of the host of ``url``. Nothing is imported or opened before the first call. Proxies of
    the environment are used, but never for this host.

    Every call raises OllamaResponseError when the server refuses and OllamaConnectionError when
    it cannot be reached or goes away.
    """

    def __init__(self, url: str, token: str | None = None, *, socket: str | None = None) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self.socket = socket
        self._http: httpx2.Client | None = None

    def close(self) -> None:
        """Close every connection. The client can still be used: it connects anew."""
        http, self._http = self._http, None
        if http is not None:
            http.close()

    # -- generation: streams of dicts, the last of them with "done": true

    def chat(self, model: str, messages: Objects, **fields: Any) -> Generator[dict[str, Any]]:
        """Stream the answer to a conversation. ``fields`` are further fields of ``/api/chat``."""
        return self.stream("/api/chat", {"model": model, "messages": messages, **fields})

    def generate(self, model: str, prompt: str, **fields: Any) -> Generator[dict[str, Any]]:
        """Stream a completion. ``fields`` are further fields of ``/api/generate``."""
        return self.stream("/api/generate", {"model": model, "prompt": prompt, **fields})

    def embed(self, model: str, input: str | Sequence[str], **fields: Any) -> dict[str, Any]:
        """Embed a text or several.

        ``["embeddings"]`` of the answer is a float32 array (texts, dimensions), perhaps read-only.
        """
        from . import vectors

        body = {"model": model, "input": input, "encoding_format": "base64", **fields}
        request = {"json": without_none(body), "headers": {"Accept": vectors.accepted()}}
        with self._response("POST", "/api/embed", **request) as response:
            response.read()
        return self.read_embeddings(response)

    # -- models

    def list(self) -> Objects:
        """Return the models on the server, newest first."""
        return self.call("GET", "/api/tags").get("models") or []

    def ps(self) -> Objects:
        """Return the models in memory."""
        return self.call("GET", "/api/ps").get("models") or []

    def show(self, model: str, **fields: Any) -> dict[str, Any]:
        """Return all that the server tells about a model."""
        return self.call("POST", "/api/show", {"model": model, **fields})

    def create(self, model: str, **fields: Any) -> Generator[dict[str, Any]]:
        """Create a model, yielding its progress. ``fields`` are those of ``/api/create``."""
        return self.stream("/api/create", {"model": model, **fields})

    def pull(self, model: str, **fields: Any) -> Generator[dict[str, Any]]:
        """Have the server get a model, yielding its progress. ``fields``: ``/api/pull``."""
        return self.stream("/api/pull", {"model": model, **fields})

    def copy(self, source: str, destination: str) -> None:
        """Give a model a second name."""
        self.call("POST", "/api/copy", {"source": source, "destination": destination})

    def delete(self, model: str) -> None:
        """Remove a model from the server's disk."""
        self.call("DELETE", "/api/delete", {"model": model})

    def version(self, timeout: float = CONNECT_TIMEOUT) -> str:
        """Return the version of the API. ``timeout`` is in seconds."""
        answer = self.call("GET", "/api/version", timeout=timeout)
        return str(answer.get("version", "unknown"))

    def has_blob(self, digest: str) -> bool:
        """Tell whether the server has the blob ``sha256:…``."""
        try:
            self.call("HEAD", f"/api/blobs/{digest}")
        except OllamaResponseError as error:
            if error.status == 404:
                return False
            raise
        return True

    def send_blob(self, path: Path) -> str:
        """Upload a file unless the server has it, and return its digest. Memory use is constant."""
        from .upload import Uploader

        return Uploader(self, lambda step: None).upload(path)

    # -- what all of them are made of

    def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Send one request and return the JSON object it answers with, {} for an empty body."""
        if body is not None:
            kwargs["json"] = without_none(body)
        with self._response(method, path, **kwargs) as response:
            content = response.read()
            return self._decode(content, response) if content.strip() else {}

    def stream(self, path: str, body: dict[str, Any]) -> Generator[dict[str, Any]]:
        """Post a request and yield the objects of its NDJSON answer as they arrive.

        Nothing is sent before the first item is asked for.
        """
        with self._response("POST", path, json=without_none(body)) as response:
            for line in _lines(response.iter_bytes()):
                yield self.read_item(line, response)

    def read_item(self, line: bytes, response: httpx2.Response) -> dict[str, Any]:
        """Return the object of a line of a stream; a line may be an error, too."""
        item = self._decode(line, response)
        if "error" in item:
            raise OllamaResponseError(response.status_code, _error_field(item))
        return item

    def read_object(self, response: httpx2.Response) -> dict[str, Any]:
        """Return the JSON object of a whole answer."""
        if not response.is_success:
            raise OllamaResponseError(response.status_code, self._refusal(response))
        return self._decode(response.content, response)

    def read_embeddings(self, response: httpx2.Response) -> dict[str, Any]:
        """Return a whole answer of ``/api/embed``, its embeddings as an array."""
        from . import vectors

        if response.is_success and response.headers.get("content-type") == vectors.ARROW:
            return vectors.from_arrow(response.content)
        answer = self.read_object(response)
        try:
            return vectors.from_json(answer)
        except (ValueError, TypeError):
            message = f"{self.url} answered with embeddings that are not rows of numbers."
            raise OllamaResponseError(response.status_code, message) from None

    def session_settings(self) -> dict[str, Any]:
        """Return what an HTTP client needs to talk to this server, but for its transport."""
        import httpx2

        headers = {"User-Agent": f"jupyter-ollama-magics/{__version__}"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        return {
            "headers": headers,
            "trust_env": not is_loopback(self.url),
            # Loading the certificates takes long and plain HTTP has no use for them.
            "verify": self.url.startswith("https:"),
            "timeout": httpx2.Timeout(None, connect=CONNECT_TIMEOUT),
        }

    @contextmanager
    def _response(self, method: str, path: str, **kwargs: Any) -> Iterator[httpx2.Response]:
        import httpx2

        connected = False
        try:
            with self._session().stream(method, self.url + path, **kwargs) as response:
                connected = True
                if not response.is_success:
                    response.read()
                    raise OllamaResponseError(response.status_code, self._refusal(response))
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

    def _decode(self, content: bytes, response: httpx2.Response) -> dict[str, Any]:
        try:
            item = json.loads(content)
        except ValueError:
            item = None
        if isinstance(item, dict):
            return item
        kind = response.headers.get("content-type", "no content type").partition(";")[0]
        raise OllamaResponseError(
            response.status_code,
            f"{self.url} answered with {kind} instead of JSON, so it is not an Ollama server.",
        )

    def _refusal(self, response: httpx2.Response) -> str:
        """Return the server's error text, or describe an answer that has none."""
        try:
            body = response.json()
        except ValueError:
            body = None
        if isinstance(body, dict) and (text := _error_field(body)):
            message = text
        else:
            message = f"{self.url} answered {response.status_code} {response.reason_phrase}"
            title = re.search(r"<title[^>]*>\s*(.*?)\s*</title>", response.text, re.I | re.S)
            if response.is_redirect:
                message += f" to {response.headers.get('location', 'another address')}"
            elif "html" in response.headers.get("content-type", ""):
                page = f'the HTML page "{title[1]}"' if title else "an HTML page"
                message += f" with {page}; that is a proxy or web server, not Ollama"
            elif response.text.strip() and len(response.text) < 300:
                message += f": {response.text.strip()}"
        if response.status_code in (401, 403) or response.is_redirect:
            message += " (the token is missing or not accepted)"
        return message


def is_loopback(url: str) -> bool:
    """Tell whether ``url`` names this host by a loopback address or name."""
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
        if host == "localhost" or host.endswith(".localhost"):
            return True
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def without_none(body: dict[str, Any]) -> dict[str, Any]:
    """Return a body without the fields that were not given."""
    return {name: value for name, value in body.items() if value is not None}


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Split at newline bytes only: U+2028 and its like may stand unescaped inside JSON texts."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line for line in lines if line.strip())
    if rest.strip():
        yield rest


def _error_field(body: dict[str, Any]) -> str:
    error = body.get("error") or body.get("message") or ""
    return str(error.get("message", error)) if isinstance(error, dict) else str(error)


def reason(error: Exception) -> str:
    """Return the system's word for a failed connection."""
    return re.sub(r"^\[Errno -?\d+\] ", "", str(error)).rstrip(".") or type(error).__name__
