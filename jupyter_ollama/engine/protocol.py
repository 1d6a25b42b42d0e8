"""The commands of the server process to a runner: msgspec structs in msgpack, a message each.

`events` has the answers. The ``account`` of a command is a number for the user whose request it
serves, 0 for the server's own; a runner takes accounts in turn, and does not know names. Its
``adapters`` are the number of a set that was loaded by LoadAdapters, 0 for the model without any.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ..options import UNQUANTIZED, LoadOptions, Options
from ..prompt.messages import Message
from .context_length import SMALLEST_NUM_CTX
from .runner_limits import RunnerLimits


class _AppliedOptions(LoadOptions, kw_only=True):
    """The load options as a runner applies them."""

    num_ctx: int = SMALLEST_NUM_CTX
    tensor_split: tuple[float, ...] = ()
    kv_cache_type: str = UNQUANTIZED


class LoadSpec(_AppliedOptions, frozen=True):  # type: ignore[misc] # msgspec allows it
    """The options of a load; equal specs can share one runner.

    ``num_ctx`` is the longest sequence in tokens, ``num_parallel`` the number of concurrent
    sequences. The runner chooses numbers that are 0 or negative, and ``None``; its ``num_ctx`` is
    at least ``min_num_ctx``, or the model's own length if that is less. ``rpc_servers`` are the
    addresses of workers for models that do not fit on one host, ``backends`` the files and folders
    of dynamic backends. ``gpu_overhead`` bytes of each GPU are left free; with ``sched_spread`` all
    GPUs get layers, even if one could take them. No more than ``most_gpu_layers`` go to GPUs: a
    load with more has failed. The plan leaves memory for ``adapters``, which LoadAdapters loads
    afterwards. Rendering and tokenizing long texts of a request may take
    ``preparation_seconds`` of processor time, 0 for any time. Long system prompts are kept in
    ``prefix_folder``, all files there in ``prefix_bytes`` at most; with 0 none is.
    """

    model: str
    adapters: tuple[str, ...] = ()
    projectors: tuple[str, ...] = ()
    draft: str | None = None
    min_num_ctx: int = SMALLEST_NUM_CTX
    rpc_servers: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    most_gpu_layers: int | None = None
    gpu_overhead: int = 0
    sched_spread: bool = False
    preparation_seconds: float = 30.0
    prefix_folder: str = ""
    prefix_bytes: int = 0
    limits: RunnerLimits = RunnerLimits()


class ChatPrompt(msgspec.Struct, tag="chat", omit_defaults=True):
    """A conversation to render by ``template``, a Go template, or by the GGUF's own if it is None.

    A ``renderer``, the name of a built-in one, replaces both. ``context`` (tokens of an earlier
    answer) precedes the rendered text. With ``truncate`` the oldest messages are left out until the
    prompt fits, except system messages and the last one. ``parser`` is the format of thinking and
    tool calls; with "" the runner detects it. ``images`` are files, which messages name by index.
    With ``is_template_foreign`` the template came with the request. Thinking ends after
    ``thinking_budget`` tokens.
    """

    messages: list[Message]
    template: str | None = None
    tools: list[dict[str, Any]] = []
    think: bool | str | None = None
    thinking_budget: int | None = None
    context: list[int] = []
    truncate: bool = True
    parser: str = ""
    images: list[bytes] = []
    renderer: str = ""
    is_template_foreign: bool = False


class SuffixPrompt(msgspec.Struct, tag="suffix", omit_defaults=True):
    """Text before and after a gap that the model fills.

    Rendered by ``template``, a Go template with .Suffix, or by the GGUF's own tokens if it is None.
    With ``is_template_foreign`` the template came with the request.
    """

    prompt: str
    suffix: str
    template: str | None
    is_template_foreign: bool = False


class RawPrompt(msgspec.Struct, tag="raw", omit_defaults=True):
    """Text that is tokenized without a template. ``images`` are the files of its markers."""

    text: str
    images: list[bytes] = []


class Constraint(msgspec.Struct, frozen=True, omit_defaults=True):
    """The format of an answer: any ``json`` value, a JSON ``schema``, or a ``grammar``.

    ``text`` is the schema as JSON, or the grammar in llguidance's Lark or in GBNF.
    """

    kind: Literal["json", "schema", "grammar"]
    text: str = ""


class PrefixSharing(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """The cached prefixes that a request may use: its account's, and common system prompts.

    ``account`` is an opaque number for the account that sends the request. A system prompt is
    common after ``after`` other accounts have sent it; with 0 none is. A long one is kept on the
    disk for later runners, for requests of the same ``scope`` alone: with ``after`` once it is
    common, without it for those who share all prefixes. Nothing is kept for an empty scope.
    """

    account: int = 0
    after: int = 0
    scope: str = ""


OWN_PREFIXES = PrefixSharing()
"""The sharing of a server with one account, which owns all prefixes."""


class Generate(msgspec.Struct, tag="generate", omit_defaults=True):
    """Continue a prompt. With ``shift`` a full context drops its oldest half instead of ending.

    Without ``stream`` the whole text is one event, which is cheaper. ``logprobs`` is the number of
    likely tokens that are sent with each token and its log-probability. An answer that
    ``must_call`` is constrained to a JSON list of tool calls. Constraints do not apply to thinking.
    With ``progress`` the runner sends Progress events.
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
    sharing: PrefixSharing = OWN_PREFIXES
    account: int = 0
    adapters: int = 0


