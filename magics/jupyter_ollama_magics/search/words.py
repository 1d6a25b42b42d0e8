"""BM25: the chunks that share rare words with a query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..failures import OllamaMagicsError

WORD = r"(?u)\w+"


class Words:
    """The words of texts, in lower case and without a list of words to skip."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._count = len(texts)
        self._library = _library()
        self._index = self._library.BM25()
        self._empty = not any(self._words([text])[0] for text in texts)
        if not self._empty:
            self._index.index(self._words(list(texts)), show_progress=False)

    def scores(self, query: str) -> NDArray[np.float32]:
        """Return the score of each text, 0 where it shares no word with ``query``."""
        words = [word for word in self._words([query])[0] if word in self._known]
        if not words:
            return np.zeros(self._count, np.float32)
        return np.asarray(self._index.get_scores(words), np.float32)

    @property
    def _known(self) -> dict[str, int]:
        return {} if self._empty else self._index.vocab_dict

    def _words(self, texts: list[str]) -> list[list[str]]:
        words: Any = self._library.tokenize(
            texts, token_pattern=WORD, stopwords=None, return_ids=False, show_progress=False
        )
        return list(words)


def _library() -> Any:
    try:
        import bm25s
    except ImportError:
        raise OllamaMagicsError(
            'hybrid=True needs bm25s: %pip install "jupyter-ollama-magics[search]"'
        ) from None
    return bm25s
