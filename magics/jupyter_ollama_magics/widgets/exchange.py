"""Questions in a chat and what came of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..chat import Question
from ..markdown import safe_markdown
from ..result import ChatResult


@dataclass
class Exchange:
    """A question and its answer. ``thumbnails`` are data URLs of its images, made small."""

    question: Question
    result: ChatResult
    thumbnails: list[str] = field(default_factory=list)
    error: str = ""

    def messages(self) -> list[dict[str, Any]]:
        """Return what later questions build on: nothing if there was no answer."""
        return [self.question.message(), self.result.message] if self.result.text else []

    def shown(self) -> dict[str, Any]:
        """Return what the page shows of it."""
        return {
            "question": self.question.prompt,
            "thumbnails": self.thumbnails,
            "text": self.result.text,
            "thinking": self.result.thinking,
            "note": self.result.footer,
            "error": self.error,
        }

    def markdown(self) -> str:
        """Return what a notebook keeps of it."""
        count = len(self.thumbnails)
        images = f"*({count} image{'s' if count > 1 else ''})*" if count else ""
        asked = "\n\n".join(filter(None, ["**You**", images, safe_markdown(self.question.prompt)]))
        error = f"**Error:** {safe_markdown(self.error)}" if self.error else ""
        answered = "\n\n".join(filter(None, [self.result.markdown(), error]))
        return f"{asked}\n\n**{safe_markdown(self.result.model)}**\n\n{answered}"
