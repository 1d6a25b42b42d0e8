"""POST /api/embed and the older /api/embeddings: texts to vectors."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from ..errors import OllamaError
from .endpoint import Call, Reply, resolve_options
from .models import allowed_model
from .vectors import ARROW, answers_arrow, arrow_stream, in_json, parse_encoding_format
from .wire import EmbeddingRequest, EmbedRequest

if TYPE_CHECKING:
    import numpy as np

    from ..engine.runner_client import Embeddings
    from ..library.model import Model
    from ..scheduler.lease import Lease


async def embed(call: Call) -> Reply:
    """Answer with one unit vector for each text of ``input``, float32, in its order.

    As JSON numbers, by ``encoding_format`` as base64, or by the Accept header as an Arrow stream.
    An answer with no vectors is JSON always: an Arrow column would need to know their size.
    """
    request = call.decode(EmbedRequest)
    texts = _texts(request.input)
    encoding_format = parse_encoding_format(request.encoding_format)
    in_arrow = answers_arrow(call.accept)
    model = await _find(call, request.model)
    async with await _acquire(call, model, request) as lease:
        if not texts:
            return Reply({"model": request.model, "embeddings": []})
        result = await lease.runner.embed(texts, lease.num_ctx, truncate=request.truncate)
    rows = _cut(_rows(result), request.dimensions)
    metrics = {
        "total_duration": time.perf_counter_ns() - call.started,
        "load_duration": lease.load_duration,
        "prompt_eval_count": result.prompt_eval_count,
    }
    metrics = {name: value for name, value in metrics.items() if value}
    if in_arrow:
        metadata = {"model": request.model} | {name: str(n) for name, n in metrics.items()}
        stream = await asyncio.to_thread(arrow_stream, rows, metadata)
        return Reply(stream, content_type=ARROW, compress=False)
    body = {"model": request.model, "embeddings": in_json(rows, encoding_format)}
    return Reply(body | metrics, compress=False)


async def embeddings(call: Call) -> Reply:
    """Answer with one vector for ``prompt``, float64, not normalised."""
    import numpy as np

    from ..library.name import InvalidName, ModelName

    request = call.decode(EmbeddingRequest)
    try:
        ModelName.parse(request.model)
    except InvalidName:
        raise OllamaError(400, "model is required") from None
    model = await _find(call, request.model)
    async with await _acquire(call, model, request) as lease:
        if not request.prompt:
            return Reply({"embedding": []})
        result = await lease.runner.embed(
            [request.prompt], lease.num_ctx, truncate=False, normalize=False
        )
    return Reply({"embedding": _rows(result)[0].astype(np.float64)}, compress=False)


def _texts(value: Any) -> list[str]:
    if value is None or value == "":
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        return value
    raise OllamaError(400, "invalid input type")


async def _find(call: Call, name: str) -> Model:
    from ..library.name import InvalidName

    try:
        return await allowed_model(call, name)
    except InvalidName:
        status = 404
    except OllamaError as error:
        status = error.status
        if status != 404:
            raise
    raise OllamaError(status, f'model "{name}" not found, try pulling it first')


async def _acquire(call: Call, model: Model, request: EmbedRequest | EmbeddingRequest) -> Lease:
    options = resolve_options(model, request.options)
    asked = options.num_ctx
    lease = await call.lease(model, request, options=options)
    if asked > 0:  # the least that a context has does not bound a text to embed
        lease.options.num_ctx = min(asked, lease.num_ctx)
    return lease


def _rows(result: Embeddings) -> np.ndarray:
    """Return the embeddings as a float32 array (count, size). Raises OllamaError(500)."""
    import numpy as np

    rows = np.frombuffer(result.rows, dtype="<f4").reshape(result.count, result.size)
    if not np.isfinite(rows).all():
        raise OllamaError(500, "embedding contains NaN or Inf values")
    return rows


def _cut(rows: np.ndarray, dimensions: int) -> np.ndarray:
    """Keep the first ``dimensions`` numbers of each row and make unit vectors of them again."""
    import numpy as np

    if not 0 < dimensions < rows.shape[1]:
        return rows
    cut = rows[:, :dimensions]
    norms = np.linalg.norm(cut, axis=1, keepdims=True)
    return np.ascontiguousarray(cut / np.where(norms == 0, 1, norms))
