"""The plan of a load: which devices take the layers, and the shapes of contexts that fit."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import llama_cpp.llama_cpp as llama

from ..layout.model_file import ModelFile
from .adapters import AdapterSets
from .context_length import default_num_ctx, shorter_than
from .devices import Device, devices, physical_threads
from .estimate import Estimator, Shape
from .footprint import Demand, Weights, has_states, layer_count
from .llama_context import LlamaContext
from .llama_log import LlamaLog
from .llama_model import LlamaModel, LoadError
from .memory_plan import MemoryShortage, Placement, place, plan
from .mtp import can_draft, head_layers
from .protocol import LoadSpec
from .rpc import add_workers

log = logging.getLogger(__name__)

DEFAULT_PARALLEL = 16
"""Requests that run at once by default; they share DEFAULT_CONTEXTS times num_ctx KV cells, fewer
where memory is short."""
DEFAULT_CONTEXTS = 4
SEQUENCE_IDS = 64
"""Sequences that a KV cache distinguishes, those that only keep a prefix among them."""
PREFIX_IDS = 48
"""Ids left for prefixes, at least, when all requests run."""
SNAPSHOTS = (4, 2)
"""Tokens that a recurrent model can remove again, the best first: each costs every sequence as much
memory as its state. Without any nothing is drafted."""
HEAD_BATCH = 256
"""Tokens that the head of a model reads at once: KEPT of a few sequences, one of all."""
EMBED_PARALLEL = 64
PREFILL_BATCH = 256
"""The most tokens of a part of a prompt that is read beside streams. Parts of 512 tokens take
hardly less time than twice 256, and their operations, which streams wait for, are longer."""


class Freed(NamedTuple):
    """Bytes that will be free, on the host and on GPUs."""

    host: int
    gpus: int


class LoadPlan:
    """The placement of a model's weights, and the shapes of its contexts."""

    num_ctx: int
    default_num_ctx: int
    placement: Placement
    shape: Shape

    def __init__(self, spec: LoadSpec, file: ModelFile, log: LlamaLog, beside: int) -> None:
        """``beside`` are the bytes of files that are loaded with the model file.

        `place_model` sets the attributes that are declared above.
        """
        self.spec = spec
        self.file = file
        self.header = file.header
        self.weights = Weights.of(self.header, beside)
        self.threads = min(max(spec.num_thread, 0), os.cpu_count() or 1) or physical_threads()
        self._log = log
        # Heads on the devices of workers are untested.
        others = spec.draft or spec.rpc_servers or self.is_encoder
        self.has_head = not others and can_draft(self.header)

    @property
    def is_causal(self) -> bool:
        """True if tokens attend only to themselves and to earlier ones."""
        return self.header.get("attention.causal") is not False

    @property
    def is_encoder(self) -> bool:
        """True for models that only embed: they have a pooling type of their own."""
        return self.header.get("pooling_type") is not None

    def devices(self) -> list[Device]:
        """List the devices, without the memory that the spec reserves on GPUs."""
        return devices(reserved=self.spec.gpu_overhead)

    @property
    def parallel(self) -> int:
        """The number of generations that may run at once."""
        wanted = self.spec.num_parallel or DEFAULT_PARALLEL
        return min(wanted, int(llama.llama_max_parallel_sequences()))

    def place_model(self) -> None:
        """Place the model with its head, or without it where that does not fit.

        Raises MemoryShortage or LoadError.
        """
        if self.has_head:
            try:
                self._plan_length()
                self._check_head()
            except LoadError as error:
                log.warning("The model is loaded without the head that drafts for it: %s", error)
                self._log.errors.clear()
            else:
                return
        self.has_head = False
        self.weights = self.weights.without(head_layers(self.header))
        self._plan_length()

    def _check_head(self) -> None:
        """Raise LoadError unless the head can draft and fits without moving a layer off a GPU."""
        if has_states(self.header) and not self.shape.snapshots:
            raise LoadError("the model has no memory to take tokens back")
        if not self.placement.is_full:
            raise LoadError("the layers of the model do not all fit on the GPUs")
        free = self.devices()
        with self._estimator(self.file, free) as estimator:
            left = self._without(free, estimator.measured(self.shape))
            demand = estimator.measured(self.head_shape)
        self.placement.check(self.weights.loaded(), demand, left)

    def place_draft(self, file: ModelFile) -> tuple[Weights, Placement]:
        """Place a draft model in the memory that the model leaves free. Raises LoadError."""
        header = file.header
        if self.is_encoder or has_states(self.header):
            raise LoadError("this model cannot take tokens back")
        if has_states(header) or header.get("pooling_type") is not None:
            raise LoadError(f"a {header.architecture} model cannot draft")
        weights = Weights.of(header).without(head_layers(header))
        free = self.left_of(self.devices())
        fit = partial(place, weights, devices=free)
        with self._estimator(file, free) as estimator:
            return weights, plan([self.draft_shape], estimator, fit, free)[0]

    def left_of(self, free: Sequence[Device]) -> list[Device]:
        """Return devices with the memory that the model and its context leave free."""
        with self._estimator(self.file, free) as estimator:
            return self._without(free, estimator.measured(self.shape))

    def _without(self, free: Sequence[Device], demand: Demand) -> list[Device]:
        """Return devices with the memory that the model and a context of such a demand leave."""
        host, gpus = self.placement.needs(self.weights, demand)
        needs = iter(gpus)
        return [
            replace(device, free=device.free - (host if device.is_cpu else next(needs, 0)))
            for device in free
        ]

    @property
    def draft_shape(self) -> Shape:
        """The draft model keeps as many tokens as the model does, but no prefixes for later."""
        return self.shape._replace(sequences=self.parallel)

    @property
    def head_shape(self) -> Shape:
        """The head keeps as many tokens of running sequences as the model, and reads few."""
        batch = max(self.parallel, min(self.shape.batch, HEAD_BATCH))
        return self.draft_shape._replace(batch=batch, ubatch=batch, snapshots=0, is_head=True)

    def generation_shape(self, num_ctx: int | None, freed: Freed | None = None) -> Shape:
        """Return the shape of a context for sequences of ``num_ctx`` tokens, planned for the spec.

        With a ``num_ctx`` the weights are loaded already, and the ``freed`` memory will be free.
        Raises MemoryShortage or LoadError.
        """
        shape = self.shape
        if num_ctx is not None:
            _, shape = self._plan(self.shapes(num_ctx), self.placement, freed=freed)
        return shape

    def prefill_shape(self, cells: int) -> Shape:
        """Return the shape of a context for a prompt of up to ``cells`` tokens.

        It has a second sequence for copies. Raises MemoryShortage or LoadError.
        """
        batch = min(self.spec.num_batch, PREFILL_BATCH)
        return self._plan([Shape(cells, 2, batch, batch)], self.placement)[1]

    def embedding_shape(self, longest: int) -> Shape:
        """Return the shape of a context that embeds texts of up to ``longest`` tokens.

        Raises MemoryShortage or LoadError.
        """
        return self._plan([self._shape_to_embed(longest)], self.placement)[1]

    def shapes(self, num_ctx: int) -> list[Shape]:
        """Return the shapes of a context for sequences of ``num_ctx`` tokens, the best first."""
        if self.is_encoder:
            return [self._shape_to_embed(num_ctx)]
        sequences = self.sequence_ids(states=has_states(self.header))
        parallel = self.spec.num_parallel
        shapes = []
        for contexts in [parallel] if parallel else range(DEFAULT_CONTEXTS, 0, -1):
            cells = max(num_ctx * contexts, sequences)
            # llama.cpp gives each sequence a token of a batch, and no batch more than the cells.
            batch = max(min(self.spec.num_batch, cells), sequences)
            shape = Shape(cells, sequences, batch, batch)
            if self.has_head and has_states(self.header):
                shapes += [shape._replace(snapshots=snapshots) for snapshots in SNAPSHOTS]
            shapes.append(shape)
        return shapes

    def _shape_to_embed(self, longest: int) -> Shape:
        sequences = min(EMBED_PARALLEL, llama.llama_max_parallel_sequences())
        pooling = llama.LLAMA_POOLING_TYPE_LAST
        if self.is_encoder and self.header.get("pooling_type") != pooling:
            pooling = llama.LLAMA_POOLING_TYPE_UNSPECIFIED
        if pooling != llama.LLAMA_POOLING_TYPE_LAST or not self.is_causal:
            return Shape(longest, sequences, longest, longest, pooling)
        # A long text is read in parts, and other texts share the batch with a part.
        batch = max(min(self.spec.num_batch, longest), sequences)
        return Shape(longest + batch, sequences, batch, batch, pooling)

    def sequence_ids(self, *, states: bool) -> int:
        """Return the number of sequence ids; each costs memory where sequences own ``states``."""
        wanted = 2 * self.parallel if states else max(SEQUENCE_IDS, self.parallel + PREFIX_IDS)
        return min(wanted, int(llama.llama_max_parallel_sequences()))

    def _plan_length(self) -> None:
        """Plan for the num_ctx of the spec, else for the default or the part of it that fits."""
        trained = self.header.get("context_length")
        self.default_num_ctx = default_num_ctx(
            self.devices(), trained if isinstance(trained, int) else 0, is_encoder=self.is_encoder
        )
        asked = self.spec.num_ctx
        num_ctx = asked or self.default_num_ctx
        shapes = dict.fromkeys(self.shapes(num_ctx), num_ctx)
        lengths = () if asked else shorter_than(num_ctx, self.spec.min_num_ctx)
        shorter = {self.shapes(length)[-1]: length for length in lengths}
        self.placement, self.shape = self._plan_anywhere([*shapes], [*shorter])
        self.num_ctx = (shorter | shapes)[self.shape]
        if self.num_ctx < num_ctx:
            log.info("Memory holds a context of %d tokens, not of %d", self.num_ctx, num_ctx)
        if not asked:
            self.default_num_ctx = self.num_ctx

    def _plan_anywhere(
        self, shapes: Sequence[Shape], shorter: Sequence[Shape]
    ) -> tuple[Placement, Shape]:
        """Plan for this host, and with the workers where it has no memory for all layers.

        A ``tensor_split`` for more GPUs than this host has includes the workers, too.
        """
        workers, split = self.spec.rpc_servers, self.spec.tensor_split
        if workers and len(split) <= sum(not device.is_cpu for device in self.devices()):
            with suppress(MemoryShortage):
                placement, shape = self._plan(shapes)
                if placement.is_full:
                    return placement, shape
        if workers:
            add_workers(workers, self.weights.total)
        return self._plan(shapes, shorter=shorter)

    def _plan(
        self,
        shapes: Sequence[Shape],
        placement: Placement | None = None,
        shorter: Sequence[Shape] = (),
        freed: Freed | None = None,
    ) -> tuple[Placement, Shape]:
        """Choose among ``shapes``; ``placement`` is given for weights already loaded."""
        free = self.devices()
        if freed:
            # The parts of several GPUs are unknown: nothing is counted there.
            gpus = freed.gpus if sum(not device.is_cpu for device in free) == 1 else 0
            free = [
                replace(device, free=device.free + (freed.host if device.is_cpu else gpus))
                for device in free
            ]

        def place_for(demand: Demand) -> Placement:
            if placement is None:
                return self._place(demand, free)
            placement.check(self.weights.loaded(), demand, free)
            return placement

        with self._estimator(self.file, free) as estimator:
            return plan(shapes, estimator, place_for, free, shorter)

    @contextmanager
    def _estimator(self, file: ModelFile, free: Sequence[Device]) -> Iterator[Estimator]:
        has_gpu = any(not device.is_cpu for device in free)
        estimator = Estimator(
            file,
            self._log,
            self.spec.kv_cache_type,
            self.make_context,
            gpu_layers=layer_count(file.header) + 1 if has_gpu else 0,
            with_heads=self.has_head,
            largest_experts=max(Weights.of(file.header).experts, default=0) if has_gpu else 0,
        )
        try:
            yield estimator
        finally:
            estimator.close()

    def _place(self, demand: Demand, free: Sequence[Device]) -> Placement:
        wanted, most = self.spec.num_gpu, self.spec.most_gpu_layers
        if most is not None:
            wanted = min(wanted, most) if wanted >= 0 else most
        return place(
            self.weights,
            demand,
            free,
            num_gpu=wanted,
            num_cpu_moe=self.spec.num_cpu_moe,
            main_gpu=self.spec.main_gpu,
            tensor_split=self.spec.tensor_split,
            spread=self.spec.sched_spread,
        )

    def check_adapters(self, size: int) -> None:
        """Raise MemoryShortage unless so many bytes of adapters fit beside the loaded weights.

        They lie on the devices of the layers that they change.
        """
        layers = len(self.weights.layers)
        adapters = Weights((-(-size // max(layers, 1)),) * layers)
        self.placement.check(adapters, Demand(0, 0, 0), self.devices())

    def make_context(
        self, model: LlamaModel, shape: Shape, adapters: AdapterSets | None = None
    ) -> LlamaContext:
        """Allocate a context of a shape with the options of the spec. Raises LoadError."""
        return LlamaContext(
            model,
            cells=shape.cells,
            sequences=shape.sequences,
            batch=shape.batch,
            ubatch=shape.ubatch,
            threads=self.threads,
            kv_cache_type=self.spec.kv_cache_type,
            flash_attention=self.spec.flash_attention,
            pooling=shape.pooling,
            snapshots=shape.snapshots,
            has_states=self.has_head and shape.pooling is None,
            is_head=shape.is_head,
            adapters=adapters,
        )
