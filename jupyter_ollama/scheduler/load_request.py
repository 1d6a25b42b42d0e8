"""The load parameters of a request, from its options and the server's settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from ..engine.protocol import LoadSpec
from ..errors import OllamaError
from ..options import UNQUANTIZED, LoadOptions, Options, merge_options

if TYPE_CHECKING:
    from ..engine.runner_limits import RunnerLimits
    from ..library.model import Model

MIN_NUM_CTX = 4

LOAD_OPTIONS = tuple(name for name in LoadOptions.__struct_fields__ if name != "num_ctx")
"""The options that require another load where they differ. A shorter context needs none."""

BaseKey = tuple[str, tuple[str, ...], str | None, str]
"""The files that a runner loads once for all of its models: see `base_key_of`."""

Key = tuple[BaseKey, tuple[str, ...]]


class SchedulerSettings(Protocol):
    """The settings that the scheduler reads; times in seconds, 0 is automatic."""

    keep_alive: float
    load_timeout: float
    max_loaded_models: int
    max_queue: int
    num_parallel: int
    context_length: int
    kv_cache_type: str
    flash_attention: bool | None
    min_residence: float
    spare_runner_seconds: float
    lost_slot_seconds: float
    preparation_seconds: float
    prefix_disk_bytes: int
    prefix_dir: str
    pinned_models: list[str]
    rpc_servers: list[str]
    backend_folders: list[str]
    gpu_overhead: int
    sched_spread: bool

    @property
    def runner_limits(self) -> RunnerLimits:
        """The bounds of runners."""


class LoadRequest(NamedTuple):
    """The load that a request needs; ``named`` are the fields of the spec that it named."""

    model: Model
    spec: LoadSpec
    named: dict[str, Any]
    keep_alive: float | None
    pinned: bool

    def agrees_with(self, loaded: LoadSpec) -> bool:
        """True if a loaded model has all named values, except the length of the context."""
        return all(getattr(loaded, name) == value for name, value in self.named.items())


def key_of(model: Model) -> Key:
    """Return the identity of a model, whatever its load parameters.

    Models with different names and settings share a key if all of their files are the same. Raises
    OllamaError for a model without weights.
    """
    return base_key_of(model), tuple(map(str, model.adapter_paths))


def base_key_of(model: Model) -> BaseKey:
    """Return the identity of the runner that can serve a model.

    Models share one if they differ in nothing but adapters, settings and names, as long as the load
    options that they name agree (`LoadRequest.agrees_with`). Raises as `key_of`.
    """
    return (
        str(model.model_path),
        tuple(map(str, model.projector_paths)),
        str(model.draft_path) if model.draft_path else None,
        model.file_version,
    )


def build_load_request(
    model: Model, options: Options, keep_alive: float | None, settings: SchedulerSettings
) -> LoadRequest:
    """Combine a request's options with the settings. Raises OllamaError(400) if they clash."""
    num_ctx = options.num_ctx or settings.context_length
    trained = model.header.metadata.get(f"{model.header.architecture}.context_length")
    if isinstance(trained, int) and trained > 0:
        num_ctx = min(num_ctx, trained)
    kv_cache_type, flash_attention = _attention(options, settings)
    applied = {name: getattr(options, name) for name in LoadOptions.__struct_fields__}
    applied |= {
        "num_ctx": max(num_ctx, MIN_NUM_CTX) if num_ctx else 0,
        "num_parallel": max(0, options.num_parallel) or settings.num_parallel,
        "num_batch": max(1, options.num_batch),
        "tensor_split": tuple(options.tensor_split),
        "kv_cache_type": kv_cache_type,
        "flash_attention": flash_attention,
    }
    spec = LoadSpec(
        model=str(model.model_path),
        adapters=tuple(map(str, model.adapter_paths)),
        projectors=tuple(map(str, model.projector_paths)),
        draft=str(model.draft_path) if model.draft_path else None,
        rpc_servers=tuple(settings.rpc_servers),
        backends=tuple(settings.backend_folders),
        gpu_overhead=settings.gpu_overhead,
        sched_spread=settings.sched_spread,
        preparation_seconds=settings.preparation_seconds,
        prefix_folder=str(Path(settings.prefix_dir).expanduser()),
        prefix_bytes=settings.prefix_disk_bytes,
        limits=settings.runner_limits,
        **applied,
    )
    default = Options()
    named = {
        name: getattr(spec, name)
        for name in LOAD_OPTIONS
        if getattr(options, name) != getattr(default, name)
    }
    return LoadRequest(model, spec, named, keep_alive, is_pinned(model, settings))


def shared_options(model: Model, options: Options, ignored: set[str]) -> Options:
    """Return options with the load parameters of a request that names none.

    The load options that the request named are added to ``ignored``. Its num_ctx applies up to the
    length of the loaded context.
    """
    own, _ = merge_options(model.params)
    ignored |= {name for name in LOAD_OPTIONS if getattr(options, name) != getattr(own, name)}
    values = {name: getattr(own, name) for name in (*LOAD_OPTIONS, "num_ctx")}
    return msgspec.structs.replace(options, **values)


def is_pinned(model: Model, settings: SchedulerSettings) -> bool:
    """Return whether the settings pin a model, which is then never unloaded."""
    return any(model.name.matches(name) for name in settings.pinned_models)


def _attention(options: Options, settings: SchedulerSettings) -> tuple[str, bool | None]:
    """Return the type of the KV cache and whether to use flash attention (None: if supported)."""
    kv_cache_type = options.kv_cache_type or settings.kv_cache_type
    flash_attention = options.flash_attention
    if flash_attention is None:
        flash_attention = settings.flash_attention
    if kv_cache_type == UNQUANTIZED or flash_attention is not False:
        return kv_cache_type, flash_attention
    if options.kv_cache_type or options.flash_attention is not None:
        message = (
            f'kv_cache_type "{kv_cache_type}" needs flash attention, but flash_attention is false'
        )
        raise OllamaError(400, message)
    return UNQUANTIZED, flash_attention
