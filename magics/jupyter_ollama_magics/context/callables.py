"""Functions, classes and modules, described without evaluating annotations or default values."""

from __future__ import annotations

import sys
from types import FunctionType, ModuleType
from typing import Any

from .literals import literal
from .static_types import base_classes, class_dict, full_type_name, is_class, type_name

LONGEST_DOC = 600
MOST_NAMES = 40
HAS_STATIC_ANNOTATIONS = sys.version_info < (3, 14)
"""Python 3.14 evaluates annotations when they are read."""


def signature(function: FunctionType) -> str:
    """Return the parameters of a function in parentheses."""
    code = function.__code__
    names = code.co_varnames
    positional, only_named = code.co_argcount, code.co_kwonlyargcount
    defaults = function.__defaults__ or ()
    named_defaults = function.__kwdefaults__ or {}
    annotations: dict[str, Any] = function.__annotations__ if HAS_STATIC_ANNOTATIONS else {}

    def parameter(name: str, *default: object) -> str:
        annotation = _annotation(annotations.get(name))
        text = f"{name}: {annotation}" if annotation else name
        if not default:
            return text
        equals = " = " if annotation else "="
        return f"{text}{equals}{literal(default[0], 30, 1)}"

    first = positional - len(defaults)
    parts = [
        parameter(name, *defaults[at - first :][:1]) if at >= first else parameter(name)
        for at, name in enumerate(names[:positional])
    ]
    if code.co_posonlyargcount:
        parts.insert(code.co_posonlyargcount, "/")
    end = positional + only_named
    if code.co_flags & 0x04:
        parts.append(f"*{names[end]}")
        end += 1
    elif only_named:
        parts.append("*")
    for name in names[positional : positional + only_named]:
        known = [named_defaults[name]] if name in named_defaults else []
        parts.append(parameter(name, *known))
    if code.co_flags & 0x08:
        parts.append(f"**{names[end]}")
    returned = _annotation(annotations.get("return"))
    return f"({', '.join(parts)})" + (f" -> {returned}" if returned else "")


def describe_function(name: str, function: FunctionType) -> str:
    """Return the signature and the docstring of a function."""
    awaited = "async " if function.__code__.co_flags & 0x80 else ""
    return f"{awaited}def {name}{signature(function)}" + _doc(function.__doc__)


def describe_class(kind: type) -> str:
    """Return the bases, the docstring, the constructor and the public names of a class."""
    own = class_dict(kind)
    bases = [full_type_name(base) for base in base_classes(kind)[1:] if base is not object]
    head = f"class {type_name(kind)}" + (f", a subclass of {', '.join(bases[:5])}" if bases else "")
    init = own.get("__init__")
    called = f"\n__init__{signature(init)}" if type(init) is FunctionType else ""
    return head + called + _doc(own.get("__doc__")) + names_line("attributes", own)


def describe_module(module: ModuleType) -> str:
    """Return the name, the version, the first line of the docstring and the names of a module."""
    own = vars(module)
    version = own.get("__version__")
    shown = f" {version[:30]}" if type(version) is str else ""
    return (
        f"module {module_name(module)}{shown}"
        + _doc(own.get("__doc__"), 1)
        + names_line("names", own)
    )


def module_name(module: ModuleType) -> str:
    """Return the name of a module."""
    name = vars(module).get("__name__")
    return name[:80] if type(name) is str else "?"


def names_line(title: str, names: Any) -> str:
    """Return a line with public names, "" if there are none."""
    public = [name for name in list(names) if type(name) is str and name[:1] != "_"]
    more = f", … {len(public) - MOST_NAMES} more" if len(public) > MOST_NAMES else ""
    return f"\n{title}: {', '.join(public[:MOST_NAMES])}{more}" if public else ""


def _annotation(annotation: object) -> str:
    if type(annotation) is str:
        return annotation[:60]
    if annotation is None:
        return ""
    return type_name(annotation) if is_class(annotation) else ""


def _doc(doc: object, lines: int = 12) -> str:
    if type(doc) is not str or not doc.strip():
        return ""
    shown = "\n".join(line.strip() for line in doc.strip().splitlines()[:lines])
    return f"\n{shown[:LONGEST_DOC]}{'…' if len(shown) > LONGEST_DOC else ''}"
