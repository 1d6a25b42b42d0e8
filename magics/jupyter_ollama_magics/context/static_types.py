"""Names of types and attributes, read without running code of the user.

A metaclass, a property, ``__getattribute__`` or ``__class__`` may run anything. So attributes are
read with the descriptors of ``type`` itself, and types are compared by identity.
"""

from __future__ import annotations

import sys
from types import GetSetDescriptorType, ModuleType
from typing import Any, TypeGuard

_NAME: Any = type.__dict__["__name__"]
_MODULE: Any = type.__dict__["__module__"]
_MRO: Any = type.__dict__["__mro__"]
_DICT: Any = type.__dict__["__dict__"]
LONGEST_NAME = 80


def type_name(kind: type) -> str:
    """Return the name of a type."""
    # Classes may be named by a subclass of str.
    return str.__str__(_NAME.__get__(kind))[:LONGEST_NAME]


def full_type_name(kind: type) -> str:
    """Return the name of a type with its module, unless that is ``builtins`` or ``__main__``."""
    module = _module(kind)
    own = type_name(kind)
    return own if module in ("", "builtins", "__main__") else f"{module}.{own}"


def comes_from(kind: type, *packages: str) -> bool:
    """Return whether a package in ``sys.modules`` has this very type under its name."""
    module = _module(kind)
    if module.partition(".")[0] not in packages:
        return False
    found = sys.modules.get(module)
    return type(found) is ModuleType and vars(found).get(type_name(kind)) is kind


def is_class(value: object) -> TypeGuard[type]:
    """Return whether a value is a class, without reading its ``__class__``."""
    return any(base is type for base in base_classes(type(value)))


def class_dict(kind: type) -> dict[str, Any]:
    """Return the attributes that a class itself defines."""
    return dict(_DICT.__get__(kind))


def base_classes(kind: type) -> tuple[type, ...]:
    """Return a class and its bases, in the order in which attributes are looked up."""
    bases: tuple[type, ...] = _MRO.__get__(kind)
    return bases


def attribute_names(value: object) -> list[str]:
    """Return the public names that an object and its classes define, those of the object first."""
    names = list(_instance_dict(value))
    for kind in base_classes(type(value)):
        if kind is not object:
            names += class_dict(kind)
    public = [name for name in names if type(name) is str and name[:1] != "_"]
    return list(dict.fromkeys(public))


def _module(kind: type) -> str:
    module = _MODULE.__get__(kind)
    return module[:LONGEST_NAME] if type(module) is str else ""


def _instance_dict(value: object) -> list[str]:
    """Return the names in the ``__dict__`` of an object, unless its class replaces that."""
    for kind in base_classes(type(value)):
        descriptor = class_dict(kind).get("__dict__")
        if descriptor is not None:
            if type(descriptor) is not GetSetDescriptorType:
                return []
            return list(dict.keys(descriptor.__get__(value)))
    return []
