"""The parser of an answer, and the constraint of its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..parsing.forced import ForcedCalls
from ..parsing.style_selection import PASSTHROUGH, parser_for, style_for
from ..prompt.continuation import is_continued
from .protocol import ChatPrompt, Generate
from .thinking_phase import ThinkingPhase

if TYPE_CHECKING:
    from ..parsing.parsed import Parser
    from ..parsing.tagged import Style
    from .constraint import TokenConstraint
    from .llama_model import LlamaModel


class AnswerReader:
    """Parses the answer to one request, whose prompt was rendered to ``text``.

    A model that thinks before it follows a format must begin by thinking: ``text`` is extended by
    the tag if necessary.
    """

    def __init__(self, model: LlamaModel, command: Generate, text: str) -> None:
        self._model = model
        self._command = command
        self._style = self._choose_style(command)
        self.text = text
        prompt = command.prompt
        self._is_continued = isinstance(prompt, ChatPrompt) and is_continued(prompt.messages)
        if command.constraint and self._thinks_first:
            self.text = self._opened(text)

    def _choose_style(self, command: Generate) -> Style:
        prompt = command.prompt
        if not isinstance(prompt, ChatPrompt):
            return PASSTHROUGH
        model = self._model
        jinja = model.chat_template if prompt.template is None else None
        return style_for(prompt.parser, prompt.template, jinja, model.architecture)

    @property
    def _may_think(self) -> bool:
        prompt, style = self._command.prompt, self._style
        wanted = isinstance(prompt, ChatPrompt) and bool(prompt.think)
        opened = style.unwanted == "thinking" and self._is_opened(self.text)
        return style.headed or (bool(style.thinking) and (wanted or opened))

    @property
    def _thinks_first(self) -> bool:
        """True if thinking may precede the part of the answer that a constraint applies to.

        A continued answer has already finished thinking.
        """
        return self._may_think and not self._is_continued

    def _is_opened(self, text: str) -> bool:
        """Return whether a prompt ends within thinking."""
        return text.rstrip().endswith(tuple(begin for begin, _ in self._style.thinking))

    def _opened(self, text: str) -> str:
        """Return a prompt that opens thinking, or the first token would be free of constraints."""
        if self._style.headed or self._is_opened(text):
            return text
        return text + self._style.thinking[0][0] + "\n"

    def parser(self) -> Parser | None:
        """Return a new parser, or None if the whole answer is content."""
        command, prompt = self._command, self._command.prompt
        if not isinstance(prompt, ChatPrompt):
            return None
        tools = [] if command.must_call else prompt.tools
        if not (tools or command.must_call or self._may_think or self._style.always):
            return None
        parser = parser_for(self._style, self.text, tools, prompt.think or False)
        return ForcedCalls(parser) if command.must_call else parser

    def constrained(
        self, constraint: TokenConstraint | None
    ) -> TokenConstraint | ThinkingPhase | None:
        """Return the constraint of the whole answer: thinking is free, but may have a budget."""
        prompt = self._command.prompt
        budget = prompt.thinking_budget if isinstance(prompt, ChatPrompt) else None
        if constraint is None and budget is None:
            return None
        parser = self.parser() if self._thinks_first else None
        return ThinkingPhase(parser, self._model, constraint, budget) if parser else constraint
