"""The events that a runner sends to the server process: msgspec structs in msgpack.

The events of a step of the batch loop are one list, so that the cost of the pipe does not grow with
the number of streams.
"""

from __future__ import annotations

import msgspec

from ..prompt.messages import ToolCall


class Ready(msgspec.Struct, tag="ready", array_like=True):
    """The model is loaded. Sizes in bytes, as llama.cpp reports them.

    ``num_ctx`` is the longest sequence that was allocated, ``slots`` the number of concurrent
    requests. A request without a length gets ``default_num_ctx``, which may exceed ``num_ctx`` if
    the load asked for another length. ``placement`` are words about the layers on GPUs, if the host
    has one.
    """

    num_ctx: int
    slots: int
    size: int
    size_vram: int
    default_num_ctx: int = 0
    placement: str = ""


class DeviceMemory(msgspec.Struct, array_like=True):
    """The memory of a device in bytes. The name is ggml's."""

    name: str
    free: int
    total: int


class Memory(msgspec.Struct, tag="memory", array_like=True):
    """The use of the KV cache, in tokens, and of the devices.

    ``generated`` are the tokens that the model has generated since its load, for all requests
    with the same adapters together, by the number of these. ``drafted`` counts in the same way the
    drafted tokens that the model checked, and ``accepted`` the drafted tokens that it accepted.
    ``stored`` is the number of bytes of host memory that hold copies of finished sequences. Sent
    after a load, at intervals while the model runs, and once when it becomes idle.
    Models that only embed keep no cache: 0 of 0.
    """

    used: int = 0
    cells: int = 0
    devices: list[DeviceMemory] = []
    generated: dict[int, int] = {}
    drafted: dict[int, int] = {}
    accepted: dict[int, int] = {}
    stored: int = 0


class Beat(msgspec.Struct, tag="beat", array_like=True):
    """The main thread works. Its next event may take ``seconds`` more than usual."""

    seconds: float = 0.0


class Placed(msgspec.Struct, tag="placed", array_like=True):
    """The plan of a load that has just begun puts ``gpu_layers`` layers on GPUs.

    ``faults`` state which dynamic backends cannot be used, and why.
    """

    gpu_layers: int
    faults: list[str] = []


class LoadFailed(msgspec.Struct, tag="load_failed", array_like=True):
    """The model could not be loaded; the runner ends after this.

    If memory is short, ``required`` and ``available`` are bytes.
    """

    message: str
    required: int = 0
    available: int = 0


class Resized(msgspec.Struct, tag="resized", array_like=True):
    """The context has a new size, which replaces the one in Ready."""

    request: int
    num_ctx: int
    size: int
    size_vram: int


class AdaptersLoaded(msgspec.Struct, tag="adapters_loaded", array_like=True):
    """A set of adapters is loaded. They take ``size`` bytes, of them ``size_vram`` on GPUs."""

    request: int
    size: int
    size_vram: int


class AdaptersRefused(msgspec.Struct, tag="adapters_refused", array_like=True):
    """A set of adapters could not be loaded; the runner continues without it.

    If memory is short, ``required`` and ``available`` are bytes.
    """

    request: int
    message: str
    required: int = 0
    available: int = 0


class Truncated(msgspec.Struct, tag="truncated", array_like=True):
    """The prompt was too long for the context: ``tokens`` were removed."""

    request: int
    tokens: int


class Progress(msgspec.Struct, tag="progress", array_like=True):
    """Tokens of the prompt, ``completed`` of ``total``, that were read or found in the cache."""

    request: int
    completed: int
    total: int


class Logprob(msgspec.Struct, array_like=True):
    """The bytes of a token and the natural logarithm of its probability.

    ``top`` has the most likely tokens at its index, the likeliest first.
    """

    piece: bytes
    logprob: float
    top: list[Logprob] = []


class Text(msgspec.Struct, tag="text", array_like=True):
    """A part of an answer: whole UTF-8 characters without stop strings, whole tool calls.

    ``logprobs`` include tokens that added no text.
    """

    request: int
    text: str = ""
    thinking: str = ""
    tool_calls: list[ToolCall] = []
    logprobs: list[Logprob] = []


class Done(msgspec.Struct, tag="done", array_like=True):
    """The end of an answer. Durations in nanoseconds, counts in tokens.

    ``reason`` is ``stop`` or ``length``; ``truncated`` counts prompt tokens that did not fit,
    ``cached`` prompt tokens that were in the cache; ``context`` has the tokens of prompt and
    answer if requested; ``stop`` is the stop string that ended the answer; with ``repetition`` it
    was ended because it only repeated itself.
    """

    request: int
    reason: str
    prompt_eval_count: int
    prompt_eval_duration: int
    eval_count: int
    eval_duration: int
    truncated: int = 0
    cached: int = 0
    context: list[int] = []
    stop: str = ""
    repetition: bool = False


class Failed(msgspec.Struct, tag="failed", array_like=True):
    """The error that ended a request, and its HTTP status."""

    request: int
    status: int
    message: str


class Embedded(msgspec.Struct, tag="embedded", array_like=True):
    """Embeddings, ``count`` rows of ``size`` float32, row after row in ``rows``."""

    request: int
    count: int
    size: int
    prompt_eval_count: int
    rows: bytes


class Rendered(msgspec.Struct, tag="rendered", array_like=True):
    """The text of a rendered prompt, its length in tokens, and the number of its images."""

    request: int
    text: str
    tokens: int
    images: int


class Scored(msgspec.Struct, tag="scored", array_like=True):
    """The tokens of each continuation with the log-probability of each after those before it.

    All follow the same ``prompt_eval_count`` tokens. ``cached`` is the total number of these that
    all continuations found in the cache.
    """

    request: int
    prompt_eval_count: int
    cached: int
    continuations: list[list[Logprob]]


class Tokenized(msgspec.Struct, tag="tokenized", array_like=True):
    """The ids of tokens and their bytes."""

    request: int
    tokens: list[int]
    pieces: list[bytes]


class Detokenized(msgspec.Struct, tag="detokenized", array_like=True):
    """The text of tokens."""

    request: int
    text: str


Event = (
    Ready
    | Beat
    | Memory
    | LoadFailed
    | Placed
    | Resized
    | AdaptersLoaded
    | AdaptersRefused
    | Truncated
    | Progress
    | Text
    | Done
    | Failed
    | Embedded
    | Rendered
    | Scored
    | Tokenized
    | Detokenized
)
