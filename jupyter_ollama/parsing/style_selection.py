"""Selection of the parser for a model and a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from .harmony import HarmonyAnswer
from .named_calls import BRACKETS, NamedCalls
from .parsed import Parser
from .parsers import named_parser
from .styles import HARMONY, PLAIN, TOOL_CALL, by_architecture, by_parser, by_tag, by_template
from .tagged import THINK, Style
from .tools import Tools


@lru_cache(maxsize=64)
def style_for(
    parser: str = "", go: str | None = None, jinja: str | None = None, architecture: str = ""
) -> Style:
    """Select the style of a model's answers.

    The config's ``parser`` decides, else the template of the prompt: ``go``, or ``jinja`` and then
    the GGUF's ``architecture`` (or the model's family). Results are memoized.
    """
    known = named_parser(parser)
    named = known.style if known else by_parser(parser) if parser else None
    if named:
        return named
    usual = by_architecture(architecture)
    if usual is HARMONY:
        return HARMONY
    if go is not None:
        return _of_go(go)
    if jinja is None:
        return usual or TOOL_CALL
    style = by_template(jinja) or usual or TOOL_CALL
    if THINK not in style.thinking or THINK[1] in jinja:
        return style
    return replace(style, thinking=tuple(pair for pair in style.thinking if pair != THINK))


def _of_go(source: str) -> Style:
    if by_template(source) is HARMONY:
        return HARMONY
    from .go_tags import go_tags  # gotpl takes 150 ms to import

    tags = go_tags(source)
    style = by_tag(tags.tool_call)
    if style is None:
        calls = NamedCalls(tags.tool_call)
        bare = tags.tool_call in BRACKETS
        style = Style(
            blocks={} if bare else {tags.tool_call: calls},
            bare=(tags.tool_call, calls) if bare else None,
        )
    return replace(style, thinking=(tags.thinking,) if tags.thinking else ())


def parser_for(
    style: Style,
    prompt: str = "",
    tools: Sequence[Mapping[str, Any]] = (),
    think: bool | str | None = None,
) -> Parser:
    """Make the parser of one answer.

    ``prompt`` is the rendered prompt or its end; ``tools`` and ``think`` are those of the request.
    """
    offered = Tools(tools)
    if style.harmony:
        return HarmonyAnswer(offered, prompt)
    return style.answer(style, offered, prompt, think=think is not False)


PASSTHROUGH = PLAIN
"""The style of prompts without a template."""
