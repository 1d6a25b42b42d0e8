"""From a request's prompt to token ids: template, truncation, special tokens."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial

from ..errors import OllamaError
from ..prompt.errors import TemplateError
from ..prompt.fit import fit_messages
from ..prompt.go_template import GoTemplate
from ..prompt.jinja_template import JinjaTemplate
from ..prompt.messages import Message
from .llama_model import LlamaModel
from .protocol import ChatPrompt, RawPrompt, SuffixPrompt

RENDER_SECONDS = 30.0
"""A template still running after this is taken for endless, and the process with it."""

PLAIN_TEMPLATE = "{{ .Prompt }}"
"""What a model without any template gets, as upstream has it."""

TOO_LONG = "the input length exceeds the context length"
TOO_LONG_TO_SHIFT = (
    "the prompt is longer than the context length currently available to the model; shorten the "
    "prompt, adjust the context length in settings, or use a model with a longer context length"
)


class Prompter:
    """Renders and tokenizes for one model."""

    def __init__(self, model: LlamaModel) -> None:
        self._model = model
        self._go_template = lru_cache(16)(GoTemplate)
        # A conversation's tokens are counted to see if it fits, then they are what is run.
        self._tokens_of = lru_cache(1)(partial(model.tokenize, special=True))
        self._jinja = self._find_jinja()

    def _find_jinja(self) -> JinjaTemplate | None:
        source = self._model.chat_template
        if source is None:
            return None
        model = self._model
        return JinjaTemplate(source, model.text_of(model.bos), model.text_of(model.eos))

    def text(self, prompt: ChatPrompt | SuffixPrompt | RawPrompt, num_ctx: int) -> str:
        """Render a prompt; a conversation loses old messages until ``num_ctx`` tokens hold it."""
        return self._fitted(prompt, num_ctx)[0]

    def _fitted(
        self, prompt: ChatPrompt | SuffixPrompt | RawPrompt, num_ctx: int
    ) -> tuple[str, int]:
        """Return the text of a prompt and the tokens that were left out with old messages."""
        try:
            return self._render(prompt, num_ctx)
        except TemplateError as error:
            raise OllamaError(400, f"template error: {error}") from error

    def _render(
        self, prompt: ChatPrompt | SuffixPrompt | RawPrompt, num_ctx: int
    ) -> tuple[str, int]:
        if isinstance(prompt, RawPrompt):
            return prompt.text, 0
        if isinstance(prompt, SuffixPrompt):
            suffix_template = self._go_template(prompt.template)
            return suffix_template.render_suffix(prompt.prompt, prompt.suffix), 0
        template: GoTemplate | JinjaTemplate
        if prompt.template is None and self._jinja:
            template = self._jinja
        else:
            template = self._go_template(prompt.template or PLAIN_TEMPLATE)

        def render(messages: Sequence[Message]) -> str:
            with _deadline(RENDER_SECONDS):
                return template.render(messages, tools=prompt.tools, think=prompt.think)

        if not prompt.truncate:
            return render(prompt.messages), 0
        return fit_messages(
            prompt.messages,
            render,
            lambda text: len(self._tokens_of(text)),
            num_ctx,
        )

    def tokens(
        self, prompt: ChatPrompt | SuffixPrompt | RawPrompt, num_ctx: int
    ) -> tuple[list[int], int]:
        """Return the token ids of a prompt and how many were left out with old messages.

        There is at least one, and BOS once if the model wants it.
        """
        model = self._model
        earlier = prompt.context if isinstance(prompt, ChatPrompt) else []
        text, lost = self._fitted(prompt, num_ctx)
        tokens = model.tokenize(text, special=False) if earlier else self._tokens_of(text)
        if model.adds_bos and tokens[:2] == [model.bos, model.bos]:
            tokens = tokens[1:]  # the template wrote BOS itself
        if any(not 0 <= token < model.n_vocab for token in earlier):
            raise OllamaError(400, "context holds tokens that this model does not have")
        return earlier + tokens or [model.filler_token], lost

    def fit(
        self, tokens: list[int], num_ctx: int, num_keep: int, *, truncate: bool, shift: bool
    ) -> tuple[list[int], int]:
        """Cut a prompt that the context does not hold; return it and the tokens it lost.

        The first ``num_keep`` tokens stay and the newest follow, a quarter of the context is left
        free. Raises OllamaError(400) where cutting is not wanted.
        """
        if len(tokens) <= num_ctx:
            return tokens, 0
        if not truncate:
            raise OllamaError(400, TOO_LONG)
        if not shift:
            raise OllamaError(400, TOO_LONG_TO_SHIFT)
        room = max(1, num_ctx - max(1, num_ctx // 4))
        keep = min(num_keep, room // 2)
        kept = tokens[:keep] + tokens[len(tokens) - (room - keep) :]
        return kept, len(tokens) - len(kept)

    def num_keep(self, num_keep: int, prompt_length: int) -> int:
        """Return how many first tokens survive a shift: -1 is all of the prompt, BOS is added."""
        if num_keep < 0:
            return prompt_length
        return num_keep + int(self._model.adds_bos)

    def text_tokens(self, text: str, num_ctx: int, *, truncate: bool) -> list[int]:
        """Return the token ids of a text to embed, cut to ``num_ctx`` if ``truncate``.

        The special tokens around a text survive the cut.
        """
        model = self._model
        tokens = model.tokenize(text, special=True)
        if len(tokens) <= num_ctx:
            return tokens or [model.filler_token]
        if not truncate:
            raise OllamaError(400, TOO_LONG)
        around = model.tokenize("", special=True)
        if num_ctx <= len(around):
            raise OllamaError(400, "input after truncation exceeds maximum context length")
        ends_special = len(around) > int(model.adds_bos) and tokens[-1] == around[-1]
        last = [tokens[-1]] if ends_special else []
        return tokens[: num_ctx - len(last)] + last


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """End the process if the block takes longer: Python cannot interrupt a template."""

    def give_up() -> None:
        sys.stderr.write(f"a prompt template ran for more than {seconds:.0f} s\n")
        sys.stderr.flush()
        os._exit(70)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
