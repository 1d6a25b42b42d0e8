"""The tools of a request: their names, and the types of their arguments."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from math import isfinite
from typing import Any

from .reader import InvalidCall

Call = tuple[str, dict[str, Any]]

WHOLE = re.compile(r"[-+]?\d{1,300}(\.0+)?")
NUMBER = re.compile(r"[-+]?(\d{1,300}\.?\d*|\.\d+)([eE][-+]?\d{1,2})?")

PYTHON_WORDS = {"true": True, "false": False, "none": None, "null": None}


class Tools:
    """The tools offered to a model, in the form of OpenAI's API."""

    def __init__(self, tools: Sequence[Mapping[str, Any]]) -> None:
        functions = [tool.get("function", tool) for tool in tools]
        self._schemas: dict[str, Mapping[str, Any]] = {
            function["name"]: _mapping(function.get("parameters"))
            for function in functions
            if isinstance(function, Mapping) and isinstance(function.get("name"), str)
        }
        self.names = tuple(name for name in self._schemas if name)

    def parameters(self, name: str) -> list[str]:
        """Return the names of a tool's parameters, in order."""
        return list(_mapping(self._schemas.get(name, {}).get("properties")))

    def required(self, name: str) -> set[str]:
        """Return the names of the required parameters of a tool."""
        required = self._schemas.get(name, {}).get("required")
        return {key for key in _several(required) if isinstance(key, str)}

    def typed(self, name: str, parameter: str, text: str) -> Any:
        """Convert the bare text of an argument to a value of a type that its schema allows.

        Without a schema, text that is valid JSON is decoded.
        """
        return _value(text, self._types(name, parameter))

    def declared(self, name: str, parameter: str, text: str) -> Any:
        """Convert the bare text of an argument to a value of a type that its schema declares.

        Without a declared type it remains text, for models that were trained to write JSON only
        where the schema requires it.
        """
        types = self._types(name, parameter)
        word = text.strip().lower()
        if word == "null" and "string" not in types:
            return None
        if not types:
            return text
        if types == {"boolean"}:
            return word == "true"
        return whole_number(_value(text, types))

    def _types(self, name: str, parameter: str) -> set[str]:
        root = self._schemas.get(name, {})
        schema = _mapping(root.get("properties")).get(parameter)
        return set(_types(schema, root)) if schema is not None else set()


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _types(schema: Any, root: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """Collect the JSON types that a schema allows."""
    if not isinstance(schema, Mapping) or depth > 8:
        return
    yield from (kind for kind in _several(schema.get("type")) if isinstance(kind, str))
    yield from map(_type_of, _several(schema.get("enum", [])))
    if "const" in schema:
        yield _type_of(schema["const"])
    for key in ("anyOf", "oneOf", "allOf"):
        for other in _several(schema.get(key)):
            yield from _types(other, root, depth + 1)
    path = str(schema.get("$ref", "")).split("/")
    if path[0] == "#" and len(path) == 3:
        yield from _types(_mapping(root.get(path[1])).get(path[2]), root, depth + 1)


def _type_of(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
    return names.get(type(value), "array" if isinstance(value, list) else "object")


def _value(text: str, types: set[str]) -> Any:
    bare = text.strip()
    if not types:
        try:
            return decode(bare)
        except InvalidCall:
            return text
    word = bare.lower()
    if word in ("null", "none") and "null" in types:
        return None
    if word in ("true", "false") and "boolean" in types:
        return word == "true"
    if types & {"integer", "number"} and NUMBER.fullmatch(bare):
        whole = WHOLE.fullmatch(bare) and ("." not in bare or "number" not in types)
        if whole or "number" in types:
            with suppress(InvalidCall):
                return _number(bare.split(".")[0] if whole else bare)
    if types & {"array", "object"}:
        for read in (decode, literal):
            try:
                value = read(bare)
            except InvalidCall:
                continue
            if _type_of(value) in types:
                return value
    return text


def decode(text: str) -> Any:
    """Read JSON; raises InvalidCall. Line breaks within strings are accepted."""
    try:
        return json.loads(
            text, strict=False, parse_constant=_number, parse_int=_number, parse_float=_number
        )
    except (ValueError, RecursionError) as error:
        raise InvalidCall from error


def _number(text: str) -> int | float:
    """Read a number; integers of more than 64 bits become floats, as JSON encoders require."""
    try:
        value: int | float = int(text)
    except ValueError:
        value = float(text)
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return value
    value = float(text)
    if not isfinite(value):
        raise InvalidCall
    return value


def whole_number(value: Any) -> Any:
    """Return a float without a fraction as an integer, as Go writes it, other values unchanged."""
    exact = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return int(value) if exact else value


def literal(text: str) -> Any:
    """Read a literal of Python, or of JSON among Python's; raises InvalidCall."""
    try:
        return plain(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidCall from error


def plain(node: ast.expr) -> Any:
    """Convert the syntax tree of a literal to a JSON value; raises InvalidCall for others."""
    match node:
        case ast.Constant(value=bool() | str() | None as value):
            return value
        case ast.Constant(value=int() | float() as value):
            return _number(repr(value))
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return _number(repr(-value))
        case ast.Name(id=name) if name in PYTHON_WORDS:
            return PYTHON_WORDS[name]
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [plain(item) for item in items]
        case ast.Dict(keys=keys, values=values):
            names = [plain(key) if key else None for key in keys]
            if all(isinstance(name, str) for name in names):
                return dict(zip(names, map(plain, values), strict=True))
    raise InvalidCall


def arguments_of(value: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the arguments of a call in JSON, an object or the JSON text of one."""
    for key in ("arguments", "parameters"):
        found = value.get(key)
        if isinstance(found, str):
            try:
                found = decode(found)
            except InvalidCall:
                continue
        if isinstance(found, dict):
            return found
    return None


def calls_in(value: Any, tools: Tools) -> list[Call]:
    """Return the calls of a JSON value: one or a list. Raises InvalidCall.

    Arguments may be omitted for a tool that needs none.
    """
    if isinstance(value, list):
        return [call for item in value for call in calls_in(item, tools)]
    if not isinstance(value, dict):
        raise InvalidCall
    if isinstance(value.get("function"), dict):
        return calls_in(value["function"], tools)
    name = value.get("name") or value.get("tool_name")
    arguments = arguments_of(value)
    if isinstance(name, str) and name:
        if arguments is None and any(value.get(key) for key in ("arguments", "parameters")):
            raise InvalidCall
        return [(name, arguments or {})]
    own = next(iter(value), "")
    if len(value) != 1 or own not in tools.names or not isinstance(value[own], dict):
        raise InvalidCall
    return [(own, value[own])]
