"""JSON schemas of Python types, and values of those types from JSON."""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from .failures import OllamaMagicsError

_SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_LISTS: tuple[Any, ...] = (list, tuple, set, frozenset, Sequence)


def schema_option(name: str, value: Any) -> dict[str, Any]:
    """Return the JSON schema for ``--schema name``, where the variable has ``value``."""
    schema = dict(value) if isinstance(value, Mapping) else schema_of(value)
    if not schema:
        raise OllamaMagicsError(
            f"--schema needs a dict, a pydantic model, a dataclass or a type, and {name} is none."
        )
    return schema


def typed_value(kind: Any, value: Any) -> Any:
    """Return the JSON ``value`` as the type of its schema; a schema as a dict keeps JSON."""
    return value if kind is None or isinstance(kind, Mapping) else build(kind, value)


def schema_of(kind: Any) -> dict[str, Any]:
    """Return the JSON schema of a type, {} for a type without one."""
    definitions: dict[str, Any] = {}
    schema = _schema(kind, (), definitions)
    return {**schema, "$defs": definitions} if definitions else schema


def object_schema(hints: Mapping[str, Any], required: Sequence[str]) -> dict[str, Any]:
    """Return the JSON schema of an object with fields of these types."""
    definitions: dict[str, Any] = {}
    fields = {name: _schema(kind, (), definitions) for name, kind in hints.items()}
    schema = {"type": "object", "properties": fields, "required": list(required)}
    return {**schema, "$defs": definitions} if definitions else schema


def _schema(kind: Any, inside: tuple[Any, ...], definitions: dict[str, Any]) -> dict[str, Any]:
    if kind in inside:
        raise OllamaMagicsError(f"{kind.__name__} contains itself; a pydantic model may do so.")
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        texts = [text for text in arguments[1:] if isinstance(text, str)]
        description = {"description": texts[0]} if texts else {}
        return {**_schema(arguments[0], inside, definitions), **description}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema(argument, inside, definitions) for argument in arguments]}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    if hasattr(kind, "model_json_schema"):
        schema = dict(kind.model_json_schema())
        definitions |= schema.pop("$defs", {})
        return schema
    if (origin or kind) in _LISTS or (origin or kind) in (dict, Mapping):
        return _container(origin or kind, arguments, inside, definitions)
    if _is_record(kind):
        return _record(kind, (*inside, kind), definitions)
    if _is_date(kind):
        return {"type": "string", "format": "date-time" if kind.__name__ == "datetime" else "date"}
    return {"type": _SIMPLE[kind]} if isinstance(kind, type) and kind in _SIMPLE else {}


def _container(
    kind: Any, arguments: tuple[Any, ...], inside: tuple[Any, ...], definitions: dict[str, Any]
) -> dict[str, Any]:
    parts = [_schema(part, inside, definitions) for part in arguments if part is not ...]
    if kind not in _LISTS:
        return {"type": "object", **({"additionalProperties": parts[-1]} if parts else {})}
    if kind is tuple and parts and ... not in arguments:
        return {"type": "array", "prefixItems": parts, "minItems": len(parts), "items": False}
    return {"type": "array", **({"items": parts[0]} if parts else {})}


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and (
        hasattr(kind, "__dataclass_fields__") or typing.is_typeddict(kind)
    )


def _is_date(kind: Any) -> bool:
    return isinstance(kind, type) and kind.__module__ == "datetime" and "date" in kind.__name__


def _record(kind: Any, inside: tuple[Any, ...], definitions: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    properties = {name: _schema(hints[name], inside, definitions) for name in _fields(kind)}
    return {"type": "object", "properties": properties, "required": _required(kind)}


def _fields(kind: Any) -> list[str]:
    if typing.is_typeddict(kind):
        return list(kind.__annotations__)
    import dataclasses

    return [field.name for field in dataclasses.fields(kind) if field.init]


def _required(kind: Any) -> list[str]:
    if typing.is_typeddict(kind):
        return [name for name in _fields(kind) if name in kind.__required_keys__]
    import dataclasses

    missing = dataclasses.MISSING
    return [
        field.name
        for field in dataclasses.fields(kind)
        if field.init and field.default is missing and field.default_factory is missing
    ]


def build(kind: Any, value: Any) -> Any:
    """Return the JSON ``value`` as the type ``kind``. Raises ValueError or TypeError."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return build(arguments[0], value)
    if origin in (typing.Union, types.UnionType):
        return _first_fitting(arguments, value)
    if hasattr(kind, "model_validate"):
        return kind.model_validate(value)
    if origin is typing.Literal:
        if value not in arguments:
            raise ValueError(f"{value!r} is not one of {', '.join(map(repr, arguments))}")
        return value
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(value)
    if kind in (int, float) and not isinstance(value, bool):
        return _number(kind, value)
    if kind in _SIMPLE and not isinstance(value, kind):
        raise ValueError(f"{value!r} is not of type {kind.__name__}")
    if _is_date(kind):
        return kind.fromisoformat(value)
    if _is_record(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        fields = {name: build(hints.get(name, Any), part) for name, part in value.items()}
        return kind(**fields)
    return _built_parts(origin or kind, arguments, value)


def _built_parts(kind: Any, arguments: tuple[Any, ...], value: Any) -> Any:
    if kind in (dict, Mapping) and len(arguments) == 2:
        return {name: build(arguments[1], part) for name, part in value.items()}
    if kind not in _LISTS:
        return value
    kinds = [arguments[0]] * len(value) if arguments else [Any] * len(value)
    if kind is tuple and arguments and ... not in arguments:
        kinds = list(arguments)
    parts = [build(part_kind, part) for part_kind, part in zip(kinds, value, strict=True)]
    return parts if kind is Sequence else kind(parts)


def _first_fitting(kinds: Sequence[Any], value: Any) -> Any:
    # A string stays a string where numbers are allowed, too.
    exact = [kind for kind in kinds if isinstance(kind, type) and type(value) is kind]
    for kind in [*exact, *kinds]:
        try:
            return build(kind, value)
        except (ValueError, TypeError, AttributeError):
            continue
    raise ValueError(f"{value!r} fits none of the allowed types")


def _number(kind: type, value: Any) -> Any:
    number = kind(value)
    if isinstance(value, float) and number != value:
        raise ValueError(f"{value!r} is not of type {kind.__name__}")
    return number
