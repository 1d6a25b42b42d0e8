"""The turns of a chat."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..chat import Question
from ..markdown import safe_markdown
from ..result import ChatResult


@dataclass
class ChatTurn:
    """A question and its answer. ``thumbnails`` are data URLs of its small images."""

    question: Question
    result: ChatResult
    thumbnails: list[str] = field(default_factory=list)
    error: str = ""

    def messages(self) -> list[dict[str, Any]]:
        """Return the messages of the turn for later requests, none without an answer."""
        return [self.question.message(), self.result.message] if self.result.text else []

    def shown(self) -> dict[str, Any]:
        """Return the state of the turn for the page."""
        return {
            "question": self.question.prompt,
            "thumbnails": self.thumbnails,
            "text": self.result.text,
            "thinking": self.result.thinking,
            "note": self.result.footer,
            "error": self.error,
        }

    def markdown(self) -> str:
        """Return the turn as markdown for the saved notebook."""
        count = len(self.thumbnails)
        images = f"*({count} image{'s' if count > 1 else ''})*" if count else ""
        asked = "\n\n".join(filter(None, ["**You**", images, safe_markdown(self.question.prompt)]))
        error = f"**Error:** {safe_markdown(self.error)}" if self.error else ""
        answered = "\n\n".join(filter(None, [self.result.markdown(), error]))
        return f"{asked}\n\n**{safe_markdown(self.result.model)}**\n\n{answered}"
