"""The formats of the families of models, as data, and the signs by which they are detected."""

# ruff: noqa: RUF001 (DeepSeek's marks contain full-width bars)

from __future__ import annotations

from collections.abc import Callable

from .blocks import bare_json, json_call, json_calls, python_calls, section
from .keywords import keyword_calls
from .mapping import gemma_call
from .markup import KIMI, QWEN, invoke, tool_call
from .tagged import THINK, Style

_DEEPSEEK = json_call(
    "<｜tool▁call▁end｜>",
    r"\s*(?:function<｜tool▁sep｜>)?\s*(?P<name>[^<\s]+)\s*(?:<｜tool▁sep｜>)?\s*(?:```json\s*)?",
)
_KIMI_2 = json_call(
    "<|tool_call_end|>",
    r"\s*(?:functions\.)?(?P<name>[^\s<]+?)(?::\d+)?\s*<\|tool_call_argument_begin\|>\s*",
)
_MISTRAL = json_call(header=r"\s*(?P<name>[^\[\s]+)\s*(?:\[CALL_ID\][^\[]*)?(?:\[ARGS\])?\s*")


PLAIN = Style(parsers=("passthrough",), thinking=())
"""Text without markup: all of it is content."""

TOOL_CALL = Style(
    parsers=("qwen", "ornith", "glm", "nemotron", "hermes", "granite4", "laguna", "poolside"),
    architectures=("qwen2", "qwen3", "glm4", "nemotron", "granitehybrid", "seed_oss", "smollm3"),
    signs=("<tool_call>", "<function="),
    breaks=tuple(
        "<tool_call>" + begin
        for begin in ("\n<function=", "<function=", '\n{"name"', '{"name"', '\n{\n"name"')
    ),
    blocks={"<tool_call>": tool_call, "<function=": QWEN},
    trims=True,
)

HARMONY = Style(
    parsers=("harmony", "gpt-oss", "gptoss"),
    architectures=("gptoss", "gpt-oss"),
    signs=("<|channel|>",),
    thinking=(),
    harmony=True,
    headed=True,
)

DEEPSEEK = Style(
    parsers=("deepseek", "cogito"),
    architectures=("deepseek",),
    signs=("<｜tool▁calls▁begin｜>", "｜DSML｜"),
    blocks={
        "<｜tool▁calls▁begin｜>": section(
            "<｜tool▁calls▁end｜>", {"<｜tool▁call▁begin｜>": _DEEPSEEK}
        ),
        "<｜tool▁call▁begin｜>": _DEEPSEEK,
        **{
            f"<｜DSML｜{calls}>": section(
                f"</｜DSML｜{calls}>", {f"<｜DSML｜{space}invoke ": invoke(f"｜DSML｜{space}")}
            )
            for calls, space in (("function_calls", ""), ("tool_calls", ""), (" calls", " "))
        },
    },
    dropped=("<｜tool▁calls▁end｜>",),
    trims=True,
)

MISTRAL = Style(
    parsers=("ministral", "mistral", "magistral", "devstral"),
    architectures=("mistral",),
    signs=("[TOOL_CALLS]",),
    thinking=(("[THINK]", "[/THINK]"), THINK),
    blocks={"[TOOL_CALLS]": _MISTRAL},
    dropped=("[/TOOL_CALLS]",),
)

