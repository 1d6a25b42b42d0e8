"""How an answer is read: which parser takes it apart, and from where on a constraint holds."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..parsing.choice import PASSTHROUGH, parser_for, style_for
from ..parsing.forced import ForcedCalls
from .protocol import ChatPrompt, Generate

if TYPE_CHECKING:
    from ..parsing.parsed import Parser
    from ..parsing.styles import Style
    from .constraint import TokenConstraint
    from .llama_model import LlamaModel


class AnswerReader:
    """Reads the answer to one request, whose prompt was rendered to ``text``.

    A model that is to think before it keeps to a format is made to begin with it: ``text`` may have
    become longer.
    """

    def __init__(self, model: LlamaModel, command: Generate, text: str) -> None:
        self._model = model
        self._command = command
        self._style = self._choose_style(command)
        self.text = text
        if command.constraint and self._may_think:
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
        prompt = self._command.prompt
        wanted = isinstance(prompt, ChatPrompt) and bool(prompt.think)
        return self._style.harmony or (wanted and bool(self._style.thinking))

    def _opened(self, text: str) -> str:
        """Return a prompt after which the model thinks: its first token would be free else."""
        if self._style.harmony:
            return text
        begins = [begin for begin, _ in self._style.thinking]
        return text if text.rstrip().endswith(tuple(begins)) else text + begins[0] + "\n"

    def parser(self) -> Parser | None:
        """Return a new parser, or None if all of the answer is content as it stands."""
        command, prompt = self._command, self._command.prompt
        if not isinstance(prompt, ChatPrompt):
            return None
        tools = [] if command.must_call else prompt.tools
        if not (tools or command.must_call or self._may_think):
            return None
        parser = parser_for(self._style, self.text, tools, prompt.think or False)
        return ForcedCalls(parser) if command.must_call else parser

    def constrained(self, constraint: TokenConstraint) -> TokenConstraint | AfterThinking:
        """Return a constraint that holds from the end of thinking on."""
        parser = self.parser() if self._may_think else None
        return AfterThinking(constraint, parser, self._model) if parser else constraint


class AfterThinking:
    """A constraint that begins to hold when a parser has seen the end of thinking."""

    def __init__(self, constraint: TokenConstraint, parser: Parser, model: LlamaModel) -> None:
        self._constraint = constraint
        self._parser = parser
        self._model = model
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._holds = False

    def prepare(self) -> None:
        """Compute the mask for the next token. Raises OllamaError(500)."""
        if self._holds:
            self._constraint.prepare()

    def allows(self, token: int) -> bool:
        """Tell whether a token may follow."""
        return not self._holds or self._constraint.allows(token)

    def apply(self, logits: NDArray[np.float32]) -> None:
        """Set the logits (n_vocab float32) of tokens that may not follow to -inf, in place."""
        if self._holds:
            self._constraint.apply(logits)

    def accept(self, token: int) -> None:
        """Go on by a token. Raises ValueError if it may not follow."""
        if self._holds:
            self._constraint.accept(token)
            return
        self._parser.feed(self._decoder.decode(self._model.piece(token, special=True)))
        self._holds = not self._parser.thinking

    def forced(self) -> list[int]:
        """Return tokens that must follow."""
        return self._constraint.forced() if self._holds else []

    @property
    def is_over(self) -> bool:
        """True if nothing but the end may follow."""
        return self._holds and self._constraint.is_over
