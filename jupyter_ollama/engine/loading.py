"""Loading a model as a LoadSpec asks for: placement, contexts, and what they cost."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import llama_cpp.llama_cpp as llama

from ..library.gguf import read_header
from .devices import Device, devices, physical_threads
from .estimate import Estimator, Shape
from .footprint import Demand, Weights, has_states
from .llama_context import LlamaContext
from .llama_log import Buffer, LlamaLog
from .llama_model import LlamaModel, LoadError, load_adapters
from .memory_plan import MemoryShortage, Placement, place, plan
from .protocol import LoadSpec

DEFAULT_PARALLEL = 16
"""Requests that run at once if nobody says; they share DEFAULT_CONTEXTS times num_ctx KV cells,
fewer where memory is short."""
DEFAULT_CONTEXTS = 4
SEQUENCE_IDS = 64
"""Sequences that a KV cache tells apart, those that only keep a prefix among them."""
PREFIX_IDS = 48
"""Ids left for prefixes, at least, when all requests run."""
EMBED_PARALLEL = 64
EMBED_CONTEXTS = 4
"""Batches of texts that a CPU computes at once, at most, each on its part of the threads."""


class LoadedModel:
    """A model and the ways to make contexts for it."""

    def __init__(self, spec: LoadSpec) -> None:
        """Load the weights if they and a context have room.

        Raises MemoryShortage before anything is allocated, LoadError with what llama.cpp said.
        """
        self.log = LlamaLog()
        self.spec = spec
        llama.llama_backend_init()
        self._threads = min(max(spec.num_thread, 0), os.cpu_count() or 1) or physical_threads()
        self._header = read_header(Path(spec.model))
        adapters = sum(Path(path).stat().st_size for path in spec.adapters)
        self.weights = Weights.of(self._header, adapters)
        with self._explaining():
            self.placement, self._shape = self._plan(self._shapes(spec.num_ctx))
            self.model = self._load()

    def _load(self) -> LlamaModel:
        with self.log.account("weights") as buffers:
            model = LlamaModel(
                self.spec.model,
                gpu_layers=self.placement.gpu_layers,
                only_gpu=self.placement.only_gpu,
                tensor_split=self.placement.shares,
                use_mmap=self.spec.use_mmap,
            )
            self._adapters = load_adapters(model, self.spec.adapters)
            # Weights that the CPU wants in another order are mapped as well as copied; they count
            # once, since the kernel drops what is mapped and not used.
            mapped = sum(buffer.size for buffer in buffers if buffer.on_host)
            once = Buffer("model", True, min(mapped, self.weights.total))
            buffers[:] = [once, *(buffer for buffer in buffers if not buffer.on_host)]
        return model

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Add to an error what llama.cpp said of it."""
        try:
            yield
        except MemoryShortage:
            raise
        except LoadError as error:
            raise LoadError(": ".join([str(error), *self.log.errors])) from None

    @property
    def parallel(self) -> int:
        """How many generations may run at once."""
        wanted = self.spec.num_parallel or DEFAULT_PARALLEL
        return min(wanted, llama.llama_max_parallel_sequences())

    def generation_context(self, num_ctx: int | None = None) -> LlamaContext:
        """Make the context of the batch loop: many sequences over one KV cache.

        With a ``num_ctx`` it is one for longer or shorter sequences than those of the spec, beside
        the former, which stays as it is until the caller frees it. Raises MemoryShortage or
        LoadError.
        """
        with self._explaining():
            shape = self._shape
            if num_ctx is not None:
                _, shape = self._plan(self._shapes(num_ctx), self.placement)
            model = self.model.pointer
            if llama.llama_model_is_recurrent(model) or llama.llama_model_is_hybrid(model):
                shape = shape._replace(sequences=self._sequence_ids(states=True))
            return self._make("generation", shape)

    def embedding_context(self, longest: int) -> LlamaContext:
        """Make a context that embeds texts of up to ``longest`` tokens.

        An encoder must see a text in one graph, or it would pool a part of it. Generation models
        are pooled by their last token, as upstream does, and can read a text in parts. Raises
        MemoryShortage or LoadError.
        """
        with self._explaining():
            _, shape = self._plan([self._embedding_shape(longest)], self.placement)
            context = self._make("embedding", shape)
        if llama.llama_pooling_type(context.pointer) == llama.LLAMA_POOLING_TYPE_NONE:
            raise LoadError("this model has a vector for each token, none for a whole text")
        return context

    def contexts_beside(self, longest: int) -> list[LlamaContext]:
        """Make further embedding contexts for texts of up to ``longest`` tokens, to run at once.

        There are some where the CPU computes with several threads and the memory has room.
        """
        contexts: list[LlamaContext] = []
        if self._is_encoder and all(device.is_cpu for device in devices()):
            with suppress(LoadError):
                while len(contexts) < min(self._threads, EMBED_CONTEXTS) - 1:
                    contexts.append(self.embedding_context(longest))
        return contexts

    def _make(self, owner: str, shape: Shape) -> LlamaContext:
        with self.log.account(owner):
            context = self._context(self.model, shape)
            context.set_adapters(self._adapters)
        return context

    def _context(self, model: LlamaModel, shape: Shape) -> LlamaContext:
        return LlamaContext(
            model,
            cells=shape.cells,
            sequences=shape.sequences,
            batch=shape.batch,
            ubatch=shape.ubatch,
            threads=self._threads,
            kv_cache_type=self.spec.kv_cache_type,
            flash_attention=self.spec.flash_attention,
            pooling=shape.pooling,
        )

    @property
    def _is_encoder(self) -> bool:
        return self._header.get("pooling_type") is not None

    def _shapes(self, num_ctx: int) -> list[Shape]:
        """What a context for sequences of ``num_ctx`` tokens may look like, the best first."""
        if self._is_encoder:
            return [self._embedding_shape(num_ctx)]
        sequences = self._sequence_ids(states=has_states(self._header))
        parallel = self.spec.num_parallel
        shapes = []
        for contexts in [parallel] if parallel else range(DEFAULT_CONTEXTS, 0, -1):
            cells = max(num_ctx * contexts, sequences)
            # llama.cpp gives each sequence a token of a batch, and no batch more than the cells.
            batch = max(min(self.spec.num_batch, cells), sequences)
            shapes.append(Shape(cells, sequences, batch, batch))
        return shapes

    def _sequence_ids(self, *, states: bool) -> int:
        """How many sequences to tell apart; where each owns a state, that costs memory."""
        wanted = 2 * self.parallel if states else max(SEQUENCE_IDS, self.parallel + PREFIX_IDS)
        return min(wanted, llama.llama_max_parallel_sequences())

    def _embedding_shape(self, longest: int) -> Shape:
        sequences = min(EMBED_PARALLEL, llama.llama_max_parallel_sequences())
        if self._is_encoder:
            pooling = llama.LLAMA_POOLING_TYPE_UNSPECIFIED
            return Shape(longest, sequences, longest, longest, pooling)
        return Shape(longest, sequences, longest, min(longest, 512), llama.LLAMA_POOLING_TYPE_LAST)

    def _plan(
        self, shapes: Sequence[Shape], placement: Placement | None = None
    ) -> tuple[Placement, Shape]:
        """Choose among ``shapes``; a ``placement`` is that of weights already loaded."""
        free = devices()

        def place_for(demand: Demand) -> Placement:
            if placement is None:
                return self._place(demand, free)
            placement.check(self.weights.loaded(), demand, free)
            return placement

        has_gpu = any(not device.is_cpu for device in free)
        estimator = Estimator(
            self.spec.model,
            self._header,
            self.log,
            self.spec.kv_cache_type,
            self._context,
            gpu_layers=len(self.weights.layers) + 1 if has_gpu else 0,
        )
        try:
            return plan(shapes, estimator, place_for, free)
        finally:
            estimator.close()

    def _place(self, demand: Demand, free: Sequence[Device]) -> Placement:
        return place(
            self.weights,
            demand,
            free,
            num_gpu=self.spec.num_gpu,
            main_gpu=self.spec.main_gpu,
            tensor_split=self.spec.tensor_split,
        )
