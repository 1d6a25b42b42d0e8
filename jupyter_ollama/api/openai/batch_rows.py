"""The rows of batches as calls of the endpoints, and the batches of a server."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from ...batches.batches import Batches
from ...batches.records import BatchRecord
from ...errors import OllamaError
from ...flow_control.body_budget import BodyReservation
from ...library.disk_errors import explained, is_about_disk
from ...scheduler.limits import LimitReached
from ...scheduler.request import ModelRequest
from .. import chat as native_chat
from .. import embed, generate, score
from ..endpoint import OLLAMA, BufferedBody, Call, Dialect, Endpoint, Reply
from ..exchange import BYTES_PER_TOKEN, LONG_BODY
from ..requester import Requester
from ..score import ScoreRequest
from ..wire import ChatRequest, EmbedRequest, GenerateRequest
from . import chat, completions, embeddings, responses, wire
from .wire import OPENAI, RESPONSES

if TYPE_CHECKING:
    from ...config import OllamaServer

log = logging.getLogger(__name__)

_INTERNAL = "internal server error, check the server log for details"


def _runs(run: Any, request: type[msgspec.Struct], dialect: Dialect) -> tuple[Endpoint, Dialect]:
    return Endpoint(run, "execute", "ollama:run", request=request), dialect


ENDPOINTS: dict[str, tuple[Endpoint, Dialect]] = {
    "/v1/chat/completions": _runs(chat.chat_completions, wire.ChatCompletionRequest, OPENAI),
    "/v1/completions": _runs(completions.completions, wire.CompletionRequest, OPENAI),
    "/v1/embeddings": _runs(embeddings.embeddings, wire.EmbeddingsRequest, OPENAI),
    "/v1/responses": _runs(responses.responses, wire.ResponsesRequest, RESPONSES),
    "/api/chat": _runs(native_chat.chat, ChatRequest, OLLAMA),
    "/api/generate": _runs(generate.generate, GenerateRequest, OLLAMA),
    "/api/embed": _runs(embed.embed, EmbedRequest, OLLAMA),
    "/api/score": _runs(score.score, ScoreRequest, OLLAMA),
}
"""The endpoints that batches may ask, by their paths."""


def batches_of(server: OllamaServer) -> Batches:
    """Return the batches of a server; nothing is read or written yet."""
    if server.batches is None:
        server.batches = Batches(
            Path(server.batch_dir).expanduser(),
            server,
            server.admission,
            server.long_work,
            partial(answer_row, server),
        )
    return server.batches


def resume(server: OllamaServer, touch: Callable[[], None] = lambda: None) -> None:
    """Go on with the batches that a former server has left; needs the running event loop.

    ``touch`` reports activity to the culler of idle servers.
    """
    batches = batches_of(server)
    batches.touch = touch
    batches.resume()


async def answer_row(
    server: OllamaServer, batch: BatchRecord, body: bytes, request: ModelRequest
) -> tuple[int, bytes]:
    """Answer the body of a row: return the HTTP status and the JSON. Raises LimitReached."""
    endpoint, dialect = ENDPOINTS[batch.endpoint]
    call = _call(server, batch, dialect)
    try:
        reply = await _reply(server, endpoint, call, _whole(batch.endpoint, body), request)
        return reply.status, orjson.dumps(reply.body, option=orjson.OPT_SERIALIZE_NUMPY)
    except LimitReached:
        raise
    except OllamaError as error:
        failure = error
    except OSError as error:
        if not is_about_disk(error):
            raise
        failure = explained(error, "a file", "the server's disk")
    except Exception:
        log.exception("%s failed", request.request_id)
        failure = OllamaError(500, _INTERNAL)
    finally:
        call.body.close()
    message = server.redactor.redact(failure.message)
    return failure.status, orjson.dumps(dialect.error(failure.status, message))


def _call(server: OllamaServer, batch: BatchRecord, dialect: Dialect) -> Call:
    async def may(action: str, resource: str) -> bool:
        return resource in ("ollama", "ollama:run") or (
            resource == "ollama:models" and batch.manages
        )

    budget = BodyReservation(server.body_budget, batch.user)
    return Call(
        server=server,
        body=BufferedBody(server.max_body_bytes, budget),
        dialect=dialect,
        requester=Requester(batch.user, batch.groups),
        user_agent="jupyter-ollama batch",
        may=may,
    )


async def _reply(
    server: OllamaServer, endpoint: Endpoint, call: Call, body: bytes, request: ModelRequest
) -> Reply:
    """Run an endpoint as the handler of a request does."""
    call.body.write(body)
    request.body_tokens = len(body) // BYTES_PER_TOKEN
    if server.admission.is_shared:
        request.may_manage = await call.may("write", "ollama:models")
    if endpoint.request and len(body) > LONG_BODY:
        await server.long_work.do(call.requester.name, partial(call.decode_ahead, endpoint.request))
    result = await endpoint.run(call)
    assert isinstance(result, Reply), "rows are answered whole"
    return result


def _whole(path: str, body: bytes) -> bytes:
    """Return a body that asks for a whole answer: Ollama's own endpoints stream by default."""
    if path not in ("/api/chat", "/api/generate"):
        return body
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    fields = {name: value for name, value in fields.items() if name.lower() != "stream"}
    return msgspec.json.encode(fields | {"stream": False})
