"""The results of parsers: the final parts of an answer."""

from __future__ import annotations

from typing import Protocol

import msgspec

from ..prompt.messages import ToolCall


class Parsed(msgspec.Struct):
    """The parts that a piece of text completed. Calls are complete, in the order of the text."""

    content: str = ""
    thinking: str = ""
    tool_calls: list[ToolCall] = []


class Parser(Protocol):
    """Parses one answer. The result does not depend on how the text is split into pieces."""

    def feed(self, text: str) -> Parsed:
        """Feed the next text of the model, with special tokens written out."""

    def finish(self) -> Parsed:
        """End the answer and return the text held back."""

    @property
    def thinking(self) -> bool:
        """Whether content has not begun: the model is thinking or may begin to."""

    @property
    def closing(self) -> str:
        """The text that ends the thinking under way and begins content; "" without thinking."""
