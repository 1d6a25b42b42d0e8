"""The chunks of an index as records for another vector store."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..failures import OllamaMagicsError
from ..servers import Servers
from .embedding import query_vector
from .index_file import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .index import SearchIndex

SETTINGS = "jupyter_ollama"
"""The name of the settings of an index in the metadata of another store."""


@dataclass
class Records:
    """A record for each chunk of each row: ids, the rows, the chunks and unit vectors."""

    ids: list[str]
    rows: pd.DataFrame
    chunks: list[str]
    vectors: NDArray[np.float32]


def records(index: SearchIndex) -> Records:
    """Return the records of an index, in the order of its rows."""
    loaded = index.loaded()
    pairs = sorted(
        (position, chunk)
        for chunk, text in enumerate(loaded.texts.tolist())
        for position in loaded.positions(text).tolist()
    )
    positions = sorted({position for position, _ in pairs})
    places = {position: place for place, position in enumerate(positions)}
    chunks = [chunk for _, chunk in pairs]
    texts = dict(enumerate(loaded.chunk_texts(range(len(loaded.texts)))))
    rows = index.rows(positions).iloc[[places[position] for position, _ in pairs]]
    return Records(
        [f"{position}-{chunk}" for position, chunk in pairs],
        rows,
        [texts[chunk] for chunk in chunks],
        loaded.vectors.array[chunks],
    )


def described(settings: Settings) -> str:
    """Return settings as a text for the metadata of a store."""
    return json.dumps(asdict(settings))


def asked(text: str, k: int, description: Any) -> NDArray[np.float32]:
    """Return the vector of a query for a store that ``add`` has filled.

    Raises OllamaMagicsError if the store has no settings of an index.
    """
    if not isinstance(text, str) or not text.strip():
        raise OllamaMagicsError("The query is a text of at least one word.")
    if not isinstance(k, int) or k < 1:
        raise OllamaMagicsError("k is a positive integer, the number of records.")
    if not description:
        raise OllamaMagicsError("This store has no settings of an index: fill it with add.")
    return query_vector(Servers.find(), Settings(**json.loads(description)), text)


def scored(frame: pd.DataFrame, vectors: Any, query: NDArray[np.float32]) -> pd.DataFrame:
    """Return records with their cosine similarity to a query, whatever distance a store has."""
    if frame.empty:
        return frame.assign(similarity=np.empty(0))
    similarity = np.asarray(list(vectors), np.float32) @ query
    frame = frame.assign(similarity=similarity.astype(np.float64))
    return frame.sort_values("similarity", ascending=False, kind="stable")
