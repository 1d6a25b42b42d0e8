"""POST /v1/embeddings: texts to vectors, as OpenAI's clients ask for them."""

from __future__ import annotations

from typing import Any

from ...errors import OllamaError
from .. import embed as native
from ..endpoint import Call, Reply
from ..translation import native_options
from ..wire import EmbedRequest
from .wire import EmbeddingsRequest


async def embeddings(call: Call) -> Reply:
    """Answer with one unit vector for each text, as numbers or as base64."""
    request = call.decode(EmbeddingsRequest)
    answer = (await native.embed(call.carrying(embed_request(request)))).body
    return Reply(embedding_list(request, answer), compress=False)


def embed_request(request: EmbeddingsRequest) -> EmbedRequest:
    """Translate to a request of /api/embed. Raises OllamaError(400)."""
    if not request.model:
        raise OllamaError(400, "model is required")
    texts = [request.input] if isinstance(request.input, str) else request.input
    if texts is None or texts == []:
        raise OllamaError(400, "invalid input")
    return EmbedRequest(
        model=request.model,
        input=texts,
        dimensions=request.dimensions,
        encoding_format=request.encoding_format or "float",
        truncate=request.truncate is not False,
        keep_alive=request.keep_alive,
        options=native_options(request, {}),
    )


def embedding_list(request: EmbeddingsRequest, answer: dict[str, Any]) -> dict[str, Any]:
    """Return the answer that Ollama's makes."""
    read = answer.get("prompt_eval_count", 0)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "embedding": embedding, "index": index}
            for index, embedding in enumerate(answer["embeddings"])
        ],
        "model": request.model,
        "usage": {"prompt_tokens": read, "total_tokens": read},
    }
