"""POST /api/rerank and /v1/rerank: which documents fit a query best."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import OllamaError
from .endpoint import Call, Reply
from .models import find_model
from .request_bounds import check_bytes
from .wire import KeepAlive

if TYPE_CHECKING:
    from ..engine.runner_client import Embeddings
    from ..scheduler.lease import Lease

RANK = 4
"""The pooling type of models that rank, as a GGUF names it."""

DOCUMENTS = "documents must be a list of texts, or of objects with a text"


class RerankRequest(msgspec.Struct, kw_only=True):
    """The body of POST /api/rerank and /v1/rerank. Without ``top_n`` all documents are returned."""

    model: str = ""
    query: str = ""
    documents: list[Any] = []
    top_n: int | None = None
    return_documents: bool = False
    truncate: bool = True
    keep_alive: KeepAlive = None
    options: dict[str, Any] = {}


async def rerank(call: Call) -> Reply:
    """Answer with the documents' places and scores, the best first."""
    request = call.decode(RerankRequest)
    ranked, lease, results = await _rank(call, request)
    metrics = {
        "total_duration": time.perf_counter_ns() - call.started,
        "load_duration": lease.load_duration,
        "prompt_eval_count": ranked.prompt_eval_count,
    }
    metrics = {name: value for name, value in metrics.items() if value}
    return Reply({"model": request.model, "results": results} | metrics)


async def rerank_v1(call: Call) -> Reply:
    """Answer as ``rerank`` with the additional fields of Jina's API."""
    request = call.decode(RerankRequest)
    ranked, _, results = await _rank(call, request)
    read = ranked.prompt_eval_count
    usage = {"prompt_tokens": read, "total_tokens": read}
    return Reply({"model": request.model, "object": "list", "usage": usage, "results": results})


async def _rank(
    call: Call, request: RerankRequest
) -> tuple[Embeddings, Lease, list[dict[str, Any]]]:
    import numpy as np

    texts = [_text(document) for document in request.documents]
    if not request.query:
        raise OllamaError(400, "query is required")
    if not texts:
        raise OllamaError(400, DOCUMENTS)
    if request.top_n is not None and request.top_n < 1:
        raise OllamaError(400, "top_n must be at least 1")
    size = len(texts) * len(request.query)
    check_bytes("query, once for each of the documents,", size, call.server.max_body_bytes)
    model = await find_model(call, request.model)
    if not model.has_weights or model.header.get("pooling_type") != RANK:
        raise OllamaError(400, f'"{request.model}" does not support rerank')
    async with await call.lease(model, request) as lease:
        ranked = await lease.runner.rerank(
            request.query, texts, lease.num_ctx, truncate=request.truncate
        )
    scores = np.frombuffer(ranked.rows, "<f4").reshape(ranked.count, ranked.size)[:, 0]
    if not np.isfinite(scores).all():
        raise OllamaError(500, "a score is NaN or Inf")
    order = np.argsort(-scores, kind="stable")[: request.top_n]
    results = [
        {"index": place, "relevance_score": float(scores[place])}
        | ({"document": {"text": texts[place]}} if request.return_documents else {})
        for place in order.tolist()
    ]
    return ranked, lease, results


def _text(document: Any) -> str:
    text = document.get("text") if isinstance(document, dict) else document
    if not isinstance(text, str):
        raise OllamaError(400, DOCUMENTS)
    return text
