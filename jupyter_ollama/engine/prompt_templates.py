"""Renders prompts for one model by a built-in renderer, a Go template or a Jinja template.

A template that takes long, or comes with a request, is rendered in a child process: see
`prompt.render_process`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from ..parsing.style_selection import style_for
from ..prompt.budget import BRIEF, FULL, OverBudget
from ..prompt.go_template import GoTemplate
from ..prompt.harmony import harmony_tools
from ..prompt.jinja_template import JinjaTemplate
from ..prompt.messages import Message, ToolCall, image_places, mark_images
from ..prompt.renderers.renderer import Renderer
from ..prompt.rendering import render_chat

if TYPE_CHECKING:
    from ..parsing.tagged import Style
    from ..prompt.render_process import RenderJob, RenderPool
    from .llama_model import LlamaModel
    from .protocol import ChatPrompt, SuffixPrompt
    from .runner_limits import RunnerLimits

Template = Renderer | GoTemplate | JinjaTemplate

PLAIN_TEMPLATE = "{{ .Prompt }}"
"""The template of a model whose config names a parser but no renderer or template, as in Ollama."""

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' ~ message.role ~ '\n' ~ message.content ~ '<|im_end|>\n' }}"
    "{% endfor %}{{ '<|im_start|>assistant\n' }}"
)
"""The Jinja template of a model that has none and names neither renderer nor parser."""


class TakesLong(Exception):
    """A prompt that must be rendered where no other request waits for it."""


class PromptTemplates:
    """The templates of a model, and the child processes that render slow ones."""

    def __init__(self, model: LlamaModel, limits: RunnerLimits) -> None:
        self._model = model
        self._limits = limits
        self._go_template = lru_cache(16)(GoTemplate)
        self.guarded = model.control_marks.guarded
        source = model.chat_template
        self._jinja = source and JinjaTemplate(
            source, model.text_of(model.bos), model.text_of(model.eos)
        )

    def chat(self, prompt: ChatPrompt, *, may_be_slow: bool) -> ChatRendering:
        """Return the rendering of a conversation. Raises TemplateError for a faulty template."""
        return ChatRendering(self, prompt, may_be_slow=may_be_slow)

    def suffix(self, prompt: SuffixPrompt, *, may_be_slow: bool) -> str:
        """Render the text before and after a gap. Raises TemplateError or TakesLong."""
        before, after = self.guarded(prompt.prompt), self.guarded(prompt.suffix)
        source = prompt.template
        if source is None:
            # The vocabulary has tokens for this purpose.
            start, end, gap = self._model.infill_marks
            return f"{start}{before}{end}{after}{gap}"
        if not prompt.is_template_foreign:
            try:
                return self._go_template(source).render_suffix(before, after, allowed=BRIEF)
            except OverBudget:
                pass
        return self.render_in_process(
            self.job(source=source, suffix=(before, after)), may_be_slow=may_be_slow
        )

    def of(self, prompt: ChatPrompt) -> Template:
        """Return the renderer or template of a conversation that brings none of its own."""
        if prompt.renderer:
            return Renderer(prompt.renderer)
        if prompt.template is not None:
            return self._go_template(prompt.template)
        return self._jinja or (self._go_template(PLAIN_TEMPLATE) if prompt.parser else _chatml())

    def style(self, prompt: ChatPrompt) -> Style:
        """Return how the model writes thinking and tool calls."""
        model = self._model
        jinja = model.chat_template if prompt.template is None else None
        return style_for(prompt.parser, prompt.template, jinja, model.architecture)

    def job(self, **fields: Any) -> RenderJob:
        """Return a rendering for a child process."""
        from ..prompt.render_process import RenderJob

        return RenderJob(
            seconds=self._limits.template_seconds,
            steps=FULL.steps,
            characters=FULL.characters,
            **fields,
        )

    def render_in_process(self, job: RenderJob, *, may_be_slow: bool) -> str:
        """Render in a child process. Raises TemplateError, or TakesLong if not ``may_be_slow``."""
        if not may_be_slow:
            raise TakesLong
        return self._pool.render(job)

    @cached_property
    def _pool(self) -> RenderPool:
        from ..prompt.render_process import RenderPool  # most runners never need it

        return RenderPool(self._limits.template_memory)


class ChatRendering:
    """Renders one conversation, as often as messages are removed to make it fit.

    ``messages`` are the prompt's messages, with guards in the texts of users.
    """

    def __init__(
        self, templates: PromptTemplates, prompt: ChatPrompt, *, may_be_slow: bool
    ) -> None:
        self._templates = templates
        self._prompt = prompt
        self._may_be_slow = may_be_slow
        self._is_slow = prompt.is_template_foreign and prompt.template is not None
        self._template = None if self._is_slow else templates.of(prompt)
        tools = prompt.tools
        if tools and self._style.harmony:
            tools = harmony_tools(tools)
        self._tools = templates.guarded(tools)
        self.messages = [self._guarded_message(message) for message in prompt.messages]

    @cached_property
    def _style(self) -> Style:
        return self._templates.style(self._prompt)

    def render(self, messages: Sequence[Message]) -> tuple[str, list[int]]:
        """Return the text and the indices of its images. Raises TemplateError or TakesLong."""
        marked: Sequence[Message] = messages
        if isinstance(self._template, Renderer):  # it places the markers as its models expect them
            places = image_places(messages)
        else:
            marked, places = mark_images(messages)
        text = None if self._is_slow else self._render_here(marked)
        if text is None:
            text = self._templates.render_in_process(
                self._job(marked), may_be_slow=self._may_be_slow
            )
        return text, places

    def _render_here(self, messages: Sequence[Message]) -> str | None:
        """Render in this process; return None for a template that turns out to be slow."""
        template = self._template
        assert template is not None
        allowed = FULL if isinstance(template, Renderer) else BRIEF
        try:
            return render_chat(template, messages, self._tools, self._prompt.think, allowed)
        except OverBudget:
            self._is_slow = True
            if allowed is FULL:
                raise
            return None

    def _job(self, messages: Sequence[Message]) -> RenderJob:
        template, prompt = self._template, self._prompt
        fields: dict[str, Any] = {
            "messages": list(messages),
            "tools": self._tools,
            "think": prompt.think,
        }
        if isinstance(template, JinjaTemplate):
            bos, eos = template.tokens
            fields |= {"source": template.source, "is_jinja": True, "bos": bos, "eos": eos}
        else:
            own = template.source if isinstance(template, GoTemplate) else prompt.template
            fields["source"] = own
        return self._templates.job(**fields)

    def _guarded_message(self, message: Message) -> Message:
        """Keep the texts of a message from becoming control tokens.

        The tags around a model's own thoughts stay, since templates look for them.
        """
        guarded = self._templates.guarded
        tags: frozenset[str] = frozenset()
        if message.role == "assistant":
            tags = frozenset(tag for pair in self._style.thinking for tag in pair)
        fields = msgspec.structs.asdict(message)
        texts = {
            name: guarded(fields[name], except_for=tags)
            for name in ("role", "content", "thinking", "tool_name", "tool_call_id")
        }
        calls = [
            ToolCall(
                msgspec.structs.replace(
                    call.function,
                    name=guarded(call.function.name),
                    arguments=guarded(call.function.arguments),
                ),
                id=guarded(call.id),
            )
            for call in message.tool_calls
        ]
        return msgspec.structs.replace(message, **texts, tool_calls=calls)


@cache
def _chatml() -> JinjaTemplate:
    return JinjaTemplate(CHATML)
