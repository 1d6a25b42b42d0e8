"""Parse the line of a magic: shell-like words, options, values of variables."""

from __future__ import annotations

import argparse
import ast
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from IPython.core.error import UsageError

from .chat_options import with_levels
from .failures import OllamaMagicsError
from .interpolate import interpolate

MOST_NAMED = 5

_OPTION = re.compile(r"\s+(?=-{1,2}[A-Za-z])")


def parse(
    magic: Any, line: str, namespace: Mapping[str, Any], unknown: list[str] | None = None
) -> argparse.Namespace:
    """Parse the line of a ``magic_arguments`` magic; values may hold ``{name}`` fields.

    Fields without a value stay as they are and are added to ``unknown``.
    """
    try:
        words = [interpolate(word, namespace, unknown) for word in shlex.split(line)]
        parsed: argparse.Namespace = magic.parser.parse_args(with_levels(words))
        return parsed
    except (UsageError, ValueError) as error:
        prefix = "%%" if magic.__name__ == "chat" else "%"
        text = str(error).rstrip(".")
        raise OllamaMagicsError(f"{text}. See {prefix}{magic.__name__}?") from error


def not_replaced(fields: Sequence[str]) -> list[str]:
    """Return a remark about fields that have no value, if there are any."""
    names = list(dict.fromkeys(fields))
    shown = ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")
    return [f"{shown} {'has' if len(names) == 1 else 'have'} no value, sent as typed"] * bool(names)


def split_expression(line: str) -> tuple[str, str]:
    """Split ``EXPR --option value …`` into the Python expression and the rest.

    The expression ends at the first option before which the text is valid Python: dashes inside
    quotes and brackets belong to it.
    """
    ends = [(found.start(), found.end()) for found in _OPTION.finditer(line)]
    for stop, start in [*ends, (len(line), len(line))]:
        try:
            ast.parse(line[:stop].strip(), mode="eval")
        except SyntaxError:
            continue
        return line[:stop].strip(), line[start:]
    raise OllamaMagicsError(
        "Expected a Python expression first, then options: %embed EXPR [--model NAME]. See %embed?"
    )


def options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the model options that ``args`` asks for."""
    named = {
        name: getattr(args, name) for name in ("temperature", "num_ctx", "num_predict", "seed")
    }
    given = {name: value for name, value in named.items() if value is not None}
    return given | parameters(args.parameter, "%%chat")


def parameters(pairs: Sequence[str] | None, magic: str) -> dict[str, Any]:
    """Return the values of ``-p`` options, decoded where they are JSON."""
    result: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise OllamaMagicsError(f"-p takes key=value, not {pair}. See {magic}?")
        try:
            result[name] = json.loads(value)
        except ValueError:
            result[name] = value
    return result


def check_variable(name: str | None) -> None:
    """Raise OllamaMagicsError if ``-o`` does not name a variable."""
    if name and not name.isidentifier():
        raise OllamaMagicsError(f"-o takes the name of a variable, not {name}.")
