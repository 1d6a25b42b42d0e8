"""Request bodies by the rules of Go's ``encoding/json``, which Ollama's clients rely on.

One JSON value is read and the rest is ignored. Field names match in any case, unknown ones are
skipped, null keeps a default, the last of duplicates wins. Error texts are those of Go.
"""

from __future__ import annotations

import functools
import json
import sys
import types
from collections.abc import Callable
from typing import Annotated, Any, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from ..bounds import MOST_VALUES
from ..errors import OllamaError
from . import json_shape

T = TypeVar("T", bound=msgspec.Struct)

_MAX_DEPTH = 200
"""The nesting of free-form values: the encoders that process them next have limits, too."""
TOO_LARGE = "http: request body too large"
_MAX_DIGITS = 4000
"""The digits of an integer up to which Python parses it."""

_AT_KEY = "looking for beginning of object key string"
_SYNTAX = {
    "Expecting value": "looking for beginning of value",
    "Expecting property name enclosed in double quotes": _AT_KEY,
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "after object key:value pair",
    "Invalid control character at": "in string literal",
    "Invalid \\escape": "in string escape code",
    "Invalid \\uXXXX escape": "in \\u hexadecimal character escape",
    "Illegal trailing comma before end of object": _AT_KEY,
    "Illegal trailing comma before end of array": "looking for beginning of value",
}


def decode(
    body: bytes | bytearray,
    into: type[T],
    most_values: int = MOST_VALUES,
    hold: Callable[[int], None] = lambda values: None,
) -> T:
    """Read the JSON object at the head of ``body`` into a struct.

    Fields that the struct lacks are skipped and cost no memory. The others may hold ``most_values``
    values together; ``hold`` gets their number before they are built. Raises OllamaError(400).
    """
    found = _members(body, most_values, hold)
    if found is None:
        return into()
    if not isinstance(found, dict):
        raise OllamaError(
            400, f"json: cannot unmarshal {_kind(found)} into Go value of type {_go_type(into)}"
        )
    known = {
        key: value
        for key, value in found.items()
        if key in _fields(into) or key.lower() in _fields(into)
    }
    raw = [bytes(value) for value in known.values() if isinstance(value, msgspec.Raw)]
    values = sum(map(json_shape.most_values, raw))
    if values > most_values:
        values = sum(json_shape.count_values(value)[0] for value in raw)
        _check_values(values, most_values)
    hold(values)
    read = {
        key: _parse(bytes(value)) if isinstance(value, msgspec.Raw) else value
        for key, value in known.items()
    }
    result: T = _convert(read, into, into.__name__, "")
    return result


def _members(body: bytes | bytearray, most_values: int, hold: Callable[[int], None]) -> Any:
    """Return the members of the object in ``body``, values as raw JSON; any other value is read.

    Small invalid text is parsed as a whole, for Go's error text.
    """
    if json_shape.most_values(body) > most_values:
        _check_values(json_shape.count_values(body)[1], most_values)
    try:
        return msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Broken, another value, or only laxer than msgspec allows: trailing bytes, broken UTF-8.
        values = json_shape.most_values(body)
        if values > most_values:
            values = json_shape.count_values(body)[0]
            _check_values(values, most_values)
        hold(values)
        return _parse_leniently(body.decode(errors="replace"))


def _check_values(values: int, most: int) -> None:
    if values > most:
        raise OllamaError(400, f"the request holds more than {most} JSON values")


def _parse(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _parse_leniently(text.decode(errors="replace"))


def _parse_leniently(text: str) -> Any:
    start = len(text) - len(text.lstrip(" \t\r\n"))
    try:
        decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_integer)
        value, _ = decoder.raw_decode(text, start)
        return _without_surrogates(value)
    except json.JSONDecodeError as error:
        raise OllamaError(400, _syntax_error(text, error)) from None
    except RecursionError:
        raise OllamaError(400, "exceeded max depth") from None


def _refuse_constant(name: str) -> NoReturn:
    raise OllamaError(400, f"invalid character '{name[0]}' looking for beginning of value")


def _integer(text: str) -> int | float:
    return int(text) if len(text) < _MAX_DIGITS else float(text)


