"""The answering half of a Tornado handler: replies, streams and errors on their way to a client."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import aclosing
from http.client import responses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from tornado import web

from ..errors import OllamaError
from ..flow_control.outbox import CHUNK, Outbox
from ..library.disk_errors import explained, is_about_disk
from ..scheduler.limits import LimitReached
from ..scheduler.request import ModelRequest, RequestRecord
from .connections import describe
from .endpoint import EVENT_STREAM, JSON, TEXT, Call, Reply, Route, Stream
from .requests import BUDGET, CANCELLED, IGNORED

if TYPE_CHECKING:
    from ..config import OllamaServer

log = logging.getLogger(__name__)


class Responder(web.RequestHandler):
    """Send answers through an outbox, in the dialect of the route."""

    def initialize(self, server: OllamaServer, route: Route) -> None:
        """Keep the arguments of the routing table."""
        self.server = server
        self.route = route
        self.call: Call | None = None
        self._record: RequestRecord | None = None
        self._task: asyncio.Task[Any] | None = None
        self._client_gone = False
        self._has_read = False
        self._outbox = Outbox(server.outboxes, self._write_to_socket, self._disconnect)

    @property
    def _model_request(self) -> ModelRequest | None:
        """The record of the request if it runs a model."""
        return self._record if isinstance(self._record, ModelRequest) else None

    def fail(self, error: OllamaError) -> None:
        """Answer with the error body of the route's API."""
        self.set_status(error.status)
        if isinstance(error, LimitReached):
            self.set_header("Retry-After", str(error.retry_after))
        self._end_with_error(error.status, error.message)

    def _end_with_error(self, status: int, message: str) -> None:
        self.end(JSON, orjson.dumps(self._error_body(status, message)))

    def _error_body(self, status: int, message: str) -> dict[str, Any]:
        """Return an error in the format of the route's API, without paths of this server."""
        public = self.server.redactor.redact(message)
        if public != message:
            log.warning("%s: %r", describe(self.request), message)
        return self.route.dialect.error(status, public)

    def finish(self, *args: Any, **kwargs: Any) -> asyncio.Future[None]:
        """End the answer; before the request was read, announce that Tornado then disconnects.

        A proxy would send the next request on this connection otherwise, which fails.
        """
        if not self._has_read and self.request.method != "OPTIONS":
            self.set_header("Connection", "close")
        return super().finish(*args, **kwargs)

    def end(self, content_type: str, body: bytes | None = None) -> None:
        """Finish the answer."""
        self.set_header("Content-Type", content_type)
        self._watch_end(self.finish(body), body)

    def _watch_end(self, sent: asyncio.Future[None], body: bytes | None) -> None:
        self._outbox.watch(sent, len(body or b""))

    def _write_to_socket(self, data: bytes) -> asyncio.Future[None]:
        """Send bytes of a body; the future is done once the socket has accepted them."""
        self.write(data)
        return self.flush()

    async def _pause_for_socket(self) -> None:
        """Give the socket time to send between two parts.

        A slow client delays the work of other endpoints. But a model does not wait, as its slot is
        needed by other requests: the connection is closed.
        """
        if self._outbox.is_full and self._model_request:
            self._outbox.give_up("the client reads its answer too slowly")
        elif self._outbox.is_full:
            await self._drain()
        elif self._outbox.is_busy:
            await asyncio.sleep(0)

    async def _drain(self) -> None:
        """Wait until the socket has accepted all bytes."""
        try:
            await self._outbox.drained()
        except asyncio.CancelledError:
            # Too late for an error body: a closed connection marks the answer as incomplete.
            self._disconnect()
            self._client_gone = True
            raise

    def _disconnect(self) -> None:
        """Close the connection, which ends the request."""
        self.request.connection.stream.close()  # type: ignore[union-attr]

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer errors of Tornado and Jupyter with the error body of the route's API, too."""
        error = kwargs.get("exc_info", (None, None))[1]
        message = error.get_message() if isinstance(error, web.HTTPError) else None
        if status_code == 405:
            self.set_header("Allow", ", ".join(self.route.methods))
        self._end_with_error(status_code, message or error_text(status_code))

    def _request_summary(self) -> str:
        return describe(self.request)

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        """Log an exception without the URL that Tornado logs, which may contain a token."""
        if isinstance(value, web.HTTPError):
            super().log_exception(typ, value, tb)
        else:
            log.error("%s failed", describe(self.request), exc_info=value)

    async def _commit(self) -> None:
        """Record the cost of the request before the part of the answer that comes with it."""
        if self._model_request:
            await self._model_request.commit()

    async def _send(self, reply: Reply) -> None:
        await self._commit()
        self.set_status(reply.status)
        self._set_headers()
        if not reply.compress:
            # Jupyter's gzip would block the event loop for longer than the computation took.
            self.set_header("Content-Encoding", "identity")
        if isinstance(reply.body, Path):
            await self._send_file(reply.body, reply.content_type)
            return
        if reply.body is None or isinstance(reply.body, bytes):
            body = reply.body
        else:
            body = orjson.dumps(reply.body, option=orjson.OPT_SERIALIZE_NUMPY)
        content_type = reply.content_type if body else TEXT
        if body and len(body) > CHUNK and self.request.method != "HEAD":
            self.set_header("Content-Type", content_type)
            self.set_header("Content-Length", str(len(body)))
            self._outbox.put(body)
            await self._drain()
            body = None
        self.end(content_type, body)

    async def _send_file(self, path: Path, content_type: str) -> None:
        """Send a file a piece at a time. Raises OllamaError(404) if it is missing."""
        try:
            file = await asyncio.to_thread(path.open, "rb")
        except FileNotFoundError:
            raise OllamaError(404, "the content of the file is missing") from None
        with file:
            self.set_header("Content-Type", content_type)
            self.set_header("Content-Length", str(os.fstat(file.fileno()).st_size))
            self.set_header("Content-Encoding", "identity")
            while piece := await asyncio.to_thread(file.read, CHUNK):
                self._outbox.put(piece)
                await self._drain()
        self.end(content_type)

    async def _send_stream(self, stream: Stream) -> None:
        """Send all parts; an error before the first one is answered with its own status."""
        dialect = self.route.dialect
        sent = 0
        async with aclosing(stream):
            try:
                async for part in stream:
                    await self._commit()
                    if not sent:
                        self._set_headers()
                        self._set_stream_headers(dialect.content_type)
                        # Otherwise the kernel delays parts until earlier ones are acknowledged.
                        self.request.connection.stream.set_nodelay(True)  # type: ignore[union-attr]
                    self._outbox.put(dialect.part(part, sent))
                    sent += 1
                    await self._pause_for_socket()
                if not sent:
                    self._set_stream_headers(dialect.content_type)
                self._outbox.put(dialect.end)
            except (Exception, asyncio.CancelledError) as error:
                if not sent or self._client_gone:
                    raise
                answered = self._as_ollama_error(error)
                body = self._error_body(answered.status, answered.message)
                self._outbox.put(dialect.part(body, sent))
        await self._drain()
        self.end(dialect.content_type)

    def _set_stream_headers(self, content_type: str) -> None:
        self.set_header("Content-Type", content_type)
        if content_type == EVENT_STREAM:
            self.set_header("Cache-Control", "no-cache")
            # Otherwise Tornado compresses the text, which some clients of event streams do not
            # decompress.
            self.set_header("Content-Encoding", "identity")

    def _set_headers(self) -> None:
        assert self.call is not None
        for name, value in self.call.headers.items():
            self.set_header(name, value)
        if self._model_request and self._model_request.ignored:
            self.set_header(IGNORED, ", ".join(sorted(self._model_request.ignored)))
        if self._model_request and (warning := self._model_request.budgets.warning()):
            self.set_header(BUDGET, warning.encode("ascii", "backslashreplace").decode())

    def _as_ollama_error(self, error: BaseException) -> OllamaError:
        """Return the error to answer. Raises a cancellation again that was not requested by id."""
        if isinstance(error, OllamaError):
            return error
        if isinstance(error, asyncio.CancelledError):
            if self._task is None or not (self._record and self._record.is_cancelled):
                raise error
            self._task.uncancel()
            return CANCELLED
        if isinstance(error, OSError) and is_about_disk(error):
            return explained(error, "a file", "the server's disk")
        log.error("%s failed", describe(self.request), exc_info=error)
        return OllamaError(500, "internal server error, check the server log for details")


def error_text(status: int) -> str:
    """Return the text for a status without a message, in the words of Ollama's router."""
    if status == 404:
        return "404 page not found"
    if status == 405:
        return "405 method not allowed"
    return responses.get(status, "unknown error").lower()
