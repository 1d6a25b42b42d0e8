"""Answers of nine families of models, from the package canitoolcall, and how to replay them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from functools import cache

from canitoolcall import checks
from canitoolcall.chunking import DEFAULT_STRATEGIES, split
from canitoolcall.fixtures import Family, Fixture, load_families, load_fixtures
from canitoolcall.results import CheckResult, Observation, ParsedToolCall, ParseResult, Status

from jupyter_ollama.parsing.parsed import Parser
from jupyter_ollama.parsing.style_selection import parser_for, style_for

PARSERS = {
    "qwen3-hermes": "qwen3",
    "qwen3-xml": "qwen3-coder",
    "mistral": "ministral",
    "deepseek": "deepseek3",
    "glm": "glm-4.7",
    "kimi": "kimi-k2",
    "gemma4": "gemma4",
    "gpt-oss": "harmony",
    "meta-llama/Llama-3.3-70B-Instruct": "llama3",
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": "llama4",
}
"""The name of the parser that a model's config would have, by family or model."""


@cache
def families() -> dict[str, Family]:
    """Load the descriptions of the families."""
    return load_families()


@cache
def fixtures() -> list[Fixture]:
    """Load all answers."""
    return load_fixtures()


def parser_of(fixture: Fixture) -> Parser:
    """Make the parser for the model and request of a fixture."""
    name = PARSERS.get(fixture.family) or PARSERS[fixture.reference_model]
    prompt = fixture.generation_prompt
    if prompt is None:
        reference = families()[fixture.family].reference_for(fixture.reference_model)
        prompt = (reference and reference.default_generation_prompt) or ""
    return parser_for(style_for(name), prompt, fixture.tools, fixture.thinking)


def parse(parser: Parser, pieces: list[str]) -> ParseResult:
    """Feed an answer piece by piece."""
    parts = [parser.feed(piece) for piece in pieces]
    parts.append(parser.finish())
    calls = [call.function for part in parts for call in part.tool_calls]
    assert [call.index for call in calls] == list(range(len(calls)))
    return ParseResult(
        content="".join(part.content for part in parts) or None,
        reasoning_content="".join(part.thinking for part in parts) or None,
        tool_calls=tuple(
            ParsedToolCall(call.name, json.dumps(call.arguments, ensure_ascii=False))
            for call in calls
        ),
    )


def cuts(fixture: Fixture) -> Iterator[tuple[str, list[str]]]:
    """Cut an answer by each of the package's strategies, and into characters.

    The vocabularies are not available, so tokens are marks of the family, and pieces of words of
    up to five characters.
    """
    markers = families()[fixture.family].markers
    special = "|".join(map(re.escape, sorted(markers, key=len, reverse=True)))
    tokens = re.findall(rf"{special}| ?\w{{1,5}}|\s+|.", fixture.raw_output, re.DOTALL)
    for strategy in DEFAULT_STRATEGIES:
        groups = split(tokens, strategy, special=set(markers))
        yield strategy.id, ["".join(group) for group in groups]
    yield "char:0", list(fixture.raw_output)
    for seed in range(1, 4):
        yield f"rand-characters:{seed}", list(_random_pieces(fixture.raw_output, seed))


def _random_pieces(text: str, seed: int) -> Iterator[str]:
    chooser = random.Random(seed)
    start = 0
    while start < len(text):
        end = start + chooser.randint(1, 8)
        yield text[start:end]
        start = end


def verdict(fixture: Fixture) -> tuple[Status, list[CheckResult]]:
    """Run all checks of the package for every cut of the text."""
    whole = parse(parser_of(fixture), [fixture.raw_output])
    streams = {name: parse(parser_of(fixture), pieces) for name, pieces in cuts(fixture)}
    rows = checks.run_checks(fixture, families()[fixture.family], Observation(whole, streams))
    status = min((row.status for row in rows), key=_WORST.index, default=Status.PASS)
    return status, [row for row in rows if row.status is not Status.PASS]


_WORST = (Status.FAIL, Status.ERROR, Status.SOFT_PASS, Status.PASS)
