"""Loading a model as a LoadSpec asks for: placement, contexts, and what they cost."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import llama_cpp.llama_cpp as llama

from ..library.gguf import Header, InvalidGGUF, read_header
from .devices import Device, devices, physical_threads
from .drafter import Drafter, check_vocabulary
from .estimate import Estimator, Shape
from .footprint import Demand, Weights, has_states, layer_count
from .llama_context import LlamaContext
from .llama_log import Buffer, LlamaLog
from .llama_model import LlamaModel, LoadError, load_adapters
from .memory_plan import MemoryShortage, Placement, place, plan
from .protocol import LoadSpec
from .rpc import add_workers

if TYPE_CHECKING:
    from .vision import Vision

log = logging.getLogger(__name__)

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
        beside = [*spec.adapters, *spec.projectors[:1]]
        self.weights = Weights.of(self._header, sum(Path(path).stat().st_size for path in beside))
        with self._explaining():
            self.placement, self._shape = self._plan_anywhere(self._shapes(spec.num_ctx))
            draft = self._plan_draft(Path(spec.draft)) if spec.draft else None
            with self._weighing("weights", self.weights):
                self.model = self._load(spec.model, self.placement)
                self._adapters = load_adapters(self.model, spec.adapters)
            self._draft = self._load_draft(spec.draft, *draft) if spec.draft and draft else None
            self.vision = self._load_vision(spec.projectors)

    def _load(self, path: str, placement: Placement) -> LlamaModel:
        return LlamaModel(
            path,
            gpu_layers=placement.gpu_layers,
            only_gpu=placement.only_gpu,
            tensor_split=placement.shares,
            use_mmap=self.spec.use_mmap,
        )

    def _load_vision(self, projectors: Sequence[str]) -> Vision | None:
        """Load the projector that makes images embeddings; of several the first."""
        if not projectors or self._is_encoder:
            return None
        # libmtmd and Pillow are loaded when they are needed first.
        from llama_cpp.mtmd_cpp import mtmd_helper_log_set

        from .vision import Vision

        self.log.hear(mtmd_helper_log_set)
        size = Path(projectors[0]).stat().st_size
        with self.log.account("projector") as buffers:
            vision = Vision(
                projectors[0],
                self.model,
                threads=self._threads,
                batch=self._shape.batch,
                use_gpu=self.placement.gpu_layers != 0,
            )
            buffers.append(Buffer("model", not self.placement.gpu_layers, size))
        return vision

    @contextmanager
    def _weighing(self, owner: str, weights: Weights) -> Iterator[None]:
        """Book what is loaded meanwhile."""
        with self.log.account(owner) as buffers:
            yield
            # Weights that the CPU wants in another order are mapped as well as copied; they count
            # once, since the kernel drops what is mapped and not used.
            mapped = sum(buffer.size for buffer in buffers if buffer.on_host)
            once = Buffer("model", True, min(mapped, weights.total))
            buffers[:] = [once, *(buffer for buffer in buffers if not buffer.on_host)]

    def _plan_draft(self, path: Path) -> tuple[Weights, Placement] | None:
        """Place the draft model where the model leaves room; None if it cannot be used."""
        with _or_without_draft():
            header = read_header(path)
            if self._is_encoder or has_states(self._header):
                raise LoadError("this model cannot take tokens back")
            if has_states(header) or header.get("pooling_type") is not None:
                raise LoadError(f"a {header.architecture} model cannot draft")
            weights, free = Weights.of(header), self._left(devices())
            fit = partial(place, weights, devices=free)
            with self._estimator(str(path), header, free) as estimator:
                return weights, plan([self._draft_shape], estimator, fit, free)[0]
        return None

    def _left(self, free: Sequence[Device]) -> list[Device]:
        """What the model and its context will leave of the devices."""
        with self._estimator(self.spec.model, self._header, free) as estimator:
            demand = estimator.measured(self._shape)
        host, gpus = self.placement.needs(self.weights, demand)
        needs = iter(gpus)
        return [
            replace(device, free=device.free - (host if device.is_cpu else next(needs, 0)))
            for device in free
        ]

    @property
    def _draft_shape(self) -> Shape:
        """The draft model keeps as many tokens as the model does, but no prefixes for later."""
        return self._shape._replace(sequences=self.parallel)

    def _load_draft(self, path: str, weights: Weights, placement: Placement) -> LlamaModel | None:
        """Load the draft model. Raises LoadError if its vocabulary is another one.

        What llama.cpp cannot load, such as the heads that Ollama has for some models, is left out.
        """
        model = None
        with _or_without_draft(), self._weighing("draft weights", weights):
            model = self._load(path, placement)
        if model:
            check_vocabulary(self.model, model)
        return model

    def drafter(self) -> Drafter | None:
        """Make what drafts beside the batch loop; None if there is no draft model."""
        if self._draft is None:
            return None
        with _or_without_draft():
            with self.log.account("draft"):
                context = self._context(self._draft, self._draft_shape)
            return Drafter(self._draft, context, self.model.n_vocab)
        return None

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

        with self._estimator(self.spec.model, self._header, free) as estimator:
            return plan(shapes, estimator, place_for, free)

    def _plan_anywhere(self, shapes: Sequence[Shape]) -> tuple[Placement, Shape]:
        """Plan for this host, and for the workers as well where it has no room for all layers.

        A ``tensor_split`` with parts for more GPUs than there are here asks for them, too.
        """
        workers, split = self.spec.rpc_servers, self.spec.tensor_split
        if workers and len(split) <= sum(not device.is_cpu for device in devices()):
            with suppress(MemoryShortage):
                placement, shape = self._plan(shapes)
                if placement.is_full:
                    return placement, shape
        if workers:
            add_workers(workers, self.weights.total)
        return self._plan(shapes)

    @contextmanager
    def _estimator(self, path: str, header: Header, free: Sequence[Device]) -> Iterator[Estimator]:
        has_gpu = any(not device.is_cpu for device in free)
        estimator = Estimator(
            path,
            header,
            self.log,
            self.spec.kv_cache_type,
            self._context,
            gpu_layers=layer_count(header) + 1 if has_gpu else 0,
        )
        try:
            yield estimator
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


@contextmanager
def _or_without_draft() -> Iterator[None]:
    """Let what fails here cost the draft model, not the load."""
    try:
        yield
    except (LoadError, InvalidGGUF) as error:
        log.warning("The model is loaded without its draft model: %s", error)
