"""The front of an endpoint that is a Slurm job: it waits for the job and passes calls on to it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
from jupyter_ollama_client.client import Client

from ...api.endpoint import NDJSON, OLLAMA, Body, BufferedBody, Call, Endpoint
from ...api.jupyter import JupyterExchange
from ...api.remote import RemoteExchange, Spool
from ...errors import OllamaError
from ...upstream import NoAnswer, Upstream
from .commands import SlurmCommands
from .endpoint_job import EndpointJob, Waits
from .launch import launch
from .registration import Address, prepare
from .settings import SlurmEndpoint

if TYPE_CHECKING:
    from ...config import OllamaServer

ANSWERED_HERE = frozenset(
    [
        *("", r"/openapi\.json", r"/openapi\.yaml", "/health", "/usage"),
        *("/api/version", "/api/status", "/api/me", "/api/tags", "/api/ps", "/api/show"),
        *("/api/requests", "/v1/models", "/v1/models/(.+?)"),
        "/api/experimental/model-recommendations",
    ]
)
"""Paths to read that the front answers while no job runs: pages ask for them all the time, which
must not start a job. The models are in a folder that it shares with the nodes."""
_ATTEMPTS = 3
_NOWHERE = "http://slurm.invalid"
"""Stands for the address while there is no job."""
_SHORT = 2**20
_NO_JOB = "the endpoint's Slurm job does not run; a request to a model starts it"


class _JobLost(Exception):
    """The job did not answer."""


class _Wish(msgspec.Struct):
    """Fields of a request to a model that say how its wait can be reported."""

    model: str = ""
    progress: bool = False
    stream: bool | None = None


class JobUpstream(Upstream):
    """The endpoint in its job, whose address is known only while it runs."""

    def __init__(self, server: OllamaServer, arguments: Sequence[str]) -> None:
        """Take the settings. Raises OSError if the shared folder cannot be used."""
        super().__init__(_NOWHERE, client=Client(_NOWHERE, None))
        self.settings = SlurmEndpoint(parent=server)
        prepare(Path(self.settings.folder))
        self._prefix = server.url_prefix
        self._connected: tuple[Address, Upstream] | None = None
        commands = SlurmCommands(self.settings)
        ready = launch(self.settings, arguments, os.environ)
        self.job = EndpointJob(self.settings, commands, ready)

    async def at(self, address: Address) -> Upstream:
        """Return the connection to a job; one to an earlier job is closed."""
        if self._connected is None or self._connected[0] != address:
            # Answers of the earlier job, which has ended, break off in any case.
            await self.close_connection()
            url = f"{address.url.rstrip('/')}/{self._prefix}"
            # Without a token: the front sends only the tokens of users.
            made = Upstream(url, client=Client(url, None), verify=address.trust())
            self._connected = (address, made)
        return self._connected[1]

    async def close_connection(self) -> None:
        """Close the connection to the job."""
        connected, self._connected = self._connected, None
        if connected:
            await connected[1].close()

    async def close(self) -> None:
        """Stop watching the job, which runs on, and close every connection."""
        await self.job.close()
        await self.close_connection()
        await super().close()


class FrontExchange(RemoteExchange):
    """Pass on one route with the token of the caller, once the job serves."""

    hop = "2"
    accepted_hops = ("", "1")
    _is_here = False
    _address: Address | None = None

    @property
    def _job_upstream(self) -> JobUpstream:
        upstream = self.server.upstream
        assert isinstance(upstream, JobUpstream)
        return upstream

    def open_body(self, endpoint: Endpoint, call: Call) -> Body:
        """Take bodies for the job unchanged. Raises OllamaError(503) for calls without a job."""
        if self._job_upstream.job.address is None and not starts_job(endpoint):
            if self.route.path not in ANSWERED_HERE and not endpoint.local:
                raise OllamaError(503, _NO_JOB)
            self._is_here = True
            return JupyterExchange.open_body(self, endpoint, call)
        return super().open_body(endpoint, call)

    def _added_headers(self) -> dict[str, str]:
        """Return the caller's own token, wherever it came from."""
        token = self.identity_provider.hub_auth.get_token(self)  # type: ignore[attr-defined]
        if not token:
            raise OllamaError(403, "send a token of the JupyterHub")
        return super()._added_headers() | {"Authorization": f"Bearer {token}"}

    async def _run(self, endpoint: Endpoint, call: Call) -> None:
        if self._is_here:
            await JupyterExchange._run(self, endpoint, call)
            return
        try:
            for _ in range(_ATTEMPTS - 1):
                with suppress(_JobLost):
                    await self._run_once(endpoint, call)
                    return
                if await self._has_answered_here(endpoint, call):
                    return
                await asyncio.sleep(self._job_upstream.settings.poll_seconds)
            await super()._run(endpoint, call)
        except OllamaError as error:
            await self._refuse(error)

    async def _run_once(self, endpoint: Endpoint, call: Call) -> None:
        """Pass on a call. Raises _JobLost if it can be tried again: most often the job has ended.

        Changes of models that may have been made are not repeated.
        """
        try:
            await super()._run(endpoint, call)
        except NoAnswer as error:
            assert self._address is not None
            self._job_upstream.job.lost(self._address)
            if error.is_sent and endpoint.changes_models:
                raise
            raise _JobLost from error

    async def _has_answered_here(self, endpoint: Endpoint, call: Call) -> bool:
        """Answer without the job what does not need it; return whether that was possible."""
        body = call.body
        is_short = isinstance(body, Spool) and body.size <= _SHORT
        if self.route.path not in ANSWERED_HERE or not is_short:
            return False
        assert isinstance(body, Spool)
        call.body = BufferedBody(_SHORT)
        call.body.write(body.whole())
        body.close()
        await JupyterExchange._run(self, endpoint, call)
        return True

    async def _refuse(self, error: OllamaError) -> None:
        """Answer with an error, as the last line where lines of progress were sent."""
        if not self._headers_written:
            raise error
        body = self._error_body(error.status, error.message)
        self._outbox.put(self.route.dialect.part(body, 1))
        await self._drain()
        self.end(NDJSON)

    async def _shared_server(self, endpoint: Endpoint, call: Call) -> Upstream:
        """Wait for the job. Raises LimitReached, a 503 that says why there is none yet."""
        upstream = self._job_upstream
        job, patience = upstream.job, upstream.settings.patience_seconds
        self._address = job.address
        if self._address is None and not starts_job(endpoint):
            raise OllamaError(503, _NO_JOB)
        if self._address is None and (wish := self._wish(call.body)):
            self._address = await job.serving(lambda waits: self._report(wish, waits), None)
        elif self._address is None:
            self._address = await job.serving(None, patience)
        return await upstream.at(self._address)

    def _wish(self, body: Body) -> _Wish | None:
        """Return the fields of a request that wants lines of progress, else None."""
        if self.route.dialect is not OLLAMA or not isinstance(body, Spool):
            return None
        if body.size > _SHORT or "Content-Encoding" in self.request.headers:
            return None
        try:
            wish = msgspec.json.decode(body.whole(), type=_Wish, strict=False)
        except msgspec.MsgspecError:  # the job explains what is wrong
            return None
        return wish if wish.progress and wish.stream is not False else None

    def _report(self, wish: _Wish, waits: Waits) -> None:
        """Send a line of progress."""
        if not self._headers_written:
            self._set_stream_headers(NDJSON)
            self.set_header("Content-Encoding", "identity")
            self.request.connection.stream.set_nodelay(True)  # type: ignore[union-attr]
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        line: dict[str, Any] = {"model": wish.model, "created_at": now, "status": waits.status}
        line["reason"] = self.server.redactor.redact(waits.text)
        if waits.position:
            line["position"] = waits.position
        self._outbox.put(orjson.dumps(line) + b"\n")

    def _break_off(self, kind: str, error: OllamaError) -> None:
        """End a stream with an error that names the job, which most often has ended."""
        assert self._address is not None
        self._job_upstream.job.lost(self._address)
        text = f"Slurm job {self._address.job} has ended or cannot be reached: {error.message}"
        super()._break_off(kind, OllamaError(error.status, text))


def starts_job(endpoint: Endpoint) -> bool:
    """Return whether a call is work for a job: requests to models, and changes of models."""
    if endpoint.action == "read" or endpoint.local or endpoint.resource == "ollama:admin":
        return False
    return endpoint.tracked or endpoint.request is not None or endpoint.open_body is not None
