"""The way of every request through a Tornado handler: accept, receive, run, answer."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import ExitStack, aclosing
from typing import TYPE_CHECKING, Any

import orjson
from tornado import web
from tornado.httputil import responses
from tornado.iostream import StreamClosedError

from ..errors import OllamaError
from ..scheduler.limits import LimitReached
from .endpoint import EVENT_STREAM, JSON, TEXT, Body, Buffer, Call, Endpoint, Reply, Route, Stream
from .events import tell_change
from .requester import OWNER
from .requests import CANCELLED, HEADER, PRIORITY, choose_id

if TYPE_CHECKING:
    from ..config import OllamaServer
    from ..scheduler.ticket import Ticket

log = logging.getLogger(__name__)

MAX_JSON_BODY = 512 * 2**20
"""The most bytes of a JSON body where no server setting says otherwise."""

TOUCH_SECONDS = 30.0
"""How often a request that runs is told to whoever culls idle servers."""


@web.stream_request_body
class Exchange(web.RequestHandler):
    """Serve one route. Subclasses decide in ``prepare`` who may call, then call ``accept``.

    Bodies are taken as they arrive: access is decided before the first byte, Content-Type has no
    say, and a blob never has to fit in memory.
    """

    max_json_body = MAX_JSON_BODY

    def initialize(self, server: OllamaServer, route: Route) -> None:
        """Keep what Tornado passes from the routing table."""
        self.server = server
        self.route = route
        self.call: Call | None = None
        self.requester = OWNER
        self._body_error: Exception | None = None
        self._task: asyncio.Task[Any] | None = None
        self._client_gone = False
        self._has_read = False
        self._cancelled = False
        self._touches: asyncio.TimerHandle | None = None
        self._ticket: Ticket | None = None

    def endpoint(self) -> Endpoint:
        """Return the endpoint for this path and method. Raises HTTPError(404 or 405)."""
        if not self.route.methods:
            raise web.HTTPError(404)
        if self.request.method not in self.route.methods:
            raise web.HTTPError(405)
        return self.route.methods[self.request.method]

    def accept(self) -> None:
        """Get ready for the body, or answer at once where it does not matter."""
        endpoint = self.endpoint()
        if self.route.path and self.request.path.endswith("/"):
            self._redirect_without_slash()
            return
        # The limits below replace the server's own, which would cut the connection.
        self.request.connection.set_max_body_size(sys.maxsize)  # type: ignore[union-attr]
        self.call = Call(
            server=self.server,
            body=Buffer(self.max_json_body),
            dialect=self.route.dialect,
            requester=self.requester,
            arguments=tuple(self.path_args),
            user_agent=self.request.headers.get("User-Agent", ""),
            accept=self.request.headers.get("Accept", ""),
            touch=self.touch,
        )
        try:
            self.call.body = self.open_body(endpoint, self.call)
        except OllamaError as error:
            self.fail(error)

    def open_body(self, endpoint: Endpoint, call: Call) -> Body:
        """Return the place where the bytes of a body go. Raises OllamaError."""
        if endpoint.open_body is not None:
            return endpoint.open_body(call, self.path_args[0])
        if self._declared_length() > self.max_json_body:
            raise OllamaError(413, "http: request body too large")
        return call.body

    def data_received(self, chunk: bytes) -> None:
        """Pass on the next bytes of the body, unless it has failed already."""
        if self.call is None or self._body_error is not None:
            return
        try:
            self.call.body.write(chunk)
            self.touch()
        except Exception as error:
            self._body_error = error

    async def answer(self) -> None:
        """Run the endpoint and send what it gives, until the client goes away."""
        self._has_read = True
        endpoint = self.endpoint()
        assert self.call is not None
        self._task = asyncio.current_task()
        self.server.requests_running += endpoint.tracked
        self._keep_touching()
        try:
            with ExitStack() as stack:
                self._enter(endpoint, self.call, stack)
                await self._run(endpoint, self.call)
        except asyncio.CancelledError as error:
            if not self._client_gone:
                self.fail(self._as_ollama_error(error))
                return
            assert self._task is not None
            self._task.uncancel()
            self.set_status(499, "Client Closed Request")
        except StreamClosedError:
            self.set_status(499, "Client Closed Request")
        except Exception as error:
            self.fail(self._as_ollama_error(error))
        finally:
            self._task = None
            if self._touches:
                self._touches.cancel()
            self.server.requests_running -= endpoint.tracked
            self._tell_end(endpoint, self.call)
            self.call.body.close()

    def _tell_end(self, endpoint: Endpoint, call: Call) -> None:
        """Tell those who keep account how the request has ended."""
        status = CANCELLED.status if self._cancelled else self.get_status()
        if self._ticket:
            self._ticket.close(status)
        elif endpoint.changes_models:
            tell_change(call, self.route.path, status)

    def _enter(self, endpoint: Endpoint, call: Call, stack: ExitStack) -> None:
        """Give the answer an id by which it can be ended, and what runs a model a ticket.

        Endpoints that are no work need neither. Raises OllamaError where the user may not go on.
        """
        if not endpoint.can_be_cancelled:
            return
        headers, requester = self.request.headers, call.requester
        request_id = choose_id(headers.get(HEADER, ""))
        self.set_header(HEADER, request_id)
        running = self.server.running_requests
        stack.enter_context(running.known_as(requester.name, request_id, self.cancel))
        if endpoint.runs_model:
            self._ticket = stack.enter_context(
                self.server.admission.ticket(
                    requester.name,
                    requester.groups,
                    request_id,
                    self.route.path,
                    headers.get(PRIORITY),
                    self.cancel,
                )
            )

    async def _run(self, endpoint: Endpoint, call: Call) -> None:
        if self._body_error is not None:
            raise self._body_error
        encoding = self.request.headers.get("Content-Encoding", "identity").strip().lower()
        if isinstance(call.body, Buffer) and encoding != "identity":
            await asyncio.to_thread(call.body.decompress, encoding)
        result = await endpoint.run(call)
        if isinstance(result, Reply):
            self._send(result)
        else:
            if self._ticket:
                self._ticket.streams = True
            await self._send_stream(result)

    def cancel(self) -> None:
        """End what runs; its client is told so."""
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()

    def on_connection_close(self) -> None:
        """Stop at once what runs for a client that has gone."""
        super().on_connection_close()
        self._client_gone = True
        if self._task is not None:
            self._task.cancel()
        elif self.call is not None:
            self.call.body.close()

    def _keep_touching(self) -> None:
        """Count a request as activity while nothing of it is sent: loading, a whole answer."""
        self.touch()
        loop = asyncio.get_running_loop()
        self._touches = loop.call_later(TOUCH_SECONDS, self._keep_touching)

    def touch(self) -> None:
        """Tell an idle culler that work goes on. Nobody culls a stand-alone server."""

    def fail(self, error: OllamaError) -> None:
        """Answer with the error body of the route's API."""
        self.set_status(error.status)
        if isinstance(error, LimitReached):
            self.set_header("Retry-After", str(error.retry_after))
        self._end_with_error(error.status, error.message)

    def _end_with_error(self, status: int, message: str) -> None:
        self.end(JSON, orjson.dumps(self.route.dialect.error(status, message)))

    def finish(self, *args: Any, **kwargs: Any) -> asyncio.Future[None]:
        """End the answer; where the body was not read, say that the connection ends as well."""
        if not self._has_read and {"Content-Length", "Transfer-Encoding"} & {*self.request.headers}:
            self.set_header("Connection", "close")
        return super().finish(*args, **kwargs)

    def end(self, content_type: str, body: bytes | None = None) -> None:
        """Finish the answer."""
        self.set_header("Content-Type", content_type)
        self.finish(body)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Give the error body of the route's API to errors of Tornado and Jupyter too."""
        error = kwargs.get("exc_info", (None, None))[1]
        message = error.get_message() if isinstance(error, web.HTTPError) else None
        if status_code == 405:
            self.set_header("Allow", ", ".join(self.route.methods))
        self._end_with_error(status_code, message or error_text(status_code))

    def _declared_length(self) -> int:
        try:
            return int(self.request.headers.get("Content-Length", 0))
        except ValueError:  # Tornado refuses the request once it comes to the body
            return 0

    def _redirect_without_slash(self) -> None:
        url = self.request.path.rstrip("/")
        if self.request.query:
            url += f"?{self.request.query}"
        self.redirect(url, status=301 if self.request.method == "GET" else 307)

    def _send(self, reply: Reply) -> None:
        self.set_status(reply.status)
        self._set_headers()
        if not reply.compress:
            # Jupyter's gzip would hold the event loop for longer than the numbers took to compute.
            self.set_header("Content-Encoding", "identity")
        if reply.body is None or isinstance(reply.body, bytes):
            self.end(reply.content_type if reply.body else TEXT, reply.body)
        else:
            body = orjson.dumps(reply.body, option=orjson.OPT_SERIALIZE_NUMPY)
            self.end(reply.content_type, body)

    async def _send_stream(self, stream: Stream) -> None:
        """Send part after part; until the first one an error still has its status."""
        dialect = self.route.dialect
        sent = 0
        async with aclosing(stream):
            try:
                async for part in stream:
                    if not sent:
                        self._set_headers()
                        self._set_stream_headers(dialect.content_type)
                        # Or the kernel holds parts until the client has acknowledged others.
                        self.request.connection.stream.set_nodelay(True)  # type: ignore[union-attr]
                    self.write(dialect.part(part, sent))
                    sent += 1
                    await self.flush()
                self.write(dialect.end)
            except StreamClosedError:
                raise
            except (Exception, asyncio.CancelledError) as error:
                if not sent or self._client_gone:
                    raise
                told = self._as_ollama_error(error)
                self.write(dialect.part(dialect.error(told.status, told.message), sent))
        self.end(dialect.content_type)

    def _set_stream_headers(self, content_type: str) -> None:
        self.set_header("Content-Type", content_type)
        if content_type == EVENT_STREAM:
            self.set_header("Cache-Control", "no-cache")
            # Tornado would compress what is text, which some readers of events do not undo.
            self.set_header("Content-Encoding", "identity")

    def _set_headers(self) -> None:
        assert self.call is not None
        for name, value in self.call.headers.items():
            self.set_header(name, value)

    def _as_ollama_error(self, error: BaseException) -> OllamaError:
        """Return what to tell of an error. Raises it again if it means this server's own end."""
        if isinstance(error, OllamaError):
            return error
        if isinstance(error, asyncio.CancelledError):
            if not self._cancelled or self._task is None:
                raise error
            self._task.uncancel()
            return CANCELLED
        log.error("%s %s failed", self.request.method, self.request.path, exc_info=error)
        return OllamaError(500, "internal server error, check the server log for details")


def error_text(status: int) -> str:
    """Return the text for a status that came without one, in the words of Ollama's router."""
    if status == 404:
        return "404 page not found"
    if status == 405:
        return "405 method not allowed"
    return responses.get(status, "unknown error").lower()
