"""The forms of embeddings: JSON numbers, base64 in JSON, or an Arrow stream."""

from __future__ import annotations

import base64
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ..errors import OllamaError

if TYPE_CHECKING:
    import numpy as np

ARROW = "application/vnd.apache.arrow.stream"
_JSON = ("application/json", "application/*", "*/*")
_FORMATS = ("float", "base64")


def parse_encoding_format(value: str) -> str:
    """Return "float" or "base64", which may be written in any case. Raises OllamaError(400)."""
    if value.lower() not in _FORMATS:
        raise OllamaError(
            400,
            f"Invalid value for 'encoding_format' = {value}. Supported values: {list(_FORMATS)}.",
        )
    return value.lower()


def in_json(rows: np.ndarray, encoding_format: str) -> np.ndarray | list[str]:
    """Return the JSON form of float32 rows (count, size).

    "base64" makes a text of each row: its numbers in little-endian order.
    """
    if encoding_format == "float":
        return rows
    return [base64.b64encode(row).decode() for row in rows.astype("<f4", copy=False)]


def answers_arrow(accept: str) -> bool:
    """Return whether an Accept header requests an Arrow stream.

    Without pyarrow it cannot be one: JSON is the answer where the header allows it. Raises
    OllamaError(406) where it does not.
    """
    qualities = _qualities(accept)
    arrow = qualities.get(ARROW, 0.0)
    json = max(qualities.get(kind, 0.0) for kind in _JSON)
    if not arrow or arrow < json:
        return False
    if find_spec("pyarrow"):
        return True
    if not json:
        raise OllamaError(406, f"{ARROW} needs pyarrow on the server; accept application/json")
    return False


def _qualities(accept: str) -> dict[str, float]:
    """Return the quality value of each media range of an Accept header, 0 to 1."""
    qualities = {}
    for item in accept.lower().split(","):
        kind, *parameters = (piece.strip() for piece in item.split(";"))
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            qualities[kind] = float(quality)
        except ValueError:
            qualities[kind] = 1.0
    return qualities


def arrow_stream(rows: np.ndarray, metadata: dict[str, str]) -> bytes:
    """Return an Arrow IPC stream: one batch, one column "embedding" of fixed-size float32 lists.

    ``rows`` is (count, size), size at least 1, and ``metadata`` goes into the schema.
    """
    import pyarrow as pa  # type: ignore[import-untyped]

    kind = pa.list_(pa.float32(), rows.shape[1])
    column = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), type=kind)
    schema = pa.schema([pa.field("embedding", kind)], metadata=metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        stream.write_batch(pa.record_batch([column], schema=schema))
    data: bytes = sink.getvalue().to_pybytes()
    return data
