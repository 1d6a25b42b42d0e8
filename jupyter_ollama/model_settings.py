"""The settings of models: where they are stored, how they are loaded, and their defaults."""

from __future__ import annotations

import logging
import math
import re
from pathlib import Path
from typing import Any

from traitlets import Bool, CaselessStrEnum, Dict, Float, Int, List, TraitError, Unicode, default
from traitlets import validate as validates
from traitlets.config import LoggingConfigurable

from .backends.folders import default_folders
from .environment import (
    Duration,
    bool_variable,
    duration_variable,
    from_variable,
    int_variable,
    optional_bool_variable,
    variable,
)
from .options import KV_CACHE_TYPES, UNQUANTIZED

log = logging.getLogger(__name__)

WORKER = re.compile(r"[^:\s]+:\d{1,5}")
"""The address of a worker: llama.cpp accepts names and IPv4 here."""


def _or_never(timeout: float) -> float:
    return 0.0 if math.isinf(timeout) else timeout


def _models_dir(name: str, otherwise: str) -> str:
    return variable(name) or str(Path.home() / otherwise)


def _kv_cache_type(name: str, otherwise: str) -> str:
    text = variable(name).lower() or otherwise
    if text in KV_CACHE_TYPES:
        return text
    log.warning("%s=%r is unknown, %s is used", name, text, otherwise)
    return otherwise


def _timeout(name: str, otherwise: float) -> float:
    return _or_never(duration_variable(name, otherwise))


