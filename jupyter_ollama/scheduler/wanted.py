"""How a request wants its model loaded, by its options and the server's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..engine.protocol import LoadSpec
from ..errors import OllamaError
from ..options import KV_CACHE_TYPES, Options

if TYPE_CHECKING:
    from ..library.model import Model

DEFAULT_NUM_CTX = 4096
MIN_NUM_CTX = 4

LOAD_OPTIONS = (
    "num_parallel",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "tensor_split",
    "use_mmap",
    "num_thread",
    "kv_cache_type",
    "flash_attention",
)
"""What a request may name of how its model is loaded, num_ctx apart."""

Key = tuple[str, tuple[str, ...], tuple[str, ...], str | None]


class Settings(Protocol):
    """What the scheduler asks of the configuration; times in seconds, 0 is automatic."""

    keep_alive: float
    load_timeout: float
    max_loaded_models: int
    max_queue: int
    num_parallel: int
    context_length: int
    kv_cache_type: str
    flash_attention: bool | None
    pinned_models: list[str]
    rpc_servers: list[str]


class Wanted(NamedTuple):
    """A model as a request wants it; ``named`` holds those fields of the spec that it named."""

    model: Model
    spec: LoadSpec
    named: dict[str, Any]
    keep_alive: float | None
    pinned: bool

    def agrees_with(self, loaded: LoadSpec) -> bool:
        """True if what is loaded has all that was named; the length of the context apart."""
        return all(getattr(loaded, name) == value for name, value in self.named.items())


def key_of(spec: LoadSpec) -> Key:
    """Return what tells one model from another, however they are loaded."""
    return spec.model, spec.adapters, spec.projectors, spec.draft


def wanted_of(
    model: Model, options: Options, keep_alive: float | None, settings: Settings
) -> Wanted:
    """Combine a request's options with the settings. Raises OllamaError(400) if they clash."""
    num_ctx = options.num_ctx or settings.context_length or DEFAULT_NUM_CTX
    trained = model.header.metadata.get(f"{model.header.architecture}.context_length")
    if isinstance(trained, int) and trained > 0:
        num_ctx = min(num_ctx, trained)
    kv_cache_type, flash_attention = _attention(options, settings)
    spec = LoadSpec(
        model=str(model.model_path),
        adapters=tuple(map(str, model.adapter_paths)),
        projectors=tuple(map(str, model.projector_paths)),
        draft=str(model.draft_path) if model.draft_path else None,
        num_ctx=max(num_ctx, MIN_NUM_CTX),
        num_parallel=max(0, options.num_parallel) or settings.num_parallel,
        num_batch=max(1, options.num_batch),
        num_gpu=options.num_gpu,
        main_gpu=options.main_gpu,
        tensor_split=tuple(options.tensor_split),
        use_mmap=options.use_mmap,
        num_thread=options.num_thread,
        kv_cache_type=kv_cache_type,
        flash_attention=flash_attention,
        rpc_servers=tuple(settings.rpc_servers),
    )
    default = Options()
    named = {
        name: getattr(spec, name)
        for name in LOAD_OPTIONS
        if getattr(options, name) != getattr(default, name)
    }
    pinned = any(_is_named(model, name) for name in settings.pinned_models)
    return Wanted(model, spec, named, keep_alive, pinned)


def _is_named(model: Model, name: str) -> bool:
    from ..library.name import ModelName

    return ModelName.parse(name).qualified.lower() == model.name.qualified.lower()


def _attention(options: Options, settings: Settings) -> tuple[str, bool | None]:
    """Return the type of the KV cache and whether to use flash attention (None: where it can)."""
    kv_cache_type = options.kv_cache_type or settings.kv_cache_type
    flash_attention = options.flash_attention
    if flash_attention is None:
        flash_attention = settings.flash_attention
    if kv_cache_type == KV_CACHE_TYPES[0] or flash_attention is not False:
        return kv_cache_type, flash_attention
    if options.kv_cache_type or options.flash_attention is not None:
        message = (
            f'kv_cache_type "{kv_cache_type}" needs flash attention, but flash_attention is false'
        )
        raise OllamaError(400, message)
    return KV_CACHE_TYPES[0], flash_attention
