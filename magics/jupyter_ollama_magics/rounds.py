"""The rounds of an answer: a model that calls tools responds more than once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import formats
from .markdown import code_block, folded, safe_markdown
from .tools import ToolCall

LONGEST_OUTCOME = 2000
"""Characters of the result of a tool that are shown; the model gets all of it."""


@dataclass
class Round:
    """One response of a model: thinking, text and tool calls."""

    thinking: str = ""
    text: str = ""
    calls: list[ToolCall] = field(default_factory=list)

    @property
    def message(self) -> dict[str, Any]:
        """The round as a message, with the thinking before its calls."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        if self.thinking:
            message["thinking"] = self.thinking
        if self.calls:
            message["tool_calls"] = [
                {"function": {"name": call.name, "arguments": call.arguments}}
                | ({"id": call.id} if call.id else {})
                for call in self.calls
            ]
        return message

    def markdown(self, title: str, kind: str) -> str:
        """Return folded thinking, the text, and folded calls."""
        thinking = self.thinking and folded(title, safe_markdown(self.thinking))
        calls = [
            folded(str(call), code_block(call.outcome[:LONGEST_OUTCOME])) for call in self.calls
        ]
        return "\n\n".join(filter(None, [thinking, formats.markdown(self.text, kind), *calls]))