STYLES = (
    PLAIN,
    HARMONY,
    Style(
        parsers=("kimi",),
        architectures=("kimi",),
        signs=("<|tool_calls_section_begin|>", "<|open|>"),
        thinking=(THINK, ("<|open|>think<|sep|>", "<|close|>think<|sep|>")),
        breaks=("<|open|>response<|sep|>", "<|open|>tools<|sep|>"),
        blocks={
            "<|tool_calls_section_begin|>": section(
                "<|tool_calls_section_end|>", {"<|tool_call_begin|>": _KIMI_2}
            ),
            "<|tool_call_begin|>": _KIMI_2,
            "<|open|>tools<|sep|>": section("<|close|>tools<|sep|>", {"<|open|>call ": KIMI}),
        },
        dropped=(
            "<|tool_calls_section_end|>",
            "<|open|>response<|sep|>",
            "<|close|>response<|sep|>",
            "<|close|>message<|sep|>",
        ),
    ),
    DEEPSEEK,
    MISTRAL,
    Style(
        parsers=("gemma4",),
        architectures=("gemma4",),
        signs=("<|tool_call>",),
        thinking=(("<|channel>thought", "<channel|>"),),
        blocks={"<|tool_call>": gemma_call("<tool_call|>", '<|"|>', "<|tool_response>")},
    ),
    Style(
        parsers=("functiongemma",),
        signs=("<start_function_call>",),
        thinking=(),
        blocks={"<start_function_call>": gemma_call("<end_function_call>", "<escape>")},
    ),
    Style(
        parsers=("cohere", "command"),
        architectures=("command-r", "cohere"),
        signs=("<|START_ACTION|>",),
        thinking=(("<|START_THINKING|>", "<|END_THINKING|>"),),
        blocks={"<|START_ACTION|>": json_calls("<|END_ACTION|>"), "Action:": json_call()},
        dropped=("<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>"),
        trims=True,
    ),
    Style(
        parsers=("lfm2",),
        architectures=("lfm2",),
        signs=("<|tool_call_start|>",),
        blocks={"<|tool_call_start|>": keyword_calls("<|tool_call_end|>")},
        trims=True,
    ),
    Style(
        parsers=("olmo",),
        architectures=("olmo",),
        signs=("<function_calls>",),
        blocks={"<function_calls>": python_calls("</function_calls>")},
        trims=True,
    ),
    Style(
        parsers=("minimax",),
        architectures=("minimax",),
        signs=("<minimax:tool_call>",),
        blocks={"<minimax:tool_call>": section("</minimax:tool_call>", {"<invoke ": invoke("")})},
        trims=True,
    ),
    Style(
        parsers=("granite", "phi"),
        architectures=("granite", "phi"),
        signs=("<|tool_call|>", "functools["),
        blocks={"<|tool_call|>": json_call("<|/tool_call|>"), "functools": json_call()},
        trims=True,
    ),
    Style(
        parsers=("llama4", "gemma3"),
        architectures=("llama4", "gemma3"),
        signs=("<|python_start|>", "<|header_start|>"),
        thinking=(),
        blocks={"<|python_start|>": python_calls("<|python_end|>")},
        bare=("[", python_calls()),
    ),
    TOOL_CALL,
    Style(
        parsers=("llama",),
        architectures=("llama",),
        signs=("<|python_tag|>", '"name": function name, "parameters"'),
        blocks={"<|python_tag|>": json_call()},
        bare=("{", bare_json),
    ),
)
"""Searched in this order: signs that other templates also contain are last."""


def _named(name: str, names: Callable[[Style], tuple[str, ...]]) -> Style | None:
    """Return the style with the longest prefix of ``name``."""
    known = [(begin, style) for style in STYLES for begin in names(style)]
    fitting = [(begin, style) for begin, style in known if name.lower().startswith(begin)]
    return max(fitting, key=lambda pair: len(pair[0]), default=("", None))[1]


def by_parser(name: str) -> Style | None:
    """Return the style for the parser in a model's config; None for an unknown name."""
    return _named(name, lambda style: style.parsers)


def by_architecture(name: str) -> Style | None:
    """Return the default style of an architecture."""
    return _named(name, lambda style: style.architectures)


def by_template(source: str) -> Style | None:
    """Return the style whose signs the text of a chat template contains."""
    return next((style for style in STYLES if any(sign in source for sign in style.signs)), None)


def by_tag(tag: str) -> Style | None:
    """Return the style whose calls begin with a tag or a prefix of it."""
    return next(
        (style for style in STYLES if any(tag.startswith(opening) for opening in style.blocks)),
        None,
    )
