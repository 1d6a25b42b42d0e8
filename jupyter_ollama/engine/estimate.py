"""What a context would take of each device's memory, before it is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import llama_cpp.llama_cpp as llama

from ..library.gguf import Header
from .footprint import Demand, has_states, layer_count, rough_demand
from .llama_context import LlamaContext
from .llama_log import LlamaLog
from .llama_model import LlamaModel

TRIAL_CELLS = 2**20
"""Cells of a trial at most: llama.cpp keeps some bytes about each, even where it allocates none."""


class Shape(NamedTuple):
    """The measures of a context: all in tokens but ``sequences`` and the type of ``pooling``."""

    cells: int
    sequences: int
    batch: int
    ubatch: int
    pooling: int | None = None


class Estimator:
    """Estimates for one GGUF; ``close`` frees what they needed."""

    def __init__(
        self,
        path: str,
        header: Header,
        log: LlamaLog,
        kv_cache_type: str,
        make_context: Callable[[LlamaModel, Shape], LlamaContext],
        *,
        gpu_layers: int,
    ) -> None:
        """``gpu_layers`` are how many a trial puts on GPUs, to see what these need."""
        self._path = path
        self._header = header
        self._log = log
        self._kv_cache_type = kv_cache_type
        self._make_context = make_context
        self._gpu_layers = gpu_layers
        self._model: LlamaModel | None = None

    def rough(self, shape: Shape) -> Demand | None:
        """Return a safe estimate from the header alone, None for models too peculiar for it."""
        return rough_demand(
            self._header,
            self._kv_cache_type,
            cells=shape.cells,
            sequences=shape.sequences,
            tokens=shape.ubatch,
        )

    def measured(self, shape: Shape) -> Demand:
        """Return what llama.cpp says it would allocate. Takes up to a second. Raises LoadError."""
        # States of recurrent models are allocated even in a trial: one is enough.
        copies = shape.sequences if has_states(self._header) else 1
        stretch = max(1.0, shape.cells / TRIAL_CELLS)
        trial = shape._replace(
            cells=int(shape.cells / stretch), sequences=shape.sequences // copies
        )
        sizes = self._try(trial)
        state = sizes["RS"]
        # The graph gathers the states of all sequences, a layer at a time.
        gathered = state / max(1, layer_count(self._header)) * (copies - 1)
        return Demand(
            cache=int((sizes["cache"] - state) * stretch + state * copies),
            compute=int(sizes["compute"] * stretch + gathered),
            outputs=int(sizes["output"] * copies),
        )

    def _try(self, shape: Shape) -> dict[str, float]:
        """Make a context that holds nothing and return what it would: bytes by use."""
        with self._log.trial() as buffers:
            self._model = self._model or LlamaModel(
                self._path, gpu_layers=self._gpu_layers, no_alloc=True
            )
            context = self._make_context(self._model, shape)
            context.close()
        sizes = {
            use: [b.size for b in buffers if b.use == use] for use in ("cache", "RS", "output")
        }
        # Devices compute one after the other, each in a buffer of its own: the largest will do.
        largest = max((b.size for b in buffers if b.use == "compute"), default=0)
        return {use: sum(found) for use, found in sizes.items()} | {"compute": largest}

    def close(self) -> None:
        """Free the model of the trials."""
        if self._model:
            llama.llama_model_free(self._model.pointer)
            self._model = None
