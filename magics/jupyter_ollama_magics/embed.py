"""The embeddings of ``%embed``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .failures import OllamaMagicsError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from jupyter_ollama_client.client import Client

BATCH_TEXTS = 256
BATCH_CHARACTERS = 500_000
"""The most texts and characters of a request; a longer text is sent alone."""


def embed(
    value: Any,
    client: Client,
    model: str,
    dimensions: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray | pd.DataFrame:
    """Embed texts.

    A Series or a one-column DataFrame gives a DataFrame of float32 with the same index and columns
    0 … d-1, another sequence of n texts an array (n, d), one text an array (d,). Missing values
    give rows of NaN. Equal texts are sent once. ``progress`` is called with the
    numbers of texts done and of all texts.
    """
    import pandas as pd

    if isinstance(value, str):
        vector: np.ndarray = _matrix([value], client, model, dimensions, progress)[0]
        return vector
    if isinstance(value, pd.DataFrame):
        if value.shape[1] != 1:
            raise OllamaMagicsError(
                f"Which of the {value.shape[1]} columns? Give one: %embed df.text"
            )
        value = value.iloc[:, 0]
    if isinstance(value, Sequence | pd.Series | pd.Index) or hasattr(value, "__array__"):
        rows = _matrix(list(value), client, model, dimensions, progress)
        return pd.DataFrame(rows, index=value.index) if isinstance(value, pd.Series) else rows
    raise OllamaMagicsError(f"%embed takes texts, not {type(value).__name__}.")


def _matrix(
    items: list[Any],
    client: Client,
    model: str,
    dimensions: int | None,
    progress: Callable[[int, int], None],
) -> np.ndarray:
    import numpy as np

    texts = [text_of(item, row) for row, item in enumerate(items)]
    unique_texts = dict.fromkeys(text for text in texts if text is not None)
    places = {text: place for place, text in enumerate(unique_texts)}
    parts = []
    done = 0
    progress(done, len(places))
    for batch in batches(list(places)):
        vectors = client.embed(model, batch, dimensions=dimensions)["embeddings"]
        if vectors.ndim != 2 or len(vectors) != len(batch):
            raise OllamaMagicsError(f"{model} did not answer with one vector for each text.")
        parts.append(vectors)
        done += len(batch)
        progress(done, len(places))
    if not parts:
        return np.full((len(items), dimensions or 0), np.nan, dtype=np.float32)
    unique = np.concatenate(parts)
    result = np.full((len(items), unique.shape[1]), np.nan, dtype=np.float32)
    given = {row: places[text] for row, text in enumerate(texts) if text is not None}
    result[list(given)] = unique[list(given.values())]
    return result


def text_of(item: Any, row: Any, who: str = "%embed") -> str | None:
    """Return a text as a str, None for a missing value. Raises OllamaMagicsError for others."""
    if isinstance(item, str):
        return str(item)
    import pandas as pd

    if pd.api.types.is_scalar(item) and pd.isna(item):
        return None
    kind = type(item).__name__
    raise OllamaMagicsError(f"{who} takes texts, but item {row} is {kind}. Try .astype(str).")


def batches(texts: list[str]) -> Iterator[list[str]]:
    """Split texts into the batches of requests."""
    batch: list[str] = []
    size = 0
    for text in texts:
        if batch and (len(batch) == BATCH_TEXTS or size + len(text) > BATCH_CHARACTERS):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    if batch:
        yield batch


class ProgressLine:
    """A line of progress in a notebook, shown after AFTER seconds."""

    AFTER = 2.0

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._handle: Any = None

    def __call__(self, done: int, total: int) -> None:
        """Show the progress."""
        seconds = time.monotonic() - self._started
        if seconds >= self.AFTER and done < total:
            self._show(f"{done} of {total} texts embedded, {done / seconds:.0f}/s")

    def clear(self) -> None:
        """Empty the line."""
        if self._handle is not None:
            self._show("")

    def _show(self, text: str) -> None:
        from IPython.display import DisplayHandle

        begun, self._handle = self._handle, self._handle or DisplayHandle()
        draw = self._handle.update if begun else self._handle.display
        draw({"text/plain": text}, raw=True)
