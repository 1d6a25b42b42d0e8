"""Remote mode: pass calls on to a shared server, and its answers back as they arrive."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from ..errors import OllamaError
from .admin import CSV
from .endpoint import EVENT_STREAM, JSON, NDJSON, TEXT, Body, Call, Endpoint
from .jupyter import JupyterExchange
from .openapi import YAML
from .vectors import ARROW

if TYPE_CHECKING:
    import httpx2

    from ..upstream import Upstream

_IN_MEMORY = 2**20
_CHUNK = 2**18
_CONTENT = ("Accept", "Accept-Encoding", "Content-Type", "Content-Encoding", "User-Agent")
_ANSWER = ("Content-Type", "Cache-Control", "Retry-After", "Allow")
_KINDS = frozenset(
    kind.partition(";")[0] for kind in ("", JSON, NDJSON, EVENT_STREAM, TEXT, CSV, YAML, ARROW)
)
"""Content types of this API. Another one could be a page within Jupyter's origin."""

_OWN = re.compile("X-(Request-Id|Ollama-.*|RateLimit-.*)", re.IGNORECASE)
"""The headers of this API and its clients, passed in both directions."""
_GROUP = re.compile(r"\([^)]*\)")
_ARGUMENT = re.compile(r"[A-Za-z0-9_.:=+@~-]+(/[A-Za-z0-9_.:=+@~-]+)*")
"""The allowed form of a path segment that names a model, a blob, a request or a key."""
_SECRETS = re.compile("(.*token|_xsrf|code|state|api_?key|password)", re.IGNORECASE)
"""Parameters of URLs that hold credentials of this Jupyter server or of its Hub."""
_PASSED_ON = "X-Ollama-Passed-On"
"""Detects an address that leads back here, which would loop."""


class Spool:
    """A request body before it is passed on: in memory, or in a file if it is large."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed after the request
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Keep the next bytes."""
        self._file.write(chunk)
        self.size += len(chunk)

    async def read(self) -> AsyncIterator[bytes]:
        """Yield the whole body."""
        self._file.seek(0)
        while chunk := await asyncio.to_thread(self._file.read, _CHUNK):
            yield chunk

    def whole(self) -> bytes:
        """Return the whole body."""
        self._file.seek(0)
        return self._file.read()

    def close(self) -> None:
        """Forget the bytes."""
        self._file.close()


class RemoteExchange(JupyterExchange):
    """Pass on one route for users that this Jupyter server knows."""

    hop = "1"
    """Marks a call that was passed on, in the header _PASSED_ON."""
    accepted_hops: tuple[str, ...] = ("",)
    """The marks of calls that are passed on; another leads back here."""

    def open_body(self, endpoint: Endpoint, call: Call) -> Body:
        """Take bodies unchanged and of any size: the shared server applies its limits."""
        return super().open_body(endpoint, call) if endpoint.local else Spool()

    async def _register(self, endpoint: Endpoint, call: Call, *_: Any) -> None:
        """Leave ids and limits to the shared server."""
        self._track(endpoint, call)

    async def _run(self, endpoint: Endpoint, call: Call) -> None:
        if self._body_error is not None:
            raise self._body_error
        if endpoint.local:
            await super()._run(endpoint, call)
            return
        assert isinstance(call.body, Spool)
        if self.request.headers.get(_PASSED_ON, "") not in self.accepted_hops:
            url = self.server.upstream.url
            raise OllamaError(508, f"{url} does not run models but passes calls on, too")
        upstream = await self._shared_server(endpoint, call)
        headers = {"Accept-Encoding": "identity"}
        for name, value in self.request.headers.items():
            if name in _CONTENT or _OWN.fullmatch(name):
                headers[name] = value
        headers |= self._added_headers()
        method = self.request.method or ""
        async with upstream.ask(method, self._path(), headers, call.body) as response:
            kind = response.headers.get("content-type", "").partition(";")[0]
            faulty = response.is_error and not kind.endswith("json")
            if faulty or response.is_redirect or kind.lower() not in _KINDS:
                raise await upstream.refusal(response)
            self._begin(response)
            try:
                async for part in upstream.parts(response):
                    # Unread parts wait at the shared server, which bounds them.
                    self._outbox.put(part)
                    self.touch()
                    await self._drain()
            except OllamaError as error:
                self._break_off(kind, error)
                return
        self.end(self._headers.get("Content-Type", ""))

    async def _shared_server(self, endpoint: Endpoint, call: Call) -> Upstream:
        """Return the connection that a call goes to."""
        return self.server.upstream

    def _added_headers(self) -> dict[str, str]:
        """Return headers that are not the client's."""
        return {_PASSED_ON: self.hop}

    def _begin(self, response: httpx2.Response) -> None:
        """Take over status and headers."""
        self.set_status(response.status_code)
        for name, value in response.headers.items():
            if name.title() in _ANSWER or _OWN.fullmatch(name):
                self.set_header(name.title(), value)
        # This is the encoding of the received bytes; Tornado must not add its own.
        self.set_header("Content-Encoding", response.headers.get("content-encoding", "identity"))
        self.request.connection.stream.set_nodelay(True)  # type: ignore[union-attr]

    def _break_off(self, kind: str, error: OllamaError) -> None:
        """End a stream with an error in its format, any other answer by disconnecting."""
        dialect = self.route.dialect
        if kind == dialect.content_type and self._headers.get("Content-Encoding") == "identity":
            self.write(dialect.part(dialect.error(error.status, error.message), 1))
            self.end(dialect.content_type)
        else:
            self.request.connection.stream.close()  # type: ignore[union-attr]

    def _path(self) -> str:
        """Return the path of the route below the shared server's address, and the query.

        The path is made of the route and the names in it, so any path of a client leads to a
        route of this API. Raises OllamaError(400) for an invalid name.
        """
        names = iter(self.path_args)
        path = _GROUP.sub(lambda _: _checked(next(names)), self.route.path).replace("\\.", ".")
        given = parse_qsl(self.request.query, keep_blank_values=True)
        query = urlencode([(name, text) for name, text in given if not _SECRETS.fullmatch(name)])
        return path + (f"?{query}" if query else "")


def _checked(name: str) -> str:
    if not _ARGUMENT.fullmatch(name) or {".", ".."} & {*name.split("/")}:
        raise OllamaError(400, "the path holds what can be no name")
    return name
