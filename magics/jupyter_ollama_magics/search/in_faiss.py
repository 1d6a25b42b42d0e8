"""An index in FAISS: the vectors of the chunks, numbered as in the index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..failures import OllamaMagicsError
from .export import asked, described

if TYPE_CHECKING:
    import pandas as pd

    from .index import SearchIndex


def add(index: SearchIndex, target: Any = None) -> Any:
    """Return an index of FAISS with the vectors of an index.

    Parameters
    ----------
    index : SearchIndex
        The index.
    target : faiss.Index, optional
        An empty index to fill, which is trained if it needs to be, such as
        ``faiss.IndexHNSWFlat(384, 32)``. By default an exact one.

    Returns
    -------
    faiss.Index
        ``target``, or a new ``IndexFlatIP``. Its numbers are those of the chunks: use it with the
        index it was made of, until that is updated.

    Raises
    ------
    OllamaMagicsError
        If faiss is not installed, or ``target`` has vectors or another number of dimensions.

    Examples
    --------
    >>> notes = pd.DataFrame({"text": ["A cat sleeps", "Stocks fell"]})
    >>> index = notes.ollama.index("text", model="all-minilm")
    >>> query(add(index), index, "kitten", k=1)["text"].tolist()
    ['A cat sleeps']
    """
    try:
        import faiss
    except ImportError:
        raise OllamaMagicsError(
            'FAISS is missing: %pip install "jupyter-ollama-magics[faiss]"'
        ) from None
    vectors = index.loaded().vectors.array
    target = faiss.IndexFlatIP(vectors.shape[1]) if target is None else target
    if target.ntotal or target.d != vectors.shape[1]:
        raise OllamaMagicsError(f"target is an empty index of {vectors.shape[1]} dimensions.")
    if not target.is_trained:
        target.train(vectors)
    target.add(vectors)
    return target


def query(target: Any, index: SearchIndex, text: str, k: int = 5) -> pd.DataFrame:
    """Return the rows of the ``k`` chunks that FAISS finds nearest to a text, best first.

    Parameters
    ----------
    target : faiss.Index
        The index of FAISS that `add` has made of ``index``.
    index : SearchIndex
        The index.
    text : str
        The query.
    k : int
        The number of chunks.

    Returns
    -------
    DataFrame
        The rows, with the columns "similarity" and "chunk"; a row may have several chunks.

    Raises
    ------
    OllamaMagicsError
        If ``index`` was updated since, or the server lacks the model.
    """
    loaded = index.loaded()
    if target.ntotal != len(loaded.texts):
        raise OllamaMagicsError("The index was updated: fill an index of FAISS with add again.")
    vector = asked(text, k, described(index.settings))
    _, found = target.search(vector[None], min(k, max(target.ntotal, 1)))
    chunks = [chunk for chunk in found[0].tolist() if chunk >= 0]
    pairs = [
        (position, chunk)
        for chunk in chunks
        for position in loaded.positions(int(loaded.texts[chunk])).tolist()
    ]
    texts = dict(zip(chunks, loaded.chunk_texts(chunks), strict=True))
    values = loaded.vectors.array[[chunk for _, chunk in pairs]] @ vector
    return index.rows([position for position, _ in pairs]).assign(
        similarity=values.astype(float), chunk=[texts[chunk] for _, chunk in pairs]
    )
