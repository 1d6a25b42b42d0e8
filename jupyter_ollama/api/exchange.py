"""The handling of every request by a Tornado handler: accept, receive, run, answer."""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from tornado import web
from tornado.iostream import StreamClosedError

from ..errors import OllamaError
from ..flow_control.body_budget import BodyReservation
from .arrival import Arrival
from .auditing import Answered, write_audit
from .decoding import TOO_LARGE
from .endpoint import Body, BufferedBody, Call, Endpoint, Reply, Route
from .events import emit_change
from .hops import HOPS, read_hops
from .requester import OWNER
from .requests import CANCELLED, HEADER, PRIORITY, choose_id
from .responder import Responder

if TYPE_CHECKING:
    from ..config import OllamaServer

LONG_BODY = 2**17
"""The size in bytes from which on a body is decoded in a thread, as it would block the event loop
noticeably."""

BYTES_PER_TOKEN = 4
"""The mean number of bytes per token of English text, for estimates."""

TOUCH_SECONDS = 30.0
"""The interval at which a running request is reported to the culler of idle servers."""


@web.stream_request_body
class Exchange(Responder):
    """Serve one route. Subclasses authorize the caller in ``prepare``, then call ``accept``.

    Bodies are streamed: access is decided before the first byte, Content-Type is ignored, and a
    blob need not fit in memory.
    """

    def initialize(self, server: OllamaServer, route: Route) -> None:
        """Keep the arguments of the routing table."""
        super().initialize(server, route)
        self.requester = OWNER
        self._arrival: Arrival | None = None
        self._touches: asyncio.TimerHandle | None = None

    @property
    def max_json_body(self) -> int:
        """The most bytes of a JSON body."""
        return self.server.max_body_bytes

    def endpoint(self) -> Endpoint:
        """Return the endpoint for this path and method. Raises HTTPError(404 or 405)."""
        if not self.route.methods:
            raise web.HTTPError(404)
        if self.request.method not in self.route.methods:
            raise web.HTTPError(405)
        return self.route.methods[self.request.method]

    def redirects_to_clean_path(self) -> bool:
        """Redirect a path with a double slash, which a base URL that ends in one leads to."""
        if "//" not in self.request.path:
            return False
        # Browsers read a backslash as a slash, and two of them at the beginning as another host.
        url = re.sub(r"[/\\]{2,}", "/", self.request.path)
        self.redirect(url + (f"?{self.request.query}" if self.request.query else ""), status=307)
        return True

    def accept(self) -> None:
        """Prepare for the body, or answer at once if the body does not matter."""
        if self.redirects_to_clean_path():
            return
        endpoint = self.endpoint()
        if self.route.path and self.request.path.endswith("/"):
            self._redirect_without_slash()
            return
        self.server.free_memory.return_later()
        # The limits below replace the server's own, which would cut the connection.
        self.request.connection.set_max_body_size(sys.maxsize)  # type: ignore[union-attr]
        self.call = Call(
            server=self.server,
            body=BufferedBody(
                self.max_json_body, BodyReservation(self.server.body_budget, self._budget_owner())
            ),
            dialect=self.route.dialect,
            requester=self.requester,
            arguments=tuple(self.path_args),
            user_agent=self.request.headers.get("User-Agent", ""),
            accept=self.request.headers.get("Accept", ""),
            content_type=self.request.headers.get("Content-Type", ""),
            query={
                name: values[-1].decode(errors="replace")
                for name, values in self.request.query_arguments.items()
            },
            touch=self.touch,
            may=self.may,
            hops=read_hops(self.request.headers.get(HOPS, "")),
        )
        try:
            self.call.body = self.open_body(endpoint, self.call)
        except OllamaError as error:
            self.fail(error)
        else:
            self._arrival = Arrival(self.call.body, self.server, self._abort_body)

    def open_body(self, endpoint: Endpoint, call: Call) -> Body:
        """Return the destination of the body's bytes. Raises OllamaError."""
        if endpoint.open_body is not None:
            return endpoint.open_body(call, *self.path_args[:1])
        if self._declared_length() > self.max_json_body:
            raise OllamaError(413, TOO_LARGE)
        return call.body

    def data_received(self, chunk: bytes) -> None:
        """Pass on the next bytes of the body, unless it has failed already."""
        if self._arrival is not None:
            self._arrival.write(chunk)
            if self._arrival.error is None:
                self.touch()

    @property
    def _body_error(self) -> Exception | None:
        return self._arrival.error if self._arrival else None

    def _abort_body(self, error: Exception) -> None:
        """Answer before the body has arrived; the connection closes after the answer."""
        assert self.call is not None
        self.call.body.close()
        if not self._finished:
            self.fail(self._as_ollama_error(error))

    def _budget_owner(self) -> str:
        """Return the user whose memory budget a body counts against, else the address."""
        name = self.requester.name
        return f"{name}@{self.request.remote_ip}" if self.requester is OWNER else name

    async def answer(self) -> None:
        """Run the endpoint and send its result, until the client disconnects."""
        self._has_read = True
        if self._arrival:
            self._arrival.end()
        if self._client_gone or self._is_closed:
            self.set_status(499, "Client Closed Request")
            return
        endpoint = self.endpoint()
        assert self.call is not None
        self._task = asyncio.current_task()
        self._touch_regularly()
        try:
            with ExitStack() as stack:
                await self._register(endpoint, self.call, stack)
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
            self._close_record(endpoint, self.call)
            self.call.body.close()

    def _close_record(self, endpoint: Endpoint, call: Call) -> None:
        """Record the status of the answer, and emit an event if the endpoint changes models."""
        is_cancelled = self._record is not None and self._record.is_cancelled
        status = CANCELLED.status if is_cancelled else self.get_status()
        if self._record:
            self._record.close(status)
        if endpoint.changes_models:
            emit_change(call, self.route.path, status)
        if audit := self.server.audit:
            request_id = self._record.request_id if self._record else ""
            method = self.request.method or ""
            answered = Answered(method, self.route.path, status, request_id)
            write_audit(audit, endpoint, call, answered)

    async def _register(self, endpoint: Endpoint, call: Call, stack: ExitStack) -> None:
        """Register the request: with an id if it can be cancelled, as admitted if it runs a model.

        Raises OllamaError if the request is not admitted.
        """
        if not endpoint.can_be_cancelled:
            self._track(endpoint, call)
            return
        headers, requester = self.request.headers, call.requester
        request_id = choose_id(headers.get(HEADER, ""))
        self.set_header(HEADER, request_id)
        if not endpoint.runs_model:
            self._track(endpoint, call, request_id)
            return
        await self.server.admission.restored()
        self._record = stack.enter_context(
            self.server.admission.admit(
                requester.name,
                requester.groups,
                request_id,
                self.route.path,
                headers.get(PRIORITY),
                self.cancel,
            )
        )

    def _track(self, endpoint: Endpoint, call: Call, request_id: str = "") -> None:
        """Register a request that runs no model; without an id it cannot be cancelled."""
        if endpoint.tracked:
            on_cancel = self.cancel if request_id else None
            running = self.server.running_requests
            self._record = running.track(
                call.requester.name, self.route.path, request_id, on_cancel
            )

    async def _run(self, endpoint: Endpoint, call: Call) -> None:
        if self._body_error is not None:
            raise self._body_error
        request = self._model_request
        encoding = self.request.headers.get("Content-Encoding", "identity").strip().lower()
        if isinstance(call.body, BufferedBody):
            if encoding != "identity":
                server = self.server
                bounds = (server.max_compression_ratio, server.max_compressed_members)
                await asyncio.to_thread(call.body.decompress, encoding, *bounds)
            if request:
                request.body_tokens = len(call.body.data) // BYTES_PER_TOKEN
            if endpoint.request and len(call.body.data) > LONG_BODY:
                ahead = partial(call.decode_ahead, endpoint.request)
                await self.server.long_work.do(self.requester.name, ahead)
        if request and self.server.admission.is_shared:
            request.may_manage = await self.may("write", "ollama:models")
        result = await endpoint.run(call)
        if isinstance(result, Reply):
            await self._send(result)
        else:
            if request:
                request.streams = True
            await self._send_stream(result)

    def cancel(self) -> None:
        """Cancel the task of the request; its client gets an error."""
        if self._task is not None:
            self._task.cancel()

    @property
    def _is_closed(self) -> bool:
        """True if the client has disconnected, also while its user was looked up.

        Tornado does not report that: it watches a connection only once the body is read.
        """
        connection = self.request.connection
        return bool(connection and connection.stream.closed())  # type: ignore[attr-defined]

    def on_connection_close(self) -> None:
        """Cancel the work for a client that disconnected."""
        super().on_connection_close()
        self._client_gone = True
        self._outbox.close()
        if self._task is not None:
            self._task.cancel()
        elif self.call is not None:
            self.call.body.close()
        if self._arrival:
            self._arrival.end()

    def _touch_regularly(self) -> None:
        """Count a request as activity while it sends nothing: loading, or a whole answer."""
        self.touch()
        loop = asyncio.get_running_loop()
        self._touches = loop.call_later(TOUCH_SECONDS, self._touch_regularly)

    def touch(self) -> None:
        """Report activity to the culler of idle servers. A stand-alone server has none."""

    async def may(self, action: str, resource: str) -> bool:
        """Return whether the caller has a right. Callers of a stand-alone server have all."""
        return True

    def _declared_length(self) -> int:
        try:
            return int(self.request.headers.get("Content-Length", 0))
        except ValueError:  # Tornado refuses the request when it reads the body
            return 0

    def _redirect_without_slash(self) -> None:
        url = self.request.path.rstrip("/")
        if self.request.query:
            url += f"?{self.request.query}"
        self.redirect(url, status=301 if self.request.method == "GET" else 307)