class ModelSettings(LoggingConfigurable):
    """The settings of the store, of loading, and of requests that do not override them."""

    models_dir = from_variable(
        Unicode(help="Keep models in this folder."),
        "OLLAMA_MODELS",
        ".ollama/models",
        _models_dir,
        shown="or ~/.ollama/models",
        brief="where models are kept (~/.ollama/models)",
    )
    model_folders = List(
        Unicode(),
        help="""Offer the GGUF files in these folders, too, without copying them: of llama.cpp
        (~/.cache/llama.cpp), LM Studio (~/.lmstudio/models), the Hugging Face hub
        (~/.cache/huggingface/hub), or any other.""",
    ).tag(config=True)
    keep_alive = from_variable(
        Duration(
            help="""Keep an idle model loaded for this time: seconds, or a duration such as "5m".
            0 unloads at once, a negative value never."""
        ),
        "OLLAMA_KEEP_ALIVE",
        300.0,
        duration_variable,
        shown="or 5m",
        brief="how long an idle model stays loaded (5m)",
    )
    max_loaded_models = from_variable(
        Int(min=0, help="Keep at most this many models loaded, 0 for automatic."),
        "OLLAMA_MAX_LOADED_MODELS",
        0,
        int_variable,
        brief="models in memory",
    )
    num_parallel = from_variable(
        Int(min=0, help="Run at most this many requests at once on a model, 0 for automatic."),
        "OLLAMA_NUM_PARALLEL",
        0,
        int_variable,
        brief="requests at once on a model",
    )
    preload_models = List(
        Unicode(), help="Load these models when the server starts, one after the other."
    ).tag(config=True)
    pinned_models = List(
        Unicode(),
        help="""Load these models when the server starts, and never unload them: neither when they
        are idle nor for other models. max_loaded_models does not count them.""",
    ).tag(config=True)
    rpc_servers = List(
        Unicode(),
        help="""Put layers of a model that does not fit on this host on these workers, too
        (`jupyter ollama worker`, or llama.cpp's own rpc-server): "host:port". What is sent to them
        is neither encrypted nor signed.""",
    ).tag(config=True)
    backend_folders = List(
        Unicode(),
        help="""Load the backends of ggml in these folders, which add GPUs to llama.cpp; also those
        in GGML_BACKEND_PATH. Backends that `jupyter ollama install-backend` has not built, such as
        other projects', are loaded only if their files are listed. Default: the folders
        ollama/backends among Jupyter's data folders.""",
    ).tag(config=True)
    gpu_overhead = from_variable(
        Int(
            min=0,
            help="""Leave so many bytes of each GPU free for other programs, besides the 512 MiB
            that are left for its driver.""",
        ),
        "OLLAMA_GPU_OVERHEAD",
        0,
        int_variable,
        brief="bytes of each GPU to leave free",
    )
    sched_spread = from_variable(
        Bool(
            help="""Put layers of each model on all GPUs, in proportion to their free memory,
            instead of on as few as hold it."""
        ),
        "OLLAMA_SCHED_SPREAD",
        False,
        bool_variable,
        shown="or no",
        brief="1 puts layers of each model on all GPUs",
    )
    max_queue = from_variable(
        Int(min=0, help="Let at most this many requests wait, answer further ones with 503."),
        "OLLAMA_MAX_QUEUE",
        512,
        int_variable,
        brief="requests that may wait (512)",
    )
    context_length = from_variable(
        Int(
            min=0,
            help="""Give a request this many tokens of context unless it asks for another number, 0
            for automatic: 4096, with 24 GiB of GPU memory 32768, with 48 GiB 262144, no more than
            the model was trained for, and less where memory is short.""",
        ),
        "OLLAMA_CONTEXT_LENGTH",
        0,
        int_variable,
        brief="context of a request that asks for none (by memory)",
    )
    kv_cache_type = from_variable(
        CaselessStrEnum(
            list(KV_CACHE_TYPES),
            help=f"Store keys and values in this type; all but {UNQUANTIZED} need flash attention.",
        ),
        "OLLAMA_KV_CACHE_TYPE",
        UNQUANTIZED,
        _kv_cache_type,
        brief=", ".join(KV_CACHE_TYPES),
    )
    flash_attention = from_variable(
        Bool(allow_none=True, help="Use flash attention, None for where it is supported."),
        "OLLAMA_FLASH_ATTENTION",
        None,
        optional_bool_variable,
        brief="1 or 0; default: where it is supported",
    )
    truncate_prompts = from_variable(
        Bool(
            help="""Shorten prompts that are longer than the context, where a request does not say
            whether to; else refuse them."""
        ),
        "OLLAMA_TRUNCATE_PROMPTS",
        True,
        bool_variable,
        shown="or yes",
        brief="0 refuses prompts that are too long",
    )
    repetition_stop = from_variable(
        Bool(
            help="""End answers that only repeat themselves, where neither a request nor its model
            sets the option repetition_stop."""
        ),
        "OLLAMA_REPETITION_STOP",
        True,
        bool_variable,
        shown="or yes",
        brief="0 lets answers repeat themselves without end",
    )
    effort_budgets = Dict(
        default_value={"minimal": 512, "low": 2048},
        key_trait=Unicode(),
        value_trait=Int(min=1),
        help="""End thinking after so many tokens for requests of OpenAI's API with such a reasoning
        effort ("minimal", "low", "medium", "high"). Most models know no levels of effort; those
        that do rarely need as many.""",
    ).tag(config=True)
    load_timeout = from_variable(
        Duration(help="Give up loading a model after this time, 0 or a negative value for never."),
        "OLLAMA_LOAD_TIMEOUT",
        300.0,
        _timeout,
        shown="or 5m",
        brief="when loading has failed (5m)",
    )
    spare_runner_seconds = Float(
        3600.0,
        min=0,
        help="""Keep a process for the next model so many seconds after a load: the first token of a
        small model comes in about two thirds of the time. It takes 35 MB of memory and no
        processor time; 0 keeps none.""",
    ).tag(config=True)
    debug = from_variable(
        Bool(help="Log details, including the log of llama.cpp."),
        "OLLAMA_DEBUG",
        False,
        bool_variable,
        shown="or no",
        brief="log more",
    )

    @default("backend_folders")
    def _found_backends(self) -> list[str]:
        return default_folders()

    @validates("load_timeout")
    def _endless_load_timeout(self, proposal: dict[str, Any]) -> float:
        return _or_never(proposal["value"])

    @validates("preload_models", "pinned_models")
    def _model_names(self, proposal: dict[str, Any]) -> list[str]:
        from .library.name import InvalidName, ModelName

        names: list[str] = proposal["value"]
        for name in names:
            try:
                ModelName.parse(name)
            except InvalidName:
                raise TraitError(
                    f"{proposal['trait'].name}: {name!r} is not a model name"
                ) from None
        return names

    @validates("rpc_servers")
    def _addresses(self, proposal: dict[str, Any]) -> list[str]:
        addresses: list[str] = proposal["value"]
        for address in addresses:
            if not WORKER.fullmatch(address):
                raise TraitError(f'rpc_servers: {address!r} is not of the form "host:port"')
        return addresses
