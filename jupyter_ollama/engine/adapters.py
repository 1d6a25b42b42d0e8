"""The LoRA adapters of a loaded model, in the sets that requests name by numbers.

llama.cpp applies adapters to a context, not to a sequence: all tokens of a batch are computed with
the same set. So a step of the batch loop, and a batch of texts to embed, has one set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import llama_cpp.llama_cpp as llama

from .llama_model import LoadError

if TYPE_CHECKING:
    from .llama_model import LlamaModel

NO_ADAPTERS = 0
"""The number of the empty set, with which the model itself is computed."""

FIRST_ADAPTERS = -1
"""The number of the set that is loaded with a model which has layers on a GPU."""


class AdapterSets:
    """The sets of one model. A file that is in several sets is loaded once."""

    def __init__(self, model: LlamaModel) -> None:
        self._model = model
        self._sets: dict[int, tuple[str, ...]] = {NO_ADAPTERS: ()}
        self._loaded: dict[str, Any] = {}

    def has(self, number: int) -> bool:
        """Return whether a set is loaded."""
        return number in self._sets

    def pointers(self, number: int) -> list[Any]:
        """Return the adapters of a set."""
        return [self._loaded[path] for path in self._sets[number]]

    def missing(self, paths: Iterable[str]) -> list[str]:
        """List the files that no set has."""
        return [path for path in paths if path not in self._loaded]

    def add(self, number: int, paths: Sequence[str]) -> None:
        """Load the adapters of a set. Raises LoadError, and then loads none of them."""
        self._sets[number] = tuple(paths)
        try:
            for path in self.missing(paths):
                (self._loaded[path],) = load_adapters(self._model, [path])
        except LoadError:
            self.remove(number)
            raise

    def remove(self, number: int) -> None:
        """Free the adapters of a set that no other set has. No context may apply them any more."""
        paths = self._sets.pop(number, ())
        used = Counter(path for others in self._sets.values() for path in others)
        for path in dict.fromkeys(paths):
            if not used[path] and path in self._loaded:
                llama.llama_adapter_lora_free(self._loaded.pop(path))


def load_adapters(model: LlamaModel, paths: Iterable[str]) -> list[llama.llama_adapter_lora_p]:
    """Load LoRA adapters for a model. Raises LoadError."""
    adapters = []
    for path in paths:
        adapter = llama.llama_adapter_lora_init(model.pointer, path.encode())
        if not adapter:
            raise LoadError(f"unable to load adapter: {path}")
        adapters.append(adapter)
    return adapters
