"""An index in Chroma: a collection with a record for each chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from .export import SETTINGS, asked, described, records, scored

if TYPE_CHECKING:
    from .index import SearchIndex

BATCH = 5000
"""The records of a call; Chroma takes up to 5,461."""


def add(index: SearchIndex, client: Any, name: str = "ollama") -> Any:
    """Return a new collection of Chroma with the rows, chunks and vectors of an index.

    Columns become metadata. Missing values are left out, and values of other types than text,
    numbers and booleans become texts.

    Parameters
    ----------
    index : SearchIndex
        The index.
    client : chromadb.ClientAPI
        The client, such as ``chromadb.PersistentClient("chroma")``.
    name : str
        The name of the collection; one that exists is replaced.

    Returns
    -------
    chromadb.Collection
        The collection.

    Examples
    --------
    >>> import chromadb
    >>> notes = pd.DataFrame({"text": ["A cat sleeps", "Stocks fell"]})
    >>> index = notes.ollama.index("text", model="all-minilm")
    >>> collection = add(index, chromadb.EphemeralClient(), "notes")
    >>> query(collection, "kitten", k=1)["text"].tolist()
    ['A cat sleeps']
    """
    found = records(index)
    if name in {collection.name for collection in client.list_collections()}:
        client.delete_collection(name)
    collection = client.create_collection(
        name,
        metadata={SETTINGS: described(index.settings)},
        configuration={"hnsw": {"space": "cosine"}},
        embedding_function=None,
    )
    rows = found.rows.rename(columns=str).to_dict("records")
    for start in range(0, len(rows), BATCH):
        part = slice(start, start + BATCH)
        collection.add(
            ids=found.ids[part],
            embeddings=found.vectors[part],
            documents=found.chunks[part],
            metadatas=[_metadata(row) for row in rows[part]],
        )
    return collection


def query(
    collection: Any, text: str, k: int = 5, where: dict[str, Any] | None = None
) -> pd.DataFrame:
    """Return the ``k`` records of a collection nearest to a text, best first.

    Parameters
    ----------
    collection : chromadb.Collection
        A collection of `add`.
    text : str
        The query; it is embedded by the model of the index, with its prefix.
    k : int
        The number of records.
    where : dict, optional
        A condition of Chroma on the metadata, such as ``{"year": {"$gt": 2020}}``.

    Returns
    -------
    DataFrame
        The metadata, "chunk" and "similarity", with the ids as index.

    Raises
    ------
    OllamaMagicsError
        If the collection is not one of `add`, or the server lacks the model.
    """
    vector = asked(text, k, (collection.metadata or {}).get(SETTINGS))
    found = collection.query(
        query_embeddings=[vector],
        n_results=k,
        where=where,
        include=["metadatas", "documents", "embeddings"],
    )
    frame = pd.DataFrame(list(found["metadatas"][0]), index=found["ids"][0])
    frame = frame.assign(chunk=found["documents"][0])
    return scored(frame, found["embeddings"][0], vector)


def _metadata(row: dict[Any, Any]) -> dict[str, str | int | float | bool] | None:
    values: dict[str, str | int | float | bool] = {}
    for name, value in row.items():
        if pd.api.types.is_scalar(value) and pd.isna(value):
            continue
        value = value.item() if hasattr(value, "item") else value
        values[name] = value if isinstance(value, str | int | float | bool) else str(value)
    return values or None
