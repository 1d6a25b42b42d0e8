"""Endpoints: functions from a Call to a Reply or a stream, independent of the handler."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
import orjson

from ..errors import OllamaError, one_line
from ..options import Options, merge_options
from ..scheduler.remote_model import NamedOptions, RemoteModel
from .decoding import TOO_LARGE, decode
from .request_bounds import check_request
from .requester import OWNER, Requester

if TYPE_CHECKING:
    from ..config import OllamaServer
    from ..flow_control.body_budget import BodyReservation
    from ..library.model import Model
    from ..scheduler.lease import Lease
    from ..scheduler.request import OnPosition

log = logging.getLogger(__name__)

T = TypeVar("T", bound=msgspec.Struct)

JSON = "application/json; charset=utf-8"
PLAIN_JSON = "application/json"
NDJSON = "application/x-ndjson"
EVENT_STREAM = "text/event-stream"
TEXT = "text/plain; charset=utf-8"

_VALUE = 100
"""Bytes of a JSON value as a Python object, about."""
_SOMETHING = re.compile(rb"\S")


class Body(Protocol):
    """The destination of the bytes of a request while they arrive."""

    def write(self, chunk: bytes) -> None:
        """Take the next bytes. An exception from here becomes the answer."""

    def close(self) -> None:
        """Free the resources; called once when the request has ended, for any reason."""


class BufferedBody:
    """A request body kept in memory, at most ``limit`` bytes; ``account`` reserves them."""

    def __init__(self, limit: int, account: BodyReservation | None = None) -> None:
        self.limit = limit
        self.data = bytearray()
        self.account = account

    def write(self, chunk: bytes) -> None:
        """Append bytes. Raises OllamaError: 413 beyond the limit, 503 where memory is short."""
        if len(self.data) + len(chunk) > self.limit:
            raise OllamaError(413, TOO_LARGE)
        self._hold(len(self.data) + len(chunk))
        self.data += chunk

    def decompress(self, encoding: str, ratio: int, members: int) -> None:
        """Undo a compression. Raises OllamaError: 400 if that fails, 413 beyond the bounds."""
        from .compression import DecompressionLimits, decompress

        sent = len(self.data)
        bounds = DecompressionLimits(self.limit, ratio, members)
        self.data = decompress(self.data, encoding, bounds, lambda size: self._hold(sent + size))

    def hold_values(self, values: int) -> None:
        """Reserve the memory of a decoded JSON body. Raises OllamaError(503)."""
        self._hold(2 * len(self.data) + _VALUE * values)

    def _hold(self, size: int) -> None:
        if self.account:
            self.account.hold(size)

    def close(self) -> None:
        """Free the bytes."""
        self.data = bytearray()
        if self.account:
            self.account.close()


async def allow_all(action: str, resource: str) -> bool:
    """Allow everything, as a server without users does."""
    return True


class ModelBody(Protocol):
    """The fields that the bodies of all requests for a loaded model have."""

    options: dict[str, Any]
    keep_alive: float | None


def resolve_options(model: Model, asked: dict[str, Any]) -> Options:
    """Merge the options of a request with the model's and with Ollama's defaults.

    Those of a remote model keep the names that the request sets.
    """
    options, unknown = merge_options(model.params, asked)
    if isinstance(model, RemoteModel):
        named = frozenset(name for name, value in asked.items() if value is not None)
        options = NamedOptions.of(options, named)
    if unknown:
        log.warning("Unknown options were ignored: %s", one_line(", ".join(unknown)))
    return options


def _line(part: dict[str, Any], number: int) -> bytes:
    return orjson.dumps(part) + b"\n"


def _error(status: int, message: str) -> dict[str, Any]:
    return {"error": message}


@dataclass(frozen=True)
class Dialect:
    """The form of an API's errors and streams.

    ``error`` makes a body of a status and a message; ``part`` the bytes of a part of a stream, the
    error that ends one too, from it and its place in the stream; ``end`` follows the last part.
    ``no_body`` is the error of a request without a body.
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

    ``query`` has the parameters of the URL. ``headers`` go out with the answer, or with the first
    part of a stream. ``models`` are the models found, by the names that the client gave. ``may``
    returns whether the caller has the right to an action on a resource. ``request`` replaces the
    body where an endpoint of another API has translated it, ``decoded`` is a body that was decoded
    ahead. ``hops`` other servers have passed the call on.
    """

    server: OllamaServer
    body: Body
    dialect: Dialect
    requester: Requester = OWNER
    arguments: tuple[str, ...] = ()
    user_agent: str = ""
    accept: str = ""
    content_type: str = ""
    touch: Callable[[], None] = lambda: None
    may: Callable[[str, str], Awaitable[bool]] = allow_all
    started: int = field(default_factory=time.perf_counter_ns)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    request: msgspec.Struct | None = None
    decoded: msgspec.Struct | None = None
    hops: int = 0

    def carrying(self, request: msgspec.Struct) -> Call:
        """Return this call with another request, for the endpoint that takes such ones."""
        return replace(self, request=request, decoded=None, accept="")

    def decode(self, into: type[T]) -> T:
        """Return the request, most often the JSON body, as a struct. Raises OllamaError(400)."""
        if type(self.decoded) is into:
            return self.decoded
        if self.request is not None:
            assert isinstance(self.request, into)
            check_request(self.server, self.request)
            return self.request
        assert isinstance(self.body, BufferedBody)
        if not _SOMETHING.search(self.body.data):
            raise OllamaError(400, self.dialect.no_body)
        server, body = self.server, self.body
        request = decode(body.data, into, server.max_json_values, body.hold_values)
        check_request(self.server, request)
        return request

    async def lease(
        self,
        model: Model,
        body: ModelBody,
        on_position: OnPosition | None = None,
        *,
        options: Options | None = None,
        generates: bool = False,
    ) -> Lease:
        """Load a model if necessary and wait for one of its slots; see `Scheduler.acquire`.

        ``options`` replace those of the body. Raises OllamaError.
        """
        if options is None:
            options = resolve_options(model, body.options)
        return await self.server.scheduler.acquire(
            model, options, body.keep_alive, on_position, generates=generates
        )

    def decode_ahead(self, into: type[msgspec.Struct]) -> None:
        """Read a body that takes long to read, for ``decode``. Raises OllamaError(400)."""
        self.decoded = self.decode(into)


@dataclass
class Reply:
    """A whole answer. ``body`` is raw bytes, a file, None for no body, or a JSON value."""

    body: Any = None
    status: int = 200
    content_type: str = JSON
    compress: bool = True


Stream = AsyncGenerator[dict[str, Any], None]
"""An answer in parts, each sent as its dialect writes it."""


async def changing_library(call: Call, steps: Stream) -> Stream:
    """Pass on the steps of a change of the library, and have the scheduler look at its end.

    The change may be complete although the client disconnected before the last step.
    """
    try:
        async with aclosing(steps):
            async for step in steps:
                yield step
    finally:
        call.server.scheduler.library_changed()


@dataclass(frozen=True)
class Endpoint:
    """A function that answers calls, and the right that a caller needs for it.

    ``tracked`` calls keep an idle Jupyter server alive. ``local`` ones are answered by the server
    that gets them even where it passes all others on to a shared server. ``open_body`` takes the
    call and the arguments of the path, and returns the destination of the body instead of a buffer
    in memory. ``run`` decodes the body into ``request``; a long body is decoded ahead of it, in a
    thread.
    """

    run: Callable[[Call], Awaitable[Reply | Stream]]
    action: str
    resource: str
    tracked: bool = True
    open_body: Callable[..., Body] | None = None
    request: type[msgspec.Struct] | None = None
    local: bool = False

    @property
    def can_be_cancelled(self) -> bool:
        """True if a model does the work: such requests can be cancelled by id."""
        return self.action == "execute" and self.tracked

    @property
    def runs_model(self) -> bool:
        """True if a model does the work, which counts for limits and usage of the user."""
        return self.can_be_cancelled and self.resource == "ollama:run"

    @property
    def changes_models(self) -> bool:
        """True if the call changes the models of the store, which is logged for administrators."""
        return self.action == "write" and self.resource == "ollama:models"


@dataclass(frozen=True)
class Route:
    """A path (a regular expression below the mount point) and its endpoints by method."""

    path: str
    methods: Mapping[str, Endpoint]
    dialect: Dialect = OLLAMA
