"""The preparation of commands that needs no device: texts are rendered and tokenized.

The runner does it itself, or for long texts in a process of its own: see `preparer`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from ..errors import OllamaError
from .answers import AnswerReader
from .events import Detokenized, Rendered, Tokenized
from .pooled_text import pooled_tokens
from .protocol import (
    ChatPrompt,
    Detokenize,
    Embed,
    Generate,
    RawPrompt,
    Render,
    Score,
    SuffixPrompt,
    Tokenize,
)
from .score import split, split_chat
from .system_prefix import system_prefix

if TYPE_CHECKING:
    from .account_trees import SystemPrefix
    from .llama_model import LlamaModel
    from .prompting import MediaSpan, Prompter

SHORT_TEXT = 1 << 12
"""Bytes of a text to embed that the batch loop tokenizes itself, in some 10 ms."""

SHORT_QUERY = 1 << 12
"""The same for a query, which is tokenized once for each document."""

_TAIL = 1 << 16
"""The last characters of a rendered prompt, which decide how the answer is parsed."""


Longest = tuple[int, int]
"""Tokens of a sequence: the default, and the most that it can have."""


def context_of(asked: int, longest: Longest | None) -> int:
    """Return the num_ctx of a request that asks for so many tokens, 0 for the default.

    Raises OllamaError(400) if the model only embeds.
    """
    if longest is None:
        raise OllamaError(400, "this model does not support generate")
    usual, most = longest
    return min(asked or usual, most)


@dataclass
class ReadPrompt:
    """The tokens of a prompt that fits ``num_ctx``, ``lost`` of them left out.

    ``text`` is the rendered prompt or its end, ``keep`` how many first tokens survive a shift.
    """

    tokens: list[int]
    text: str
    num_ctx: int
    keep: int
    lost: int
    media: list[MediaSpan] = field(default_factory=list)
    system: SystemPrefix | None = None


def read_prompt(
    prompter: Prompter,
    model: LlamaModel,
    command: Generate,
    longest: Longest | None,
    check: Callable[[], None] = lambda: None,
    *,
    may_be_slow: bool = True,
) -> tuple[ReadPrompt, AnswerReader]:
    """Render a prompt, tokenize it and truncate it to its context. Raises OllamaError.

    ``check`` is called between the steps. For ``may_be_slow`` see `Prompter.render`.
    """
    num_ctx = context_of(command.options.num_ctx, longest)
    rendered = prompter.render(command.prompt, num_ctx, may_be_slow=may_be_slow)
    check()
    answer = AnswerReader(model, command, rendered.text)
    rendered = rendered.extended(answer.text)
    prompt = prompter.tokens(command.prompt, rendered, num_ctx, command.sharing.account)
    check()
    keep = prompter.num_keep(command.options.num_keep, len(prompt.tokens))
    tokens, cut = prompter.fit(
        prompt, num_ctx, keep, truncate=command.truncate, shift=command.shift
    )
    system = None
    if not cut:
        system = system_prefix(
            model,
            prompter,
            command.prompt,
            rendered,
            tokens,
            command.sharing,
            may_be_slow=may_be_slow,
        )
    lost = rendered.lost + cut
    read = ReadPrompt(tokens, answer.text[-_TAIL:], num_ctx, keep, lost, prompt.media, system)
    return read, answer


def split_score(
    prompter: Prompter,
    model: LlamaModel,
    command: Score,
    longest: Longest | None,
    check: Callable[[], None] = lambda: None,
    *,
    may_be_slow: bool = True,
) -> tuple[list[int], list[list[int]]]:
    """Tokenize the texts of a command to score: see `score.split`.

    Raises OllamaError, and TakesLong as `Prompter.render`.
    """
    num_ctx = context_of(command.num_ctx, longest)
    prompt, continuations = command.prompt, command.continuations
    if isinstance(prompt, ChatPrompt):
        return split_chat(
            prompter, model, prompt, continuations, num_ctx, check=check, may_be_slow=may_be_slow
        )
    return split(
        model,
        prompt,
        continuations,
        num_ctx=num_ctx,
        parse_special=command.raw,
        check=check,
    )


def without_texts(command: Generate) -> Generate:
    """Return a command whose prompt has only the fields that decide how the answer is parsed."""
    prompt: ChatPrompt | SuffixPrompt | RawPrompt = command.prompt
    if isinstance(prompt, ChatPrompt):
        last = [
            msgspec.structs.replace(message, content="", thinking="", images=[])
            for message in prompt.messages[-1:]
        ]
        prompt = msgspec.structs.replace(prompt, messages=last, context=[], images=[])
    elif isinstance(prompt, RawPrompt):
        prompt = RawPrompt("")
    else:
        prompt = SuffixPrompt("", "", None)
    return msgspec.structs.replace(command, prompt=prompt)


def vocabulary_answer(
    prompter: Prompter,
    model: LlamaModel,
    command: Tokenize | Detokenize | Render,
    *,
    may_be_slow: bool = True,
) -> Tokenized | Detokenized | Rendered:
    """Answer a command that needs the vocabulary alone. Raises OllamaError."""
    if isinstance(command, Render):
        rendered = prompter.render(command.prompt, command.num_ctx, may_be_slow=may_be_slow)
        account = command.sharing.account
        count = len(prompter.tokens(command.prompt, rendered, account=account).tokens)
        return Rendered(command.request, rendered.text, count, len(rendered.attachments))
    if isinstance(command, Tokenize):
        tokens = model.tokenize(
            command.text, special=command.special, parse_special=command.parse_special
        )
        pieces = [model.piece(token, special=True) for token in tokens]
        return Tokenized(command.request, tokens, pieces)
    try:
        text = model.detokenize(command.tokens, special=command.special)
    except ValueError:
        raise OllamaError(400, "tokens that this model does not have") from None
    return Detokenized(command.request, text)


def long_texts(
    model: LlamaModel,
    command: Embed,
    longest: int,
    check: Callable[[], None] = lambda: None,
) -> dict[int, list[int]]:
    """Return the tokens of the texts to embed that are not short, by index. Raises OllamaError.

    They are cut to ``longest`` tokens, or to num_ctx. ``check`` is called before each.
    """
    num_ctx = min(command.num_ctx, longest)
    is_long_query = _size(command.query or "") > SHORT_QUERY
    tokens = {}
    for index, text in enumerate(command.texts):
        if is_long_query or _size(text) > SHORT_TEXT:
            check()
            tokens[index] = pooled_tokens(
                model, command.query, text, num_ctx, truncate=command.truncate
            )
    return tokens


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
