"""Wire formats of embeddings: an Arrow stream, base64 in JSON, or JSON numbers.

Arrow and base64 are extensions of jupyter_ollama. Other servers ignore the request for them and
send numbers.
"""

from __future__ import annotations

import base64
from importlib.util import find_spec
from typing import Any

ARROW = "application/vnd.apache.arrow.stream"


def accepted() -> str:
    """Return the Accept header of a request for embeddings."""
    return f"{ARROW}, application/json;q=0.9" if find_spec("pyarrow") else "application/json"


def from_arrow(content: bytes) -> dict[str, Any]:
    """Return the response in an Arrow stream; its embeddings are not copied."""
    import pyarrow as pa  # type: ignore[import-untyped]

    with pa.ipc.open_stream(content) as stream:
        metadata = stream.schema.metadata or {}
        column = stream.read_all().column("embedding").combine_chunks()
    numbers = column.flatten().to_numpy(zero_copy_only=True)
    answer: dict[str, Any] = {"embeddings": numbers.reshape(len(column), -1)}
    for name in ("total_duration", "load_duration", "prompt_eval_count"):
        if name.encode() in metadata:
            answer[name] = int(metadata[name.encode()])
    return answer | {"model": metadata.get(b"model", b"").decode()}


def from_json(answer: dict[str, Any]) -> dict[str, Any]:
    """Return a response with an array in place of base64 texts or lists of numbers.

    Raises ValueError or TypeError for other values and for vectors of several lengths.
    """
    import numpy as np

    rows = answer.get("embeddings") or []
    if any(isinstance(row, str) for row in rows):
        rows = [np.frombuffer(base64.b64decode(row, validate=True), "<f4") for row in rows]
    return answer | {"embeddings": np.array(rows, np.float32)}
