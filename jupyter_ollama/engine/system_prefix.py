"""The end of the system prompt in a prompt, in tokens.

Templates do not mark it. So the system messages and tools are rendered once more before a user's
message that is only a mark: the text before the mark depends on them alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from itertools import takewhile
from typing import TYPE_CHECKING

import msgspec

from ..errors import OllamaError
from ..prompt.continuation import MARK
from ..prompt.messages import Message
from .account_trees import SystemPrefix
from .protocol import ChatPrompt, PrefixSharing

if TYPE_CHECKING:
    from .llama_model import LlamaModel
    from .prompting import Prompt, Prompter, RenderedPrompt

SYSTEM_ROLES = ("system", "developer")
"""The roles of messages that instruct the model."""

LEAST_KEPT = 512
"""Tokens of a system prompt from which it is kept on the disk. Reading fewer delays a first token
little, and each prompt takes a file: of 64 MiB for 512 tokens of a model of 8B."""

UNSURE = 4
"""Tokens at the end of the text that may be split differently before another text, unless a control
token separates the two."""


def system_prefix(
    model: LlamaModel,
    prompter: Prompter,
    prompt: Prompt,
    rendered: RenderedPrompt,
    tokens: Sequence[int],
    sharing: PrefixSharing,
    *,
    may_be_slow: bool = True,
) -> SystemPrefix | None:
    """Return the system prompt that a rendered prompt of ``tokens`` begins with.

    See `Prompter.render` for ``may_be_slow``. None if there is none, and if it is not at the
    beginning: in raw prompts, after the context of an earlier answer, and with templates that put
    it elsewhere. Requests with their own template get None at once, as do those whose system prompt
    is neither shared with other accounts nor long enough for the disk.
    """
    is_kept = sharing.scope and len(tokens) > LEAST_KEPT
    if not (sharing.after or is_kept) or not isinstance(prompt, ChatPrompt) or prompt.context:
        return None
    if prompt.template is not None and prompt.is_template_foreign:  # a process for each rendering
        return None
    leading = takewhile(lambda one: one.role in SYSTEM_ROLES and not one.images, prompt.messages)
    marked = [*leading, Message("user", MARK)]
    head = msgspec.structs.replace(prompt, messages=marked, images=[], truncate=False)
    try:
        text, mark, _ = prompter.render(head, 0, may_be_slow=may_be_slow).guarded.partition(MARK)
    except OllamaError:  # a template that requires other messages
        return None
    if not mark or not rendered.guarded.startswith(text):
        return None
    alone = prompter.tokens(head, rendered._replace(guarded=text, attachments=())).tokens
    length = _independent(model, alone)
    if not length or list(tokens[:length]) != alone[:length]:
        return None
    digest = blake2b(text.encode("utf-8", "replace")).digest()
    return SystemPrefix(digest, length, sharing.after, sharing.scope)


def _independent(model: LlamaModel, tokens: Sequence[int]) -> int:
    """Return how many tokens of a text are the same whatever follows the text."""
    unsure = max(0, len(tokens) - UNSURE)
    controls = (i + 1 for i in range(unsure, len(tokens)) if model.is_control(tokens[i]))
    return max(controls, default=unsure)
