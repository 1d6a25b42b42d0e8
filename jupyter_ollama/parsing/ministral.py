"""The format of Ministral 3: thoughts anywhere in the answer, and calls with the tool's name."""

from __future__ import annotations

from typing import Any

from .format import Format, FormatAnswer
from .reader import Steps, marks
from .styles import MISTRAL

CALL, THINK, THOUGHT = "[TOOL_CALLS]", "[THINK]", "[/THINK]"


class MinistralAnswer(FormatAnswer):
    """Parses one answer. Blanks before a call or a thought are dropped, those after it are kept."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._trims = False
        self.content.holds_blanks = self._calls_wanted

    def call(self, name: str, arguments: dict[str, Any]) -> None:
        """Add a call."""
        super().call(name, arguments)
        self.content.drop()

    def _talk(self) -> Steps[None]:
        calls = (CALL, *self._style.dropped) if self._calls_wanted else ()
        wanted = marks(THINK, *calls)
        while mark := (
            yield from self.reader.until(wanted, self.content.add, drops=self._calls_wanted)
        ):
            if mark == THINK:
                self.content.drop()
                yield from self._thought(THOUGHT)
            elif mark == CALL:
                yield from self.attempt(self._style.blocks[CALL], CALL)


FORMATS = {
    "ministral": Format(
        thinking=MISTRAL.thinking,
        unwanted="thinking",
        blocks=MISTRAL.blocks,
        dropped=MISTRAL.dropped,
        drops_begun=True,
        trims_thoughts=False,
        answer=MinistralAnswer,
    )
}
