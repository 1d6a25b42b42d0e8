"""A request to embed texts: the next text, and the vectors that are computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .pooled_text import pooled_tokens

if TYPE_CHECKING:
    from .llama_model import LlamaModel
    from .protocol import Embed


class EmbedJob:
    """The state of a request: its next text, and the rows of the texts before it."""

    def __init__(self, command: Embed, known: dict[int, list[int]] | None = None) -> None:
        """``known`` has the tokens of texts that were tokenized ahead, by their index."""
        self.command = command
        self._known = known or {}
        self.tokens = 0
        self.ended = False
        self._rows: NDArray[np.float32] | None = None
        self._missing = len(command.texts)
        self._taken = 0
        self._next: list[int] | None = None

    def peek(self, model: LlamaModel, longest: int) -> list[int] | None:
        """Return the tokens of the next text, None after the last. Raises OllamaError.

        With a query they are the tokens of the query and the document.
        """
        command = self.command
        if self._next is None and self._taken < len(command.texts):
            num_ctx = min(command.num_ctx, longest)
            if self._taken in self._known:
                self._next = self._known.pop(self._taken)[:num_ctx]
            else:
                text = command.texts[self._taken]
                self._next = pooled_tokens(
                    model, command.query, text, num_ctx, truncate=command.truncate
                )
        return self._next

    def take(self) -> int:
        """Advance past the text that ``peek`` returned, and return its index."""
        self.tokens += len(self._next or ())
        self._next = None
        self._taken += 1
        return self._taken - 1

    def put(self, index: int, vector: NDArray[np.float32]) -> None:
        """Copy the vector of the text at ``index``."""
        if self._rows is None:
            self._rows = np.empty((len(self.command.texts), vector.size), np.float32)
        self._rows[index] = vector
        self._missing -= 1

    def result(self) -> NDArray[np.float32] | None:
        """Return the embeddings (texts, n_embd_out), None until all are computed.

        They are normalised if the command asks for it.
        """
        if self._rows is None or self._missing:
            return None
        if self.command.normalize:
            norms = np.linalg.norm(self._rows, axis=1, keepdims=True)
            self._rows /= np.maximum(norms, 1e-12)
        return self._rows
