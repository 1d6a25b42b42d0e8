"""A batch loop whose drafter drafts at any cost."""

from __future__ import annotations

from pathlib import Path

from steps import Steps

from jupyter_ollama.engine.sequence import Sequence
from jupyter_ollama.engine.step_costs import DraftCosts
from jupyter_ollama.options import Options


class Eager(DraftCosts):
    """Drafts at any cost, so that tests do not depend on the speed of the host."""

    def length(
        self, rate: float, sequences: int, worth: float, price: float, limit: int
    ) -> tuple[int, float]:
        return limit, 2.0

    def affords(self, behind: int, waited: int, saving: float) -> bool:
        return True

    def record_read(self, seconds: float, tokens: int) -> None:
        pass


class Batches(Steps):
    """A batch loop in which a drafter always drafts."""

    def __init__(self, path: Path, **spec: object) -> None:
        super().__init__(path, idle_tokens=512, stored_bytes=0, is_repeatable=False, **spec)
        assert self.drafter
        self.drafter.costs = Eager(1.0, 1.0)

    def ask(self, request: int, prompt: str | list[int], count: int, **more: object) -> Sequence:
        options = Options(temperature=0, **more)
        drafts = options.draft_num_predict
        return self.add(prompt, count, options, request=request, drafts=drafts)
