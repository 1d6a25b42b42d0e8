"""The identity of a saved state: all that decides its bytes, so that another one is never restored.

A prefix that is restored must have the bits that reading it would give. They depend on the weights,
on the kernels (the build of llama.cpp, the processor and the devices) and on the batches in which a
prompt is read. What has no influence is left out, since each change makes all files useless: the
number of cells, which follows from the free memory, and the number of sequences.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import llama_cpp.llama_cpp as llama

from .._version import __version__
from .dynamic_backends import this_build
from .llama_internals import library_files
from .prefix_files import PrefixFiles, StateKey

if TYPE_CHECKING:
    from .llama_context import LlamaContext
    from .loading import ModelLoader

log = logging.getLogger(__name__)

_BLOB = re.compile(r"sha256-[0-9a-f]{64}")
"""The name of a file in a store of models, which is the digest of its content."""

_FACTORS_BY_LENGTH = "rope_factors_long"
"""A tensor of models that rotate positions otherwise in a context beyond a length (LongRoPE)."""


def prefix_files(loaded: ModelLoader, context: LlamaContext) -> PrefixFiles | None:
    """Return the files of system prompts for a context; None where none are kept.

    The state of a recurrent model stands for all of its tokens: it cannot be cut to those of the
    system prompt.
    """
    spec = loaded.spec
    if not spec.prefix_bytes or not spec.prefix_folder or context.is_recurrent:
        return None
    try:
        return PrefixFiles(Path(spec.prefix_folder), state_key(loaded, context), spec.prefix_bytes)
    except OSError as error:
        log.warning("System prompts are not kept on the disk: %s", error)
        return None


def state_key(loaded: ModelLoader, context: LlamaContext) -> StateKey:
    """Return the identity of the states of a context of a loaded model. Raises OSError."""
    spec, plan = loaded.spec, loaded.plan
    files = (spec.model, *spec.projectors)  # no state with adapters is kept
    tensors = (tensor.name for tensor in plan.file.header.tensors)
    by_length = any(_FACTORS_BY_LENGTH in name for name in tensors)
    placement = plan.placement
    settings = (
        __version__,
        this_build(),
        llama.llama_print_system_info(),
        _libraries(),
        os.environ.get("OLLAMA_LLAMA_CPP_COMPAT"),
        spec.kv_cache_type,
        spec.flash_attention,
        spec.use_mmap,
        spec.rpc_servers,
        plan.has_head,
        plan.threads,
        (placement.shares, placement.cpu_experts),
        [device.name for device in plan.devices() if not device.is_cpu and placement.gpu_layers],
        bool(loaded.log.device_bytes),
        context.filled_from,
        (context.batch, context.window),
        context.cells if by_length else None,
    )
    return StateKey(_digest(map(_identity, files)), _digest(settings))


def _identity(path: str) -> tuple[Any, ...]:
    """Return what names the content of a file: its digest, or its path, size and time."""
    name = Path(path).name
    if _BLOB.fullmatch(name):
        return (name,)
    status = Path(path).stat()
    return os.path.realpath(path), status.st_size, status.st_mtime_ns


def _libraries() -> list[tuple[str, int, int]]:
    """Return the names, sizes and times of llama.cpp's libraries: a build has no number."""
    found = [(path.name, path.stat()) for path in library_files()]
    return sorted((name, status.st_size, status.st_mtime_ns) for name, status in found)


def _digest(values: Iterable[Any]) -> str:
    return blake2b(repr(tuple(values)).encode(), digest_size=8).hexdigest()
