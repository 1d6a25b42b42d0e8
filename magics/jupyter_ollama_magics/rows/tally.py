"""The cost of requests: their number, tokens and time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass
class Tally:
    """What the requests of a call have cost so far.

    ``load_seconds`` is the longest time for which one of them waited for the model to load.
    """

    calls: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    load_seconds: float = 0.0

    def add(self, answer: Mapping[str, Any]) -> None:
        """Add a request with its answer, an object of Ollama's API."""
        self.calls += 1
        self.prompt_tokens += answer.get("prompt_eval_count") or 0
        self.answer_tokens += answer.get("eval_count") or 0
        self.load_seconds = max(self.load_seconds, (answer.get("load_duration") or 0) / 1e9)
