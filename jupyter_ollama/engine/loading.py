"""Loading a model as a LoadSpec asks for: placement, contexts, and what they cost."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections import deque
from pathlib import Path

import llama_cpp.llama_cpp as llama

from ..library.gguf import read_header
from .devices import cache_bytes_per_token, devices, physical_threads, plan_gpu_layers
from .llama_context import LlamaContext
from .llama_model import LlamaModel, LoadError, load_adapters
from .protocol import LoadSpec

DEFAULT_PARALLEL = 16
"""Sequences of one context if nobody says; they share DEFAULT_CONTEXTS times num_ctx KV cells."""
DEFAULT_CONTEXTS = 4
EMBED_PARALLEL = 64

GGML_LOG_WARN, GGML_LOG_ERROR, GGML_LOG_CONT = 3, 4, 5

_BUFFER = re.compile(r"(\S+)\s+(?:model|KV|RS|compute|output) buffer size\s*=\s*([\d.]+) MiB")


class LlamaLog:
    """Listens to llama.cpp: repeats warnings on stderr, adds up the buffers it reports."""

    def __init__(self) -> None:
        self.errors: deque[str] = deque(maxlen=3)
        self.host_bytes = 0.0
        self.device_bytes = 0.0
        self._level = 0
        self._callback = llama.llama_log_callback(self._listen)
        llama.llama_log_set(self._callback, ctypes.c_void_p(0))

    def _listen(self, level: int, text: bytes, _: ctypes.c_void_p) -> None:
        self._level = self._level if level == GGML_LOG_CONT else level
        line = text.decode("utf-8", "replace")
        buffer = _BUFFER.search(line)
        if buffer:
            on_host = buffer[1].startswith("CPU") or buffer[1].endswith("_Host")
            size = float(buffer[2]) * 2**20
            self.host_bytes += size if on_host else 0
            self.device_bytes += 0 if on_host else size
        if self._level in (GGML_LOG_WARN, GGML_LOG_ERROR):
            sys.stderr.write(line)
        if self._level == GGML_LOG_ERROR and line.strip():
            self.errors.append(line.strip())


class LoadedModel:
    """A model and the ways to make contexts for it."""

    def __init__(self, spec: LoadSpec) -> None:
        """Load the weights. Raises LoadError with what llama.cpp said."""
        self.log = LlamaLog()
        self.spec = spec
        llama.llama_backend_init()
        header = read_header(Path(spec.model))
        self._cache_bytes = cache_bytes_per_token(header, spec.kv_cache_type)
        self._threads = min(max(spec.num_thread, 0), os.cpu_count() or 1) or physical_threads()
        gpu_layers = spec.num_gpu
        if gpu_layers < 0:
            cache = self._cache_bytes * spec.num_ctx * (spec.num_parallel or DEFAULT_CONTEXTS)
            weights = Path(spec.model).stat().st_size
            gpu_layers = plan_gpu_layers(header, weights, cache)
        try:
            self.model = LlamaModel(
                spec.model,
                gpu_layers=gpu_layers,
                main_gpu=spec.main_gpu,
                use_mmap=spec.use_mmap,
            )
            self._adapters = load_adapters(self.model, spec.adapters)
        except LoadError as error:
            raise self._explained(error) from None

    def _explained(self, error: LoadError) -> LoadError:
        return LoadError(": ".join([str(error), *self.log.errors]))

    def generation_context(self) -> LlamaContext:
        """Make the context of the batch loop: num_parallel sequences over one KV cache."""
        spec = self.spec
        sequences = spec.num_parallel or DEFAULT_PARALLEL
        cells = spec.num_ctx * (spec.num_parallel or self._affordable_contexts())
        # llama.cpp gives each sequence a token of every batch, and no batch more than the cells.
        batch = max(min(spec.num_batch, cells), sequences)
        return self._context(
            cells=max(cells, sequences),
            sequences=sequences,
            batch=batch,
            ubatch=batch,
            pooling=None,
        )

    def _affordable_contexts(self) -> int:
        """Return how many full-length contexts a quarter of the free memory holds, 1 to 4."""
        free = max((device.free for device in devices()), default=0)
        one = self._cache_bytes * self.spec.num_ctx
        return max(1, min(DEFAULT_CONTEXTS, int(free / 4 / max(one, 1))))

    def embedding_context(self, longest: int) -> LlamaContext:
        """Make a context that embeds texts of up to ``longest`` tokens.

        An encoder must see a text in one graph, or it would pool a part of it. Generation models
        are pooled by their last token, as upstream does, and can read a text in parts.
        """
        encoder = self.model.is_embedding_only
        by_model = llama.LLAMA_POOLING_TYPE_UNSPECIFIED
        context = self._context(
            cells=longest,
            sequences=min(EMBED_PARALLEL, llama.llama_max_parallel_sequences()),
            batch=longest,
            ubatch=longest if encoder else min(longest, 512),
            pooling=by_model if encoder else llama.LLAMA_POOLING_TYPE_LAST,
        )
        if llama.llama_pooling_type(context.pointer) == llama.LLAMA_POOLING_TYPE_NONE:
            raise LoadError("this model has a vector for each token, none for a whole text")
        return context

    def _context(
        self, *, cells: int, sequences: int, batch: int, ubatch: int, pooling: int | None
    ) -> LlamaContext:
        try:
            context = LlamaContext(
                self.model,
                cells=cells,
                sequences=sequences,
                batch=batch,
                ubatch=ubatch,
                threads=self._threads,
                kv_cache_type=self.spec.kv_cache_type,
                flash_attention=self.spec.flash_attention,
                pooling=pooling,
            )
            context.set_adapters(self._adapters)
        except LoadError as error:
            raise self._explained(error) from None
        return context