def _syntax_error(text: str, error: json.JSONDecodeError) -> str:
    if error.pos >= len(text) or error.msg.startswith("Unterminated string"):
        return "unexpected EOF"
    message = error.msg.removesuffix(": ")
    character = json.dumps(text[error.pos], ensure_ascii=False)[1:-1].replace('\\"', '"')
    return f"invalid character '{character}' {_SYNTAX.get(message, 'in JSON text')}"


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value


def _convert(value: Any, kind: Any, root: str, path: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return arguments[1](_free(value, f"{root}.{path}"))
    if origin in (Union, types.UnionType):
        return None if value is None else _convert(value, _member(value, arguments), root, path)
    if kind is Any:
        return _free(value, f"{root}.{path}")
    if value is None:
        return _zero(kind)
    if origin is list and isinstance(value, list):
        return [_convert(item, arguments[0], root, path) for item in value]
    if origin is dict and isinstance(value, dict):
        return {key: _convert(item, arguments[1], root, path) for key, item in value.items()}
    if _is_struct(kind) and isinstance(value, dict):
        return _convert_struct(value, kind, root, path)
    if kind is float and type(value) in (int, float):
        return float(_number(value, f"{root}.{path}"))
    if kind is int and type(value) is int and -(2**63) <= value < 2**63:
        return value
    if kind in (str, bool) and type(value) is kind:
        return value
    detail = f" {value}" if kind is int and type(value) in (int, float) else ""
    raise OllamaError(
        400,
        f"json: cannot unmarshal {_kind(value)}{detail} into Go struct field {root}.{path} "
        f"of type {_go_type(kind)}",
    )


def _free(value: Any, field: str, depth: int = 0) -> Any:
    """Return a value of any shape with its numbers made to fit."""
    if depth > _MAX_DEPTH:
        raise OllamaError(400, "exceeded max depth")
    if isinstance(value, list):
        return [_free(item, field, depth + 1) for item in value]
    if isinstance(value, dict):
        return {key: _free(item, field, depth + 1) for key, item in value.items()}
    return _number(value, field) if type(value) in (int, float) else value


def _number(value: float, field: str) -> float:
    """Return a number, an integer beyond 64 bits as a float. Raises OllamaError(400) beyond that.

    Infinities, which JSON text such as 1e999 becomes, would make broken JSON when written again.
    """
    if abs(value) > sys.float_info.max:
        message = f"json: cannot unmarshal number into Go struct field {field} of type float64"
        raise OllamaError(400, message)
    return value if -(2**63) <= value < 2**63 else float(value)


def _member(value: Any, kinds: tuple[Any, ...]) -> Any:
    """Return the member of a union that a value is meant for, the first if none fits."""
    fitting = [kind for kind in kinds if isinstance(value, get_origin(kind) or kind)]
    return (fitting or kinds)[0]


def _convert_struct(value: dict[str, Any], kind: Any, root: str, path: str) -> Any:
    fields = _fields(kind)
    given = {name: _zero(hint) for name, hint, required in fields.values() if required}
    for key, item in value.items():
        wire_name = key if key in fields else key.lower()
        if item is None or wire_name not in fields:
            continue
        name, hint, _ = fields[wire_name]
        given[name] = _convert(item, hint, root, f"{path}.{wire_name}" if path else wire_name)
    return kind(**given)


@functools.cache
def _fields(kind: type[msgspec.Struct]) -> dict[str, tuple[str, Any, bool]]:
    """Return {name on the wire: (attribute, type, required)}."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        field.encode_name: (field.name, hints[field.name], field.required)
        for field in msgspec.structs.fields(kind)
    }


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _zero(kind: Any) -> Any:
    if _is_struct(kind):
        return _convert_struct({}, kind, "", "")
    return (
        None
        if get_origin(kind) in (Annotated, Union, types.UnionType)
        else (get_origin(kind) or kind)()
    )


def _kind(value: Any) -> str:
    names = {str: "string", bool: "bool", list: "array", dict: "object"}
    return names.get(type(value), "number")


def _go_type(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is list:
        return f"[]{_go_type(arguments[0])}"
    if origin is dict:
        return f"map[string]{_go_type(arguments[1])}"
    if _is_struct(kind):
        return f"api.{kind.__name__}"
    names = {str: "string", bool: "bool", int: "int", float: "float64", Any: "interface {}"}
    return names[kind]
