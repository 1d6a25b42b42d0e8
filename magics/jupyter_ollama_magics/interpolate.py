"""Interpolation of variables into a prompt that leaves every other brace unchanged."""

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
_CODE = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,}).*?(?:^[ \t]*(?P=fence)|\Z)|`[^`\n]+`", re.M | re.S
)
_TEX_BEFORE = re.compile(r"[\w^}\\$]")
_STEP = re.compile(r"\.(\w+)|\[([^\]]+)\]")
_CONVERSIONS = {"!r": repr, "!s": str, "!a": ascii, None: None}


def interpolate(text: str, namespace: Mapping[str, Any], unknown: list[str] | None = None) -> str:
    """Replace ``{name}``, ``{name.attribute}``, ``{name[index]}`` by the value's text.

    ``!r`` and ``:spec`` work as in an f-string. No function is called. Other braces and fields that
    do not evaluate stay as typed, so code and JSON pass through. ``{{name}}`` gives ``{name}``.
    Braces in a value are not replaced. Fields that do not evaluate, outside of code and formulas,
    are appended to ``unknown``.
    """
    unresolved: list[re.Match[str]] = []
    replaced = _FIELD.sub(lambda match: _replace(match, namespace, unresolved), text)
    if unknown is not None and unresolved:
        code_spans = [code.span() for code in _CODE.finditer(text)]
        unknown += [
            match[0]
            for match in unresolved
            if not any(start <= match.start() < end for start, end in code_spans)
            and not _TEX_BEFORE.search(text, max(match.start() - 1, 0), match.start())
        ]
    return replaced


def _replace(
    match: re.Match[str], namespace: Mapping[str, Any], unresolved: list[re.Match[str]]
) -> str:
    opened, closed = match["open"], match["close"]
    depth = min(len(opened), len(closed))
    before, after = opened[depth:], closed[depth:]
    field = match[0][len(opened) : len(match[0]) - len(closed)]
    half = depth // 2
    if depth % 2 == 0:
        return f"{before}{'{' * half}{field}{'}' * half}{after}"
    try:
        value = _text(match, namespace)
    except Exception:  # a property or __format__ of the user may raise any exception
        unresolved.append(match)
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