class Embed(msgspec.Struct, tag="embed", omit_defaults=True):
    """Embed texts. Texts that are too long are cut with ``truncate``, else the request fails (400).

    With a ``query`` the texts are documents, and a row is the relevance of one to it.
    """

    request: int
    texts: list[str]
    num_ctx: int
    truncate: bool = True
    normalize: bool = True
    query: str | None = None
    account: int = 0
    adapters: int = 0


class Score(msgspec.Struct, tag="score", omit_defaults=True):
    """Compute the log-probabilities of ``continuations`` of a prompt; answered by Scored.

    They follow a text, or a conversation as its next message. With ``raw`` the names of special
    tokens in the texts are special tokens.
    """

    request: int
    prompt: str | ChatPrompt
    continuations: list[str]
    num_ctx: int
    raw: bool = False
    sharing: PrefixSharing = OWN_PREFIXES
    account: int = 0
    adapters: int = 0


class Tokenize(msgspec.Struct, tag="tokenize", omit_defaults=True):
    """Tokenize a text; answered by Tokenized.

    ``special`` adds the tokens that the vocabulary puts around a text, ``parse_special`` reads the
    names of special tokens as such.
    """

    request: int
    text: str
    special: bool = True
    parse_special: bool = True
    account: int = 0


class Detokenize(msgspec.Struct, tag="detokenize", omit_defaults=True):
    """Detokenize; answered by Detokenized.

    Without ``special`` the tokens that the vocabulary puts around a text are left out.
    """

    request: int
    tokens: list[int]
    special: bool = False
    account: int = 0


class Cancel(msgspec.Struct, tag="cancel"):
    """Drop a request in any state. Only a Done with the reason ``cancel`` may follow."""

    request: int


class Render(msgspec.Struct, tag="render", omit_defaults=True):
    """Render a prompt without running it; answered by Rendered."""

    request: int
    prompt: ChatPrompt | SuffixPrompt | RawPrompt
    num_ctx: int
    sharing: PrefixSharing = OWN_PREFIXES
    account: int = 0


class Resize(msgspec.Struct, tag="resize"):
    """Grow the contexts to sequences and texts of ``num_ctx`` tokens, by new contexts.

    A model that only embeds grows up to the length that it was trained for. Answered by Resized.
    """

    request: int
    num_ctx: int


class LoadAdapters(msgspec.Struct, tag="load_adapters"):
    """Load LoRA adapters as the set ``number``, of up to 63 bits, which no other files ever have.

    Answered by AdaptersLoaded or AdaptersRefused.
    """

    request: int
    number: int
    paths: list[str]


class FreeAdapters(msgspec.Struct, tag="free_adapters"):
    """Free a set of adapters, which no request uses any more. There is no answer."""

    request: int
    number: int


Command = (
    Generate
    | Embed
    | Cancel
    | Render
    | Resize
    | Score
    | Tokenize
    | Detokenize
    | LoadAdapters
    | FreeAdapters
)
