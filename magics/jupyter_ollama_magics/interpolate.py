"""Put the values of variables into a prompt, and leave every other brace alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

_FIELD = re.compile(
    r"(?P<open>\{+)"
    r"(?P<name>[^\W\d]\w*)"
    r"(?P<path>(?:\.[^\W\d]\w*|\[[^\[\]{}\n]+\])*)"
    r"(?P<conversion>![rsa])?"
    r"(?P<spec>:[^{}\n]*)?"
    r"(?P<close>\}+)"
)
_STEP = re.compile(r"\.(\w+)|\[([^\]]+)\]")
_CONVERSIONS = {"!r": repr, "!s": str, "!a": ascii, None: None}


def interpolate(text: str, namespace: Mapping[str, Any]) -> str:
    """Replace ``{name}``, ``{name.attribute}``, ``{name[index]}`` by the value's text.

    ``!r`` and ``:spec`` work as in an f-string. Nothing is called. What is no such field, or does
    not evaluate, stays as typed, so code and JSON pass through. ``{{name}}`` gives ``{name}``.
    A value that has braces itself is not looked at again.
    """
    return _FIELD.sub(lambda match: _replace(match, namespace), text)


def _replace(match: re.Match[str], namespace: Mapping[str, Any]) -> str:
    opened, closed = match["open"], match["close"]
    depth = min(len(opened), len(closed))
    before, after = opened[depth:], closed[depth:]
    field = match[0][len(opened) : len(match[0]) - len(closed)]
    half = depth // 2
    if depth % 2 == 0:
        return f"{before}{'{' * half}{field}{'}' * half}{after}"
    try:
        value = _text(match, namespace)
    except Exception:  # a property or __format__ of the user's may raise anything
        return match[0]
    return f"{before}{'{' * half}{value}{'}' * half}{after}"


def _text(match: re.Match[str], namespace: Mapping[str, Any]) -> str:
    value = namespace[match["name"]]
    for attribute, index in _STEP.findall(match["path"]):
        value = getattr(value, attribute) if attribute else value[_index(index, namespace)]
    convert = _CONVERSIONS[match["conversion"]]
    value = convert(value) if convert else value
    spec = match["spec"]
    return format(value, spec[1:]) if spec else str(value)


def _index(text: str, namespace: Mapping[str, Any]) -> Any:
    if text.strip().isidentifier():
        return namespace[text.strip()]
    return ast.literal_eval(text.strip())
