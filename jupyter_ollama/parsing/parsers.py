"""The parsers that a model's config can name, and the capabilities that each gives to a model.

Formats that need little code are written here; the others have a module for each family.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from . import deepseek, gemma, glimmer, laguna, ministral, olmo, qwen
from .blocks import json_calls
from .elements import OPEN, ElementCall
from .format import Format, FormatAnswer
from .keywords import keyword_calls
from .styles import HARMONY, PLAIN
from .tagged import THINK, Style
from .tools import Tools

_COHERE_THINKING = "<|START_THINKING|>", "<|END_THINKING|>"
_COHERE_STARTS = "<|START_RESPONSE|>", "<|START_TEXT|>"
_COHERE_ENDS = "<|END_RESPONSE|>", "<|END_TEXT|>", "<|END_OF_TURN_TOKEN|>"


class NamedParser(NamedTuple):
    """A parser: the style of answers, and whether its models call tools and think."""

    style: Style
    has_tools: bool
    thinks: bool


class CohereAnswer(FormatAnswer):
    """Parses one answer. Blanks within blocks of text are content, those between are not."""

    def __init__(self, style: Format, tools: Tools, prompt: str, *, think: bool) -> None:
        super().__init__(style, tools, prompt, think=think)
        self.content.holds_blanks = False
        if prompt.rstrip().endswith(_COHERE_THINKING):
            self.content.swallow()

    def _drop(self, mark: str) -> None:
        if mark in _COHERE_STARTS:
            self.content.keep()
        else:
            self.content.swallow()


class GlmAnswer(FormatAnswer):
    """Parses one answer. A thought that the prompt has begun is continued as it stands."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._goes_on = bool(self._open)


COHERE = Format(
    thinking=(_COHERE_THINKING,),
    thinks=True,
    blocks={"<|START_ACTION|>": json_calls("<|END_ACTION|>")},
    dropped=(*_COHERE_STARTS, *_COHERE_ENDS),
    trims=True,
    answer=CohereAnswer,
)

GLM = Format(
    thinking=(THINK,),
    unwanted="thinking",
    blocks={OPEN: ElementCall()},
    trims=True,
    keeps_after=True,
    drops_begun=True,
    answer=GlmAnswer,
)

LFM2 = Format(
    thinking=(),
    blocks={"<|tool_call_start|>": keyword_calls("<|tool_call_end|>")},
)

_FORMATS: dict[str, Format] = {
    "cohere": COHERE,
    "glm-4.7": replace(GLM, thinks=True),
    "glm-ocr": GLM,
    "lfm2": LFM2,
    "lfm2-thinking": replace(LFM2, thinking=(THINK,), thinks=True),
}
for _module in (deepseek, gemma, glimmer, laguna, ministral, olmo, qwen):
    _FORMATS |= _module.FORMATS

PARSERS = {
    "passthrough": NamedParser(PLAIN, has_tools=False, thinks=False),
    "harmony": NamedParser(HARMONY, has_tools=True, thinks=True),
    **{name: NamedParser(form, form.has_tools, form.thinks) for name, form in _FORMATS.items()},
}
"""The parsers of Ollama by name."""


def named_parser(name: str) -> NamedParser | None:
    """Return the parser of a name, None for an unknown name."""
    return PARSERS.get(name)
