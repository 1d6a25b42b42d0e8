"""The options of ``%%chat``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from IPython.core.magic_arguments import argument
from jupyter_ollama_client.thinking import LEVELS, think_value

from .formats import INSTRUCTIONS

_OPTIONS = (
    argument("model", nargs="?", default="", help="Model to ask. Default: the one used last."),
    argument("--system", "-s", metavar="TEXT", help="System message of the conversation."),
    argument("--new", action="store_true", help="Start the conversation over."),
    argument(
        "--conversation",
        "-c",
        metavar="NAME",
        default="default",
        help="Conversation to continue. Cells without a name share one.",
    ),
    argument(
        "--format",
        "-f",
        choices=list(INSTRUCTIONS),
        help="Form of the answer. code also goes into the next cell.",
    ),
    argument("--schema", metavar="EXPR", help="Dict, pydantic model, dataclass: fills .parsed."),
    argument(
        "--image",
        action="append",
        metavar="X",
        help="File, PIL image, figure or bytes. May be repeated.",
    ),
    argument(
        "--audio",
        action="append",
        metavar="X",
        help="WAV, MP3 or FLAC file, IPython Audio or bytes. May be repeated.",
    ),
    argument("--sources", metavar="INDEX", help="Answer from rows of an index, and cite them."),
    argument("--sources-k", type=int, metavar="N", help="Rows of --sources. Default: 5."),
    argument(
        "--think",
        type=think_value,
        metavar="LEVEL",
        help="Think first. LEVEL may be low, medium, high, max, or the most tokens of thinking.",
    ),
    argument("--no-think", dest="think", action="store_const", const=False, help="Do not think."),
    argument(
        "--tools",
        metavar="F,G",
        help="Functions that the model may call, and mcp:NAME for the tools of an MCP server.",
    ),
    argument("--fix", action="store_true", help="Send the last error and its cell, too."),
    argument("--temperature", type=float, metavar="X", help="0 always picks the likeliest token."),
    argument("--num-ctx", type=int, metavar="N", help="Size of the context in tokens."),
    argument("--num-predict", type=int, metavar="N", help="Longest answer in tokens."),
    argument("--seed", type=int, metavar="N", help="Same seed, same answer."),
    argument(
        "-p",
        dest="parameter",
        action="append",
        metavar="KEY=VALUE",
        help="Any other model option, such as -p top_k=20. May be repeated.",
    ),
    argument("-o", dest="output", metavar="NAME", help="Keep the result in this variable, too."),
    argument("--bg", action="store_true", help="Generate the answer while other cells run."),
    argument("--raw", action="store_true", help="Send the cell as it is: no {name}, no @name."),
    argument("--show-context", action="store_true", help="Show what would be sent; send nothing."),
)


def chat_options(magic: Callable[..., Any]) -> Callable[..., Any]:
    """Give a magic the options of ``%%chat``."""
    for option in reversed(_OPTIONS):
        magic = option(magic)
    return magic


def with_levels(words: Iterable[str]) -> list[str]:
    """Join ``--think`` and its level, so that only a level is parsed as its value."""
    result: list[str] = []
    for word in words:
        if word == "--think":
            result.append("--think=true")
        elif result and result[-1] == "--think=true" and (word in LEVELS or word.isdecimal()):
            result[-1] = f"--think={word}"
        else:
            result.append(word)
    return result


OPTION_STRINGS = tuple(text for option in _OPTIONS for text in option.args if text.startswith("--"))
"""The long options, for completion."""
