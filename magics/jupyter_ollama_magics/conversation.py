"""The messages of a conversation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Conversation:
    """A conversation that cells continue. ``messages`` are in the form of the Ollama API.

    ``forgotten`` counts the oldest messages that are no longer sent. ``waiting`` is True while an
    answer is generated in the background.
    """

    name: str
    system: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    forgotten: int = 0
    waiting: bool = False
    _ends: list[tuple[int, int]] = field(default_factory=list)
    """For each turn, the number of messages up to its end and the total tokens sent for them."""

    def before(self, default_system: str = "") -> list[dict[str, Any]]:
        """Return the messages to send before the next question."""
        system = self.system or default_system
        first = [{"role": "system", "content": system}] if system else []
        return [*first, *self.messages[self.forgotten :]]

    def add(self, messages: list[dict[str, Any]], metrics: dict[str, Any], most: int) -> None:
        """Add a turn; forget the oldest ones if they have more than ``most`` tokens (0: never).

        The lengths of the turns follow from the token counts in ``metrics``.
        """
        self.messages += messages
        gone = next((tokens for end, tokens in self._ends if end == self.forgotten), 0)
        tokens = gone + metrics.get("prompt_eval_count", 0) + metrics.get("eval_count", 0)
        # An interrupted answer has no counts.
        tokens = max([tokens, *(until for _, until in self._ends[-1:])])
        self._ends.append((len(self.messages), tokens))
        for end, until in self._ends[:-1]:
            if most and tokens - gone > most and end > self.forgotten:
                self.forgotten, gone = end, until
