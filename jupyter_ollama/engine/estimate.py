"""Estimates of the memory that a context needs on each device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import llama_cpp.llama_cpp as llama

from ..layout.model_file import ModelFile
from .footprint import Demand, has_states, layer_count, rough_demand
from .llama_context import LlamaContext
from .llama_internals import log_missing_sizes
from .llama_log import LlamaLog
from .llama_model import LlamaModel

TRIAL_CELLS = 2**20
"""The most cells of a trial: llama.cpp stores some bytes for each, even without a cache."""


class Shape(NamedTuple):
    """The sizes of a context, in tokens except for ``sequences`` and the type of ``pooling``.

    ``snapshots`` are the tokens that a recurrent model can take back; ``is_head`` makes it the
    context of the model's head.
    """

    cells: int
    sequences: int
    batch: int
    ubatch: int
    pooling: int | None = None
    snapshots: int = 0
    is_head: bool = False


class Estimator:
    """Estimates for one GGUF; ``close`` frees the models of its trials."""

    def __init__(
        self,
        file: ModelFile,
        log: LlamaLog,
        kv_cache_type: str,
        make_context: Callable[[LlamaModel, Shape], LlamaContext],
        *,
        gpu_layers: int,
        with_heads: bool = False,
        largest_experts: int = 0,
    ) -> None:
        """``gpu_layers`` is the number of layers that a trial puts on GPUs, to measure these.

        With ``largest_experts``, the most bytes that the routed experts of a layer have, it is also
        measured what layers take whose experts stay on the host.
        """
        self._file = file
        self._header = file.header
        self._log = log
        self._kv_cache_type = kv_cache_type
        self._make_context = make_context
        self._gpu_layers = gpu_layers
        self._with_heads = with_heads
        self._largest_experts = largest_experts
        self._models: dict[int, LlamaModel] = {}

    def rough(self, shape: Shape) -> Demand | None:
        """Return a safe estimate from the header alone, None for unusual models."""
        demand = rough_demand(
            self._header,
            self._kv_cache_type,
            cells=shape.cells,
            sequences=shape.sequences,
            tokens=shape.ubatch,
        )
        if demand and self._largest_experts:
            # A GPU that computes a prompt with experts of the host copies the experts of a layer.
            return replace(demand, divided=demand.compute + self._largest_experts)
        return demand

    def measured(self, shape: Shape) -> Demand:
        """Return the sizes that llama.cpp would allocate, in up to a second. Raises LoadError."""
        # States of recurrent models are allocated even in a trial: one is enough.
        copies = shape.sequences if has_states(self._header) else 1
        stretch = max(1.0, shape.cells / TRIAL_CELLS)
        trial = shape._replace(
            cells=int(shape.cells / stretch), sequences=shape.sequences // copies
        )
        sizes = self._try(trial, 0)
        if not sizes["compute"]:
            log_missing_sizes()
            return self.rough(shape) or Demand(0, 0, 0)
        state = sizes["RS"]
        # The graph gathers the states of all sequences, a layer at a time.
        gathered = state / max(1, layer_count(self._header)) * (copies - 1)
        demand = Demand(
            cache=int((sizes["cache"] - state) * stretch + state * copies),
            compute=int(sizes["compute"] * stretch + gathered),
            outputs=int(sizes["output"] * copies),
        )
        if not self._largest_experts:
            return demand
        # Where only some layers have their experts on the host, the others compute as above.
        divided = self._try(trial, layer_count(self._header))["compute"]
        return replace(demand, divided=max(demand.compute, int(divided * stretch + gathered)))

    def _try(self, shape: Shape, cpu_experts: int) -> dict[str, float]:
        """Make a context without allocating its buffers, and return their bytes by use."""
        with self._log.trial() as buffers:
            if cpu_experts not in self._models:
                self._models[cpu_experts] = LlamaModel(
                    self._file,
                    gpu_layers=self._gpu_layers,
                    no_alloc=True,
                    with_heads=self._with_heads,
                    cpu_experts=cpu_experts,
                )
            context = self._make_context(self._models[cpu_experts], shape)
            context.close()
        sizes = {
            use: [b.size for b in buffers if b.use == use] for use in ("cache", "RS", "output")
        }
        # Devices compute one after the other, each in a buffer of its own: the largest counts.
        largest = max((b.size for b in buffers if b.use == "compute"), default=0)
        return {use: sum(found) for use, found in sizes.items()} | {"compute": largest}

    def close(self) -> None:
        """Free the models of the trials."""
        while self._models:
            llama.llama_model_free(self._models.popitem()[1].pointer)
