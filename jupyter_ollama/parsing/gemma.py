"""The formats of Gemma: thoughts in channels, anywhere in the answer, and calls in mappings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .format import Format, FormatAnswer
from .mapping import gemma_call
from .reader import Steps

CHANNEL, CHANNEL_END = "<|channel>", "<channel|>"
THOUGHT = CHANNEL + "thought"


class GemmaAnswer(FormatAnswer):
    """Parses one answer. Only the blanks before the end of a thought are dropped."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.thought.holds_blanks = True

    def _thought(self, close: str) -> Steps[None]:
        yield from super()._thought(close)
        self.thought.drop()


GEMMA = Format(
    thinking=tuple((begin, CHANNEL_END) for begin in (THOUGHT, THOUGHT + "\n", CHANNEL)),
    unwanted="dropped",
    anew=True,
    blocks={"<|tool_call>": gemma_call("<tool_call|>", '<|"|>', "<|tool_response>")},
    trims_thoughts=False,
    answer=GemmaAnswer,
)

FORMATS = {
    "gemma4": replace(GEMMA, thinks=True),
    "gemma4-no-thinking": GEMMA,
    "functiongemma": Format(
        thinking=(),
        blocks={"<start_function_call>": gemma_call("<end_function_call>", "<escape>")},
        drops_begun=True,
    ),
}
