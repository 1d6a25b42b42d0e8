"""What crosses the pipe between the server process and a runner.

Msgspec structs in msgpack. Commands go to the runner, one per zmq message. Events come back as one
list per step of the batch loop, so that the cost of the pipe does not grow with the number of
streams; the raw float32 rows of embeddings follow as further frames of the same message.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ..options import Options
from ..prompt.messages import Message, ToolCall


class LoadSpec(msgspec.Struct, frozen=True):
    """All that decides how a model is loaded: equal specs can share one runner.

    ``num_ctx`` is the longest sequence in tokens, ``num_parallel`` the sequences held at once.
    Numbers that are 0 or negative, and ``None``, leave the choice to the runner. ``rpc_servers``
    are the addresses of workers for what one host has no room for.
    """

    model: str
    adapters: tuple[str, ...] = ()
    projectors: tuple[str, ...] = ()
    draft: str | None = None
    num_ctx: int = 4096
    num_parallel: int = 0
    num_batch: int = 512
    num_gpu: int = -1
    main_gpu: int = 0
    tensor_split: tuple[float, ...] = ()
    use_mmap: bool | None = None
    num_thread: int = 0
    kv_cache_type: str = "f16"
    flash_attention: bool | None = None
    rpc_servers: tuple[str, ...] = ()


class ChatPrompt(msgspec.Struct, tag="chat", omit_defaults=True):
    """A conversation to render by ``template``, a Go template, or by the GGUF's own if it is None.

    ``context`` (tokens of an earlier answer) is put before the rendered text. With ``truncate`` the
    oldest messages are left out until the prompt fits, system messages and the last one kept.
    ``parser`` names how the model writes thinking and tool calls; "" finds out. ``images`` are the
    bytes of files, which messages name by their places.
    """

    messages: list[Message]
    template: str | None = None
    tools: list[dict[str, Any]] = []
    think: bool | str | None = None
    context: list[int] = []
    truncate: bool = True
    parser: str = ""
    images: list[bytes] = []


class SuffixPrompt(msgspec.Struct, tag="suffix"):
    """Text before and after a gap that the model fills.

    Rendered by ``template``, a Go template with .Suffix, or by the GGUF's own tokens if it is None.
    """

    prompt: str
    suffix: str
    template: str | None


class RawPrompt(msgspec.Struct, tag="raw", omit_defaults=True):
    """Text that is tokenized as it stands. ``images`` are the bytes of files for its markers."""

    text: str
    images: list[bytes] = []


class Constraint(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an answer must look like: any ``json`` value, a JSON ``schema``, or a ``grammar``.

    ``text`` is the schema as JSON, or the grammar in Lark as llguidance has it, or in GBNF.
    """

    kind: Literal["json", "schema", "grammar"]
    text: str = ""


class Generate(msgspec.Struct, tag="generate", omit_defaults=True):
    """Continue a prompt. ``shift`` lets a full context lose its oldest half instead of ending.

    Without ``stream`` the whole text comes as one event, which saves the pipe its work. With
    ``logprobs`` each token is told with its probability and those of so many others. An answer that
    ``must_call`` is constrained to a list of tool calls as JSON. What a model thinks before it
    answers is free of constraints. With ``progress`` it is told how much of the prompt is read.
    """

    request: int
    prompt: ChatPrompt | SuffixPrompt | RawPrompt
    options: Options
    truncate: bool = True
    shift: bool = True
    return_context: bool = False
    stream: bool = True
    constraint: Constraint | None = None
    logprobs: int | None = None
    must_call: bool = False
    progress: bool = False


class Embed(msgspec.Struct, tag="embed", omit_defaults=True):
    """Embed texts. Over-long ones are cut with ``truncate``, else the request fails (400).

    With a ``query`` the texts are documents: a row says how much one has to do with it.
    """

    request: int
    texts: list[str]
    num_ctx: int
    truncate: bool = True
    normalize: bool = True
    query: str | None = None


class Score(msgspec.Struct, tag="score"):
    """Tell how likely a text goes on with each of the ``continuations``; answered by Scored."""

    request: int
    prompt: str
    continuations: list[str]
    num_ctx: int


class Tokenize(msgspec.Struct, tag="tokenize", omit_defaults=True):
    """Cut a text into tokens; answered by Tokenized.

    ``special`` puts around it what the vocabulary wants there, ``parse_special`` finds the names of
    special tokens in it.
    """

    request: int
    text: str
    special: bool = True
    parse_special: bool = True


class Detokenize(msgspec.Struct, tag="detokenize", omit_defaults=True):
    """Put tokens together to a text, answered by Detokenized.

    Without ``special`` what the vocabulary puts around a text is left out.
    """

    request: int
    tokens: list[int]
    special: bool = False


