"""What parsers give: the parts of an answer that have become certain."""

from __future__ import annotations

from typing import Protocol

import msgspec

from ..prompt.messages import ToolCall


class Parsed(msgspec.Struct):
    """What a piece of text made certain. Calls come whole, in the order of the text."""

    content: str = ""
    thinking: str = ""
    tool_calls: list[ToolCall] = []


class Parser(Protocol):
    """Takes one answer apart. The result is the same however the text is cut into pieces."""

    def feed(self, text: str) -> Parsed:
        """Take the next text of the model, its special tokens written out."""

    def finish(self) -> Parsed:
        """Take note of the end of the answer and give what was held back."""

    @property
    def thinking(self) -> bool:
        """Whether content has not begun: the model thinks, or may yet begin to."""
