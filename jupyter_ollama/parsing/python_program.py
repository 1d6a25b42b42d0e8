"""Tool calls written as a program in Python."""

from __future__ import annotations

import ast
from typing import Any

from .reader import InvalidCall
from .tools import Call, Tools, plain


def calls_of_program(text: str, tools: Tools, *, lenient: bool = False) -> list[Call]:
    """Return the calls of a program, alone or in lists; none if the text is not a program.

    ``lenient`` accepts the names of unknown tools, and bare words as strings that lack their
    quotes. Raises InvalidCall for any other statement.
    """
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found: list[Call] = []
    for statement in body:
        value = statement.value if isinstance(statement, ast.Expr) else None
        items = value.elts if isinstance(value, ast.List | ast.Tuple) else [value]
        found += [_call(item, tools, lenient) for item in items]
    return found


def _call(node: ast.expr | None, tools: Tools, lenient: bool) -> Call:
    if not isinstance(node, ast.Call):
        raise InvalidCall
    name = ast.unparse(node.func)
    fits = isinstance(node.func, ast.Name | ast.Attribute) if lenient else name in tools.names
    parameters = tools.parameters(name)
    if not fits or len(node.args) > len(parameters):
        raise InvalidCall
    value = _word_or_value if lenient else plain
    arguments = dict(zip(parameters, map(value, node.args), strict=False))
    for keyword in node.keywords:
        if keyword.arg is None:
            raise InvalidCall
        arguments[keyword.arg] = value(keyword.value)
    return name, arguments


def _word_or_value(node: ast.expr) -> Any:
    try:
        return plain(node)
    except InvalidCall:
        if isinstance(node, ast.Name):
            return node.id
        raise
