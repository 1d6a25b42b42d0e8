"""From a request's prompt to token ids: template, truncation, special tokens."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

from ..errors import OllamaError
from ..prompt.errors import TemplateError
from ..prompt.fit import fit_messages
from ..prompt.go_template import GoTemplate
from ..prompt.jinja_template import JinjaTemplate
from ..prompt.messages import Message, mark_images
from .llama_model import LlamaModel
from .pair import TOO_LONG as TOO_LONG
from .pair import pair_of
from .protocol import ChatPrompt, RawPrompt, SuffixPrompt

if TYPE_CHECKING:
    from .picture import Picture
    from .vision import Media, Vision

Prompt = ChatPrompt | SuffixPrompt | RawPrompt

RENDER_SECONDS = 30.0
"""A template still running after this is taken for endless, and the process with it."""

PLAIN_TEMPLATE = "{{ .Prompt }}"
"""What a model without any template gets, as upstream has it."""

TOO_LONG_TO_SHIFT = (
    "the prompt is longer than the context length currently available to the model; shorten the "
    "prompt, adjust the context length in settings, or use a model with a longer context length"
)


class RenderedPrompt(NamedTuple):
    """The text of a prompt, the tokens left out with old messages, the pictures of its markers."""

    text: str
    lost: int = 0
    pictures: Sequence[Picture] = ()


class Span(NamedTuple):
    """An image in a prompt, and where its tokens begin."""

    start: int
    media: Media


class PromptTokens(NamedTuple):
    """The tokens of a prompt; negative numbers stand for those of images."""

    tokens: list[int]
    media: list[Span]


class Prompter:
    """Renders and tokenizes for one model, with images if it has ``vision``."""

    def __init__(self, model: LlamaModel, vision: Vision | None = None) -> None:
        self._model = model
        self._vision = vision
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

    def render(self, prompt: Prompt, num_ctx: int) -> RenderedPrompt:
        """Render a prompt; a conversation loses old messages until ``num_ctx`` tokens hold it."""
        try:
            return self._render(prompt, num_ctx)
        except TemplateError as error:
            raise OllamaError(400, f"template error: {error}") from error

    def _render(self, prompt: Prompt, num_ctx: int) -> RenderedPrompt:
        if isinstance(prompt, RawPrompt):
            return self._render_raw(prompt)
        if isinstance(prompt, SuffixPrompt):
            if prompt.template is None:
                return RenderedPrompt(self._infill(prompt))
            suffix_template = self._go_template(prompt.template)
            return RenderedPrompt(suffix_template.render_suffix(prompt.prompt, prompt.suffix))
        template: GoTemplate | JinjaTemplate
        if prompt.template is None and self._jinja:
            template = self._jinja
        else:
            template = self._go_template(prompt.template or PLAIN_TEMPLATE)

        pictures = self._pictures(prompt.images)
        shown: dict[str, list[Picture]] = {}

        def render(messages: Sequence[Message]) -> str:
            marked, places = mark_images(messages)
            with _deadline(RENDER_SECONDS):
                text = template.render(marked, tools=prompt.tools, think=prompt.think)
            shown[text] = [pictures[place] for place in places]
            return text

        def count(text: str) -> int:
            return self._count(text, shown[text])

        if prompt.truncate:
            text, lost = fit_messages(prompt.messages, render, count, num_ctx)
        else:
            text, lost = render(prompt.messages), 0
        return RenderedPrompt(text, lost, shown[text])

    def _render_raw(self, prompt: RawPrompt) -> RenderedPrompt:
        pictures = self._pictures(prompt.images)
        if not pictures or "[img-0]" in prompt.text:
            return RenderedPrompt(prompt.text, 0, pictures)
        places = [str(place) for place in range(len(pictures))]
        (marked,), _ = mark_images([Message("user", prompt.text, images=places)])
        return RenderedPrompt(marked.content, 0, pictures)

    def _pictures(self, images: Sequence[bytes]) -> list[Picture]:
        if not images:
            return []
        if self._vision is None:
            raise OllamaError(400, "this model has no projector for images")
        from .picture import Picture  # Pillow is loaded when it is needed first

        return [Picture(image) for image in images]

    def _count(self, text: str, pictures: Sequence[Picture]) -> int:
        if pictures and self._vision:
            return self._vision.count(text, pictures)
        return len(self._tokens_of(text))

    def _infill(self, prompt: SuffixPrompt) -> str:
        """Put the tokens of the vocabulary for the purpose around what a gap lies between."""
        before, after, gap = self._model.infill_marks
        return f"{before}{prompt.prompt}{after}{prompt.suffix}{gap}"

    def tokens(self, prompt: Prompt, rendered: RenderedPrompt) -> PromptTokens:
        """Return the tokens of a prompt that was rendered; images are encoded.

        There is at least one token, BOS once if the model wants it, and no image at the end.
        """
        model = self._model
        earlier = prompt.context if isinstance(prompt, ChatPrompt) else []
        media: list[Span] = []
        if rendered.pictures:
            tokens, media = self._with_images(rendered, special=not earlier)
        elif earlier:
            tokens = model.tokenize(rendered.text, special=False)
        else:
            tokens = self._tokens_of(rendered.text)
        before = len(earlier)
        if model.adds_bos and tokens[:2] == [model.bos, model.bos]:
            tokens = tokens[1:]  # the template wrote BOS itself
            before -= 1
        if any(not 0 <= token < model.n_vocab for token in earlier):
            raise OllamaError(400, "context holds tokens that this model does not have")
        media = [Span(before + span.start, span.media) for span in media]
        return PromptTokens(earlier + tokens or [model.filler_token], media)

    def _with_images(self, rendered: RenderedPrompt, *, special: bool) -> PromptTokens:
        assert self._vision
        tokens: list[int] = []
        media: list[Span] = []
        for chunk in self._vision.chunks(rendered.text, rendered.pictures, special=special):
            if isinstance(chunk, list):
                tokens += chunk
            else:
                media.append(Span(len(tokens), chunk))
                tokens += [chunk.token] * chunk.n_tokens
        if tokens[-1] < 0:
            tokens += self._model.tokenize("\n", special=False)
        return PromptTokens(tokens, media)

    def fit(
        self, prompt: PromptTokens, num_ctx: int, num_keep: int, *, truncate: bool, shift: bool
    ) -> tuple[list[int], int]:
        """Cut a prompt that the context does not hold; return it and the tokens it lost.

        The first ``num_keep`` tokens stay and the newest follow, a quarter of the context is left
        free. Raises OllamaError(400) where cutting is not wanted, or there are images.
        """
        tokens = prompt.tokens
        if len(tokens) <= num_ctx:
            return tokens, 0
        if not truncate or prompt.media:
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

    def pooled_tokens(
        self, query: str | None, text: str, num_ctx: int, *, truncate: bool
    ) -> list[int]:
        """Return the token ids of a text to embed, or of a document to rank for a query.

        Raises OllamaError(400) if the model does the other, or the text is too long.
        """
        if query is None:
            if self._model.is_ranker:
                raise OllamaError(400, "this model ranks documents, it does not embed texts")
            return self.text_tokens(text, num_ctx, truncate=truncate)
        if not self._model.is_ranker:
            raise OllamaError(400, "this model does not support rerank")
        pair = pair_of(self._model, query, text)
        return pair.fit(num_ctx, truncate=truncate)

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