class Cancel(msgspec.Struct, tag="cancel"):
    """Forget a request, whatever it is doing. Nothing more is sent for it."""

    request: int


class Render(msgspec.Struct, tag="render"):
    """Render a prompt without running it; answered by Rendered."""

    request: int
    prompt: ChatPrompt | SuffixPrompt | RawPrompt
    num_ctx: int


class Resize(msgspec.Struct, tag="resize"):
    """Make room for sequences of ``num_ctx`` tokens: a new context for the loaded weights."""

    request: int
    num_ctx: int


Command = Generate | Embed | Cancel | Render | Resize | Score | Tokenize | Detokenize


class Ready(msgspec.Struct, tag="ready", array_like=True):
    """The model is loaded. Sizes in bytes, measured by llama.cpp's own accounting where it has one.

    ``num_ctx`` is the longest sequence really allocated, ``slots`` how many requests run at once.
    """

    num_ctx: int
    slots: int
    size: int
    size_vram: int


class DeviceMemory(msgspec.Struct, array_like=True):
    """The memory of a device in bytes, by the name that ggml has for it."""

    name: str
    free: int
    total: int


class Memory(msgspec.Struct, tag="memory", array_like=True):
    """How full the KV cache is, in tokens, and the devices.

    Told when a model is loaded, now and then while it runs, and once when it has come to rest.
    Models that only embed have no cache that lasts: 0 of 0.
    """

    used: int = 0
    cells: int = 0
    devices: list[DeviceMemory] = []


class LoadFailed(msgspec.Struct, tag="load_failed", array_like=True):
    """The model could not be loaded; the runner ends after this.

    Where memory is short, ``required`` and ``available`` are bytes of it.
    """

    message: str
    required: int = 0
    available: int = 0


class Resized(msgspec.Struct, tag="resized", array_like=True):
    """The context has its new size; what Ready told is replaced by this."""

    request: int
    num_ctx: int
    size: int
    size_vram: int


class Truncated(msgspec.Struct, tag="truncated", array_like=True):
    """The prompt lost ``tokens`` of its tokens because the context does not hold it."""

    request: int
    tokens: int


class Progress(msgspec.Struct, tag="progress", array_like=True):
    """So many tokens of ``total`` in the prompt have been read, or had not to be."""

    request: int
    completed: int
    total: int


class Logprob(msgspec.Struct, array_like=True):
    """The bytes of a token and the natural logarithm of its probability.

    ``top`` has the likeliest tokens in its place, the first first.
    """

    piece: bytes
    logprob: float
    top: list[Logprob] = []


class Text(msgspec.Struct, tag="text", array_like=True):
    """More of an answer: whole UTF-8 characters, stop strings held back and removed, whole calls.

    ``logprobs`` are those of the tokens that were read, whatever has become of them.
    """

    request: int
    text: str = ""
    thinking: str = ""
    tool_calls: list[ToolCall] = []
    logprobs: list[Logprob] = []


class Done(msgspec.Struct, tag="done", array_like=True):
    """The end of an answer. Durations in nanoseconds, counts in tokens.

    ``reason`` is ``stop`` or ``length``; ``truncated`` counts prompt tokens that did not fit,
    ``cached`` those of the rest that had not to be read again; ``context`` holds the tokens of
    prompt and answer if they were asked for; ``stop`` is the stop string that ended the answer.
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


class Failed(msgspec.Struct, tag="failed", array_like=True):
    """A request that ended by an error, with the HTTP status it deserves."""

    request: int
    status: int
    message: str


class Embedded(msgspec.Struct, tag="embedded", array_like=True):
    """Embeddings, ``count`` rows of ``size`` float32 in one further frame of the message."""

    request: int
    count: int
    size: int
    prompt_eval_count: int


class Rendered(msgspec.Struct, tag="rendered", array_like=True):
    """The text of a rendered prompt, its length in tokens, and the images that are in it."""

    request: int
    text: str
    tokens: int
    images: int


class Scored(msgspec.Struct, tag="scored", array_like=True):
    """The tokens of each continuation, and how likely each is after those before it.

    All were scored behind the same ``prompt_eval_count`` tokens, of which ``cached`` had not to be
    read again, all continuations together.
    """

    request: int
    prompt_eval_count: int
    cached: int
    continuations: list[list[Logprob]]


class Tokenized(msgspec.Struct, tag="tokenized", array_like=True):
    """The ids of tokens and the bytes they stand for."""

    request: int
    tokens: list[int]
    pieces: list[bytes]


class Detokenized(msgspec.Struct, tag="detokenized", array_like=True):
    """The text of tokens."""

    request: int
    text: str


Event = (
    Ready
    | Memory
    | LoadFailed
    | Resized
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
