"""From a request's prompt to token ids: rendering, truncation, images, special tokens."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

from ..errors import OllamaError
from ..prompt.control_marks import GUARD, plain
from ..prompt.errors import TemplateError
from ..prompt.messages import Message, mark_images
from ..prompt.truncate_messages import fit_messages
from .llama_model import LlamaModel
from .long_text import ends, is_long, newest
from .prompt_templates import PromptTemplates, TakesLong
from .protocol import ChatPrompt, RawPrompt, SuffixPrompt
from .rerank_prompt import TOO_LONG as TOO_LONG
from .runner_limits import RunnerLimits
from .sound_file import is_sound

if TYPE_CHECKING:
    from .attachment import Attachment
    from .media import Media
    from .vision import Vision

Prompt = ChatPrompt | SuffixPrompt | RawPrompt

TOO_LONG_TO_SHIFT = (
    "the prompt is longer than the context length currently available to the model; shorten the "
    "prompt, adjust the context length in settings, or use a model with a longer context length"
)


class RenderedPrompt(NamedTuple):
    """The text of a prompt, the tokens of messages that were left out, and its attachments.

    In ``guarded`` the texts of users have guards (see ``prompt.control_marks``).
    """

    guarded: str
    lost: int = 0
    attachments: Sequence[Attachment] = ()

    @property
    def text(self) -> str:
        """The prompt as the model reads it."""
        return plain(self.guarded)

    def extended(self, text: str) -> RenderedPrompt:
        """Return a longer prompt: ``text`` is all of it."""
        return self._replace(guarded=self.guarded + text[len(self.text) :])


class MediaSpan(NamedTuple):
    """A picture or sound in a prompt, and the index of its first token."""

    start: int
    media: Media


class PromptTokens(NamedTuple):
    """The tokens of a prompt; pictures and sounds have negative numbers.

    About ``skipped`` tokens in the middle of a prompt that is much too long are left out.
    """

    tokens: list[int]
    media: list[MediaSpan]
    skipped: int = 0


class Prompter:
    """Renders and tokenizes for one model, with pictures and sounds if it has ``vision``.

    Templates that take long, or come with a request, are rendered in a child process.
    """

    def __init__(
        self,
        model: LlamaModel,
        vision: Vision | None = None,
        limits: RunnerLimits | None = None,
    ) -> None:
        self._model = model
        self._vision = vision
        self._templates = PromptTemplates(model, limits or RunnerLimits())
        # The tokens that are counted to see whether a conversation fits are those that are run.
        self._tokens_of = lru_cache(1)(partial(model.tokenize_prompt, special=True))
        self._part_tokens = partial(model.tokenize_prompt, special=False)

    def render(self, prompt: Prompt, num_ctx: int, *, may_be_slow: bool = True) -> RenderedPrompt:
        """Render a prompt; old messages of a conversation are left out until it fits ``num_ctx``.

        Raises OllamaError, and unless ``may_be_slow``, TakesLong if it needs a child process.
        """
        # The last prompt may belong to another account: timing must not show that both are equal.
        self._tokens_of.cache_clear()
        try:
            return self._render(prompt, num_ctx, may_be_slow)
        except TemplateError as error:
            if isinstance(prompt, ChatPrompt) and prompt.renderer:
                raise OllamaError(500, str(error)) from error  # Ollama's own status and text
            raise OllamaError(400, f"template error: {error}") from error

    def _render(self, prompt: Prompt, num_ctx: int, may_be_slow: bool) -> RenderedPrompt:
        if isinstance(prompt, RawPrompt):
            return self._render_raw(prompt)
        if prompt.is_template_foreign and not may_be_slow:
            raise TakesLong  # even to parse it
        if isinstance(prompt, SuffixPrompt):
            return RenderedPrompt(self._templates.suffix(prompt, may_be_slow=may_be_slow))
        chat = self._templates.chat(prompt, may_be_slow=may_be_slow)
        attachments = self._attachments(prompt.images)
        shown: dict[str, list[Attachment]] = {}

        def render(messages: Sequence[Message]) -> str:
            text, places = chat.render(messages)
            # Without files the messages only mark where images belong.
            shown[text] = [attachments[place] for place in places if attachments]
            return text

        def count(text: str) -> int:
            return self._count(text, shown[text], num_ctx)

        if prompt.truncate:
            text, lost = fit_messages(chat.messages, render, count, num_ctx)
        else:
            text, lost = render(chat.messages), 0
        return RenderedPrompt(text, lost, shown[text])

    def _render_raw(self, prompt: RawPrompt) -> RenderedPrompt:
        attachments = self._attachments(prompt.images)
        text = prompt.text.replace(GUARD, 2 * GUARD)
        if not attachments or "[img-0]" in text:
            return RenderedPrompt(text, 0, attachments)
        places = [str(place) for place in range(len(attachments))]
        (marked,), _ = mark_images([Message("user", text, images=places)])
        return RenderedPrompt(marked.content, 0, attachments)

    def _attachments(self, files: Sequence[bytes]) -> list[Attachment]:
        """Read the headers of files. Raises OllamaError(400) if the model cannot take one."""
        vision = self._vision
        for data in files:
            if is_sound(data) and not (vision and vision.hears):
                raise OllamaError(400, "this model has no projector for sounds")
            if not is_sound(data) and not (vision and vision.sees):
                raise OllamaError(400, "this model has no projector for images")
        if not files:
            return []
        from .attachment import attachments  # loads Pillow, which most runners never need

        return attachments(files)

    def _count(self, text: str, attachments: Sequence[Attachment], num_ctx: int) -> int:
        """Return the number of tokens of a prompt, estimated if far more than ``num_ctx``."""
        if is_long(text, num_ctx):
            tokens, skipped = newest(text, num_ctx, self._part_tokens)
            if skipped:
                return len(tokens) + skipped
        if attachments and self._vision:
            return self._vision.count(self._model.control_marks.pieces(text), attachments)
        return len(self._tokens_of(text))

    def tokens(
        self,
        prompt: Prompt,
        rendered: RenderedPrompt,
        num_ctx: int | None = None,
        account: int = 0,
    ) -> PromptTokens:
        """Return the tokens of a rendered prompt, and encode its pictures and sounds.

        Their embeddings are cached for the ``account``. There is at least one token, BOS once if
        the model requires it, and no image or sound at the end. With ``num_ctx``, tokens in the
        middle of a much longer prompt, which ``fit`` would cut, are skipped.
        """
        model = self._model
        earlier = prompt.context if isinstance(prompt, ChatPrompt) else []
        media: list[MediaSpan] = []
        skipped = 0
        text = rendered.guarded
        if num_ctx and is_long(text, num_ctx):
            tokens, skipped = ends(text, num_ctx, self._part_tokens)
            if skipped and rendered.attachments:
                raise OllamaError(400, TOO_LONG)
        if skipped:
            begin, end = ([], []) if earlier else model.around
            tokens = begin + tokens + end
        elif rendered.attachments:
            tokens, media, _ = self._with_media(rendered, account, special=not earlier)
        elif earlier:
            tokens = self._part_tokens(text)
        else:
            tokens = self._tokens_of(text)
        before = len(earlier)
        if model.adds_bos and tokens[:2] == [model.bos, model.bos]:
            tokens = tokens[1:]  # the template wrote BOS itself
            before -= 1
        if any(not 0 <= token < model.n_vocab for token in earlier):
            raise OllamaError(400, "context holds tokens that this model does not have")
        media = [MediaSpan(before + span.start, span.media) for span in media]
        return PromptTokens(earlier + tokens or [model.filler_token], media, skipped)

    def _with_media(self, rendered: RenderedPrompt, account: int, *, special: bool) -> PromptTokens:
        assert self._vision
        tokens: list[int] = []
        media: list[MediaSpan] = []
        pieces = self._model.control_marks.pieces(rendered.guarded)
        vision, files = self._vision, rendered.attachments
        for chunk in vision.chunks(pieces, files, special=special, account=account):
            if isinstance(chunk, list):
                tokens += chunk
            else:
                media.append(MediaSpan(len(tokens), chunk))
                tokens += [chunk.token] * chunk.n_tokens
        if tokens[-1] < 0:
            tokens += self._model.tokenize("\n", special=False)
        return PromptTokens(tokens, media)

    def fit(
        self, prompt: PromptTokens, num_ctx: int, num_keep: int, *, truncate: bool, shift: bool
    ) -> tuple[list[int], int]:
        """Truncate a prompt to its context; return its tokens and the number of those removed.

        The first ``num_keep`` tokens and the newest are kept, and a quarter of the context stays
        free. Raises OllamaError(400) without ``truncate``, or if there are images or sounds.
        """
        tokens = prompt.tokens
        if len(tokens) <= num_ctx and not prompt.skipped:
            return tokens, 0
        if not truncate or prompt.media:
            raise OllamaError(400, TOO_LONG)
        if not shift:
            raise OllamaError(400, TOO_LONG_TO_SHIFT)
        most = max(1, num_ctx - max(1, num_ctx // 4))
        keep = min(num_keep, most // 2)
        kept = tokens[:keep] + tokens[len(tokens) - (most - keep) :]
        return kept, len(tokens) + prompt.skipped - len(kept)

    def num_keep(self, num_keep: int, prompt_length: int) -> int:
        """Return how many first tokens a shift keeps: -1 means all of the prompt, BOS is added."""
        if num_keep < 0:
            return prompt_length
        return num_keep + int(self._model.adds_bos)
