"""Loading a model by a LoadSpec: weights, projector, draft model, contexts, and their memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import llama_cpp.llama_cpp as llama

from ..layout.errors import LayoutError
from ..layout.model_file import ModelFile
from ..library.gguf import InvalidGGUF
from .adapters import FIRST_ADAPTERS, AdapterSets
from .devices import devices
from .drafter import Drafter
from .dynamic_backends import load_backends
from .estimate import Shape
from .footprint import Demand, Weights
from .llama_context import LlamaContext
from .llama_file import return_pages
from .llama_internals import Buffer, log_faults, log_missing_sizes
from .llama_log import LlamaLog
from .llama_model import LlamaModel, LoadError
from .load_plan import Freed, LoadPlan
from .memory_plan import MemoryShortage, Placement
from .model_drafter import ModelDrafter, check_vocabulary
from .mtp_drafter import MtpDrafter
from .protocol import LoadSpec

if TYPE_CHECKING:
    from ..layout.virtual_file import VirtualFile
    from .vision import Vision

log = logging.getLogger(__name__)

EMBED_CONTEXTS = 4
"""Batches of texts that a CPU computes at once, at most, each on its part of the threads."""


GENERATION, PREFILL = "generation", "prefill"
"""The owners of the buffers of the context of the batch loop and of the one for long prompts."""

Announce = Callable[[Placement, list[str]], None]


class _Projector(NamedTuple):
    """The projector of a model: its path or the view of it, and its bytes in memory."""

    file: str | VirtualFile
    size: int


class ModelLoader:
    """A loaded model, and the methods that make contexts for it."""

    def __init__(self, spec: LoadSpec, announce: Announce | None = None) -> None:
        """Load the weights if they and a context fit into memory.

        ``announce`` gets the plan before the load, and the faults of backends. Raises
        MemoryShortage before anything is allocated, LoadError with llama.cpp's messages.
        """
        self.log = LlamaLog()
        self.spec = spec
        llama.llama_backend_init()
        backends = load_backends(spec.backends)
        log_faults()
        file = _open(spec.model)
        self._projector = self._find_projector(file)
        beside = sum(Path(path).stat().st_size for path in spec.adapters)
        if self._projector:
            beside += self._projector.size
        self.plan = LoadPlan(spec, file, self.log, beside)
        with self._explaining():
            self.plan.place_model()
            draft = self._plan_draft(spec.draft) if spec.draft else None
            if announce:
                announce(
                    self.plan.placement,
                    [f"{one.path} is not used: {one.fault}" for one in backends if one.fault],
                )
            with self._weighing("weights", file, self.plan.weights, self.plan.placement):
                self.model = self._load(file, self.plan.placement, with_heads=self.plan.has_head)
            self.adapters = AdapterSets(self.model)
            if spec.adapters and self.plan.placement.gpu_layers:
                # Mesa's Vulkan driver crashes if a context was made before its first adapters.
                with self.log.account("first adapters", is_quiet=True):
                    self.adapters.add(FIRST_ADAPTERS, spec.adapters)
            self._draft = self._load_draft(*draft) if draft else None
            self.vision = self._load_vision()

    def _find_projector(self, file: ModelFile) -> _Projector | None:
        """Return the projector of images: the first such layer, or the model file itself."""
        if file.header.get("pooling_type") is not None:
            return None
        if not self.spec.projectors:
            tower = file.projector
            return _Projector(tower, tower.size) if tower else None
        projector = _open(self.spec.projectors[0])
        return _Projector(projector.view or str(projector.path), projector.header.file_size)

    @property
    def placement(self) -> str:
        """Where the layers of the model are, in words; empty if no device is a GPU."""
        plan = self.plan
        gpus = [device.name for device in plan.devices() if not device.is_cpu]
        if not gpus:
            return ""
        shares = zip(gpus, plan.placement.shares, strict=False)
        names = ", ".join(f"{share} on {name}" for name, share in shares if share)
        text = f"of {len(plan.weights.layers) + 1} layers {names or 'none on a GPU'}"
        if plan.placement.cpu_experts:
            text += f", the experts of the first {plan.placement.cpu_experts} on the host"
        return text

    def _load(
        self, file: ModelFile, placement: Placement, *, with_heads: bool = False
    ) -> LlamaModel:
        use_mmap = self.spec.use_mmap
        if use_mmap is None and placement.cpu_experts:
            # A GPU reads experts faster from memory that its driver has allocated.
            use_mmap = False
        return LlamaModel(
            file,
            gpu_layers=placement.gpu_layers,
            only_gpu=placement.only_gpu,
            tensor_split=placement.shares,
            use_mmap=use_mmap,
            with_heads=with_heads,
            cpu_experts=placement.cpu_experts,
        )

    def _load_vision(self) -> Vision | None:
        """Load the projector that turns images and sounds into embeddings, if there is one."""
        if self._projector is None:
            return None
        # libmtmd and Pillow are loaded when they are needed first.
        from llama_cpp.mtmd_cpp import mtmd_helper_log_set

        from .vision import Vision

        gpu_layers = self.plan.placement.gpu_layers
        self.log.hear(mtmd_helper_log_set)
        with self.log.account("projector") as buffers:
            vision = Vision(
                self._projector.file,
                self.model,
                threads=self.plan.threads,
                batch=self.plan.shape.batch,
                use_gpu=gpu_layers != 0,
            )
            buffers.append(Buffer("model", not gpu_layers, self._projector.size))
        return vision

    @contextmanager
    def _weighing(
        self, owner: str, file: ModelFile, weights: Weights, placement: Placement
    ) -> Iterator[None]:
        """Account for the weights of a file that are loaded in the block."""
        host, gpus = placement.needs(weights, Demand(0, 0, 0))
        with self.log.account(owner) as buffers:
            yield
            # Weights that the CPU reads in another order are mapped as well as copied; they count
            # once, since the kernel drops mapped pages that are not used. So do weights of GPUs
            # between the host's weights in a file.
            mapped = sum(buffer.size for buffer in buffers if buffer.on_host)
            if not buffers:
                log_missing_sizes()
                mapped = host
                buffers.append(Buffer("model", False, sum(gpus)))
            on_gpus = [buffer for buffer in buffers if not buffer.on_host]
            others = host + sum(gpus) - sum(buffer.size for buffer in on_gpus)
            buffers[:] = [Buffer("model", True, min(mapped, others)), *on_gpus]
        # Where most weights are copied, their pages are returned at once.
        copied = max(0, mapped - others) + sum(buffer.size for buffer in on_gpus)
        if 2 * copied > host + sum(gpus):
            with suppress(OSError):
                return_pages(file.path)

    def _plan_draft(self, path: str) -> tuple[ModelFile, Weights, Placement] | None:
        """Place the draft model; None if it cannot be used."""
        with _or_without_draft():
            file = _open(path)
            return file, *self.plan.place_draft(file)
        return None

    def _load_draft(
        self, file: ModelFile, weights: Weights, placement: Placement
    ) -> LlamaModel | None:
        """Load the draft model. Raises LoadError if its vocabulary is another one.

        Files that llama.cpp cannot load, such as Ollama's heads of some models, are left out.
        """
        model = None
        with _or_without_draft(), self._weighing("draft weights", file, weights, placement):
            model = self._load(file, placement)
        if model:
            check_vocabulary(self.model, model)
        return model

    def drafter(self) -> Drafter | None:
        """Make the drafter of the batch loop; None without a head or a draft model."""
        plan = self.plan
        with _or_without_draft(), self.log.account("draft"):
            if plan.has_head:
                return MtpDrafter(self.model, plan.make_context(self.model, plan.head_shape))
            if self._draft:
                context = plan.make_context(self._draft, plan.draft_shape)
                return ModelDrafter(self._draft, context, self.model.n_vocab)
        return None

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Add llama.cpp's messages to an error."""
        try:
            yield
        except MemoryShortage:
            raise
        except LoadError as error:
            raise LoadError(": ".join([str(error), *self.log.errors])) from None

    def generation_context(self, num_ctx: int | None = None) -> LlamaContext:
        """Make the context of the batch loop: many sequences over one KV cache.

        With a ``num_ctx`` it is one for longer or shorter sequences than those of the spec, beside
        the former, which stays as it is until the caller frees it. Raises MemoryShortage or
        LoadError.
        """
        with self._explaining():
            shape = self.plan.generation_shape(num_ctx)
            model = self.model.pointer
            if llama.llama_model_is_recurrent(model) or llama.llama_model_is_hybrid(model):
                shape = shape._replace(sequences=self.plan.sequence_ids(states=True))
            return self._make(GENERATION, shape)

    def fits_in_place(self, num_ctx: int) -> bool:
        """Return whether memory holds a generation context if the present one is freed."""
        try:
            self.plan.generation_shape(num_ctx, Freed(*_sizes(self.log.held(GENERATION))))
        except LoadError:
            return False
        return True

    def prefill_context(self, cells: int) -> LlamaContext:
        """Make a context that reads one long prompt at a time, of up to ``cells`` tokens.

        Raises MemoryShortage or LoadError.
        """
        with self._explaining():
            return self._make(PREFILL, self.plan.prefill_shape(cells))

    def free_prefill_context(self, context: LlamaContext) -> None:
        """Free a context of `prefill_context`."""
        context.close()
        self.log.forget(PREFILL)

    def embedding_context(self, longest: int) -> LlamaContext:
        """Make a context that embeds texts of up to ``longest`` tokens.

        An encoder must see a text in one graph, or it would pool a part of it. Generation models
        are pooled by their last token, as upstream does, and read a text in parts, as do embedding
        models with causal attention and the same pooling. Raises MemoryShortage or LoadError.
        """
        with self._explaining():
            context = self._make("embedding", self.plan.embedding_shape(longest))
        if llama.llama_pooling_type(context.pointer) == llama.LLAMA_POOLING_TYPE_NONE:
            raise LoadError("this model has a vector for each token, none for a whole text")
        return context

    def contexts_beside(self, longest: int) -> list[LlamaContext]:
        """Make further embedding contexts for texts of up to ``longest`` tokens, to run at once.

        There are some where the CPU computes with several threads and memory is left.
        """
        contexts: list[LlamaContext] = []
        if self.plan.is_encoder and all(device.is_cpu for device in devices()):
            with suppress(LoadError):
                while len(contexts) < min(self.plan.threads, EMBED_CONTEXTS) - 1:
                    contexts.append(self.embedding_context(longest))
        return contexts

    def _make(self, owner: str, shape: Shape) -> LlamaContext:
        with self.log.account(owner):
            context = self.plan.make_context(self.model, shape, self.adapters)
            if self.adapters.has(FIRST_ADAPTERS):
                context.apply(FIRST_ADAPTERS)
            return context

    def load_adapters(self, number: int, paths: Sequence[str]) -> tuple[int, int]:
        """Load a set of adapters; return their bytes, all of them and those not on the host.

        Raises MemoryShortage before anything is allocated, LoadError with llama.cpp's messages.
        """
        with self._explaining():
            missing = self.adapters.missing(paths)
            self.plan.check_adapters(sum(Path(path).stat().st_size for path in missing))
            self.log.errors.clear()
            # llama.cpp warns of each matrix that a CPU could have in another order.
            with self.log.account(f"adapters {number}", is_quiet=True) as buffers:
                self.adapters.add(number, paths)
        on_host, elsewhere = _sizes(buffers)
        return on_host + elsewhere, elsewhere

    def free_adapters(self, number: int) -> None:
        """Free a set of adapters that no context applies."""
        self.adapters.remove(number)
        self.log.forget(f"adapters {number}")


def _sizes(buffers: Sequence[Buffer]) -> tuple[int, int]:
    """Return the bytes of buffers on the host, and elsewhere."""
    on_host, elsewhere = (
        int(sum(buffer.size for buffer in buffers if buffer.on_host == wanted))
        for wanted in (True, False)
    )
    return on_host, elsewhere


def _open(path: str) -> ModelFile:
    """Open a file as llama.cpp reads it. Raises LoadError for one that cannot be."""
    try:
        return ModelFile(Path(path))
    except LayoutError as error:
        raise LoadError(f"unable to load model: {path}: {error}") from error


@contextmanager
def _or_without_draft() -> Iterator[None]:
    """Continue without the draft model if the block fails."""
    try:
        yield
    except (LoadError, InvalidGGUF) as error:
        log.warning("The model is loaded without its draft model: %s", error)
