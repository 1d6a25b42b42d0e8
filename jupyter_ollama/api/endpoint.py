"""What an endpoint is: a function from a Call to a Reply or a stream, whatever serves it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
import orjson

from ..errors import OllamaError
from .decoding import decode
from .requester import OWNER, Requester

if TYPE_CHECKING:
    from ..config import OllamaServer
    from ..library.model import Model

T = TypeVar("T", bound=msgspec.Struct)

JSON = "application/json; charset=utf-8"
PLAIN_JSON = "application/json"
NDJSON = "application/x-ndjson"
EVENT_STREAM = "text/event-stream"
TEXT = "text/plain; charset=utf-8"


class Body(Protocol):
    """Where the bytes of a request go while they arrive."""

    def write(self, chunk: bytes) -> None:
        """Take the next bytes. What this raises becomes the answer."""

    def close(self) -> None:
        """Let go of what is held; called once the request is over, however it went."""


class Buffer:
    """A request body kept in memory, at most ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.data = bytearray()

    def write(self, chunk: bytes) -> None:
        """Append bytes. Raises OllamaError(413) beyond the limit."""
        if len(self.data) + len(chunk) > self.limit:
            raise OllamaError(413, "http: request body too large")
        self.data += chunk

    def decompress(self, encoding: str) -> None:
        """Undo a compression. Raises OllamaError: 400 if that fails, 413 beyond the limit."""
        from .compression import decompress

        self.data = decompress(self.data, encoding, self.limit)

    def close(self) -> None:
        """Free the bytes."""
        self.data = bytearray()


def _line(part: dict[str, Any], number: int) -> bytes:
    return orjson.dumps(part) + b"\n"


def _error(status: int, message: str) -> dict[str, Any]:
    return {"error": message}


@dataclass(frozen=True)
class Dialect:
    """How an API writes errors and streams.

    ``error`` makes a body of a status and a message; ``part`` the bytes of a part of a stream, the
    error that ends one too, from it and its place in the stream; ``end`` follows the last part.
    ``no_body`` is told of a request without a body.
    """

    error: Callable[[int, str], dict[str, Any]] = _error
    content_type: str = NDJSON
    part: Callable[[dict[str, Any], int], bytes] = _line
    end: bytes = b""
    no_body: str = "missing request body"


OLLAMA = Dialect()


@dataclass
class Call:
    """One request as endpoints see it. ``started`` is in nanoseconds of the performance counter.

    ``headers`` go out with the answer, or with the first part of a stream. ``models`` are those
    that were looked up, by the names that the client gave. ``request`` stands in for the body where
    an endpoint of another API has translated it.
    """

    server: OllamaServer
    body: Body
    dialect: Dialect
    requester: Requester = OWNER
    arguments: tuple[str, ...] = ()
    user_agent: str = ""
    accept: str = ""
    touch: Callable[[], None] = lambda: None
    started: int = field(default_factory=time.perf_counter_ns)
    headers: dict[str, str] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    request: msgspec.Struct | None = None

    def carrying(self, request: msgspec.Struct) -> Call:
        """Return this call with another request, for the endpoint that takes such ones."""
        return replace(self, request=request, accept="")

    def decode(self, into: type[T]) -> T:
        """Return the request, most often the JSON body, as a struct. Raises OllamaError(400)."""
        if self.request is not None:
            assert isinstance(self.request, into)
            return self.request
        assert isinstance(self.body, Buffer)
        if not self.body.data.strip():
            raise OllamaError(400, self.dialect.no_body)
        return decode(self.body.data, into)


@dataclass
class Reply:
    """A whole answer. ``body`` is bytes as they stand, None for nothing, or a JSON value."""

    body: Any = None
    status: int = 200
    content_type: str = JSON
    compress: bool = True


Stream = AsyncGenerator[dict[str, Any], None]
"""An answer in parts, each sent as its dialect writes it."""


@dataclass(frozen=True)
class Endpoint:
    """A function that answers calls, and the right that a caller needs for it.

    ``tracked`` calls keep an idle Jupyter server alive. ``open_body`` takes the request's body in
    place of a buffer in memory.
    """

    run: Callable[[Call], Awaitable[Reply | Stream]]
    action: str
    resource: str
    tracked: bool = True
    open_body: Callable[[Call, str], Body] | None = None

    @property
    def can_be_cancelled(self) -> bool:
        """True for what a model does: its requests have ids by which they can be ended."""
        return self.action == "execute" and self.tracked

    @property
    def runs_model(self) -> bool:
        """True for what a model does, which counts for the limits and the usage of its user."""
        return self.can_be_cancelled and self.resource == "ollama:run"

    @property
    def changes_models(self) -> bool:
        """True for what changes the models of the store, which administrators want to know."""
        return self.action == "write" and self.resource == "ollama:models"


@dataclass(frozen=True)
class Route:
    """A path (a regular expression below the mount point) and its endpoints by method."""

    path: str
    methods: Mapping[str, Endpoint]
    dialect: Dialect = OLLAMA
