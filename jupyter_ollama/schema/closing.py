"""The schema that constrains an answer: every object closed, every value finite."""

from __future__ import annotations

import re

from .alternatives import Expander, Part, is_reference
from .document import Document
from .finite import without_infinite
from .keywords import Schema, rebuilt
from .merging import Merger, properties_named
from .ranges import within_range

_LONGEST_FORMATS = {"date-time": 35, "time": 24, "duration": 40}
"""Formats with any number of digits, and their length with nanoseconds."""
_UNCHECKED = frozenset({"contains", "not", "propertyNames", "unevaluatedItems"})
"""Keywords that llguidance ignores with a warning."""
_TOKEN = re.compile(r"\\.|\(\?<?[=!]|\(|\)|\[\^?\]?(?:\\.|[^\]\\])*\]|[^\\()\[]+|.", re.DOTALL)
"""The tokens of a regular expression: escapes, groups, classes and other text."""


def closed(root: Schema) -> Schema:
    """Return a schema whose answers fit ``root`` and have only properties that it names.

    References point to ``$defs`` only. False if no finite answer fits. Raises SchemaError.
    """
    closer = _Closer(root)
    schema, definitions = without_infinite(closer.whole(root), closer.definitions)
    if schema is False:
        return False
    schema = schema if isinstance(schema, dict) else {}
    if definitions:
        schema = {"$defs": definitions, **schema}
    if isinstance(root, dict) and "x-guidance" in root:
        schema = {"x-guidance": root["x-guidance"], **schema}
    return schema


def _is_loose(built: Schema) -> bool:
    """Return whether a pattern has lost its lookarounds, and no format compensates for them."""
    if not isinstance(built, dict) or "format" in built:
        return False
    return "pattern" in built and built.get("not") is True


class _Closer:
    def __init__(self, root: Schema) -> None:
        self.definitions: dict[str, Schema] = {}
        self._document = Document(root)
        self._expander = Expander(self._document)
        self._names: dict[int, str] = {}
        self._being_built: set[int] = set()
        self._conjoined: dict[frozenset[int], Part] = {}
        self._members: dict[int, list[Schema]] = {}
        self._kept: list[Schema] = []

    def whole(self, schema: Schema) -> Schema:
        """Return a schema for all of a value, closed."""
        if not isinstance(schema, dict):
            return schema
        if id(schema) in self._being_built or id(schema) in self._names:
            return self._reference(schema)
        self._being_built.add(id(schema))
        built = self._built(schema)
        self._being_built.discard(id(schema))
        if name := self._names.get(id(schema)):
            # The schema contains itself.
            self.definitions[name] = built
            return {"$ref": f"#/$defs/{name}"}
        return built

    def _reference(self, schema: Part) -> Part:
        name = self._names.get(id(schema))
        if name is None:
            name = self._names[id(schema)] = str(len(self._names))
            self._kept.append(schema)
            if id(schema) not in self._being_built:
                self._being_built.add(id(schema))
                self.definitions[name] = self._built(schema)
                self._being_built.discard(id(schema))
        return {"$ref": f"#/$defs/{name}"}

    def _built(self, schema: Part) -> Schema:
        found = []
        alternatives = self._expander.alternatives(schema)
        named = {name for parts in alternatives for name in properties_named(parts)}
        merger = Merger(self._document, named, self._conjoin)
        for parts in alternatives:
            if len(parts) == 1 and is_reference(parts[0]):
                target = self._document.target(parts[0])
                found.append(self._reference(target) if isinstance(target, dict) else target)
            else:
                flat = merger.merged(parts)
                found.append(self._inside(flat) if isinstance(flat, dict) else flat)
        found = [one for one in found if one is not False]
        if any(one is True or (not _is_loose(one) and one.get("type") != "null") for one in found):
            # A decimal of pydantic's is a number, or a text whose pattern is not enforced in full.
            found = [one for one in found if not _is_loose(one)]
        if not found or len(found) == 1:
            return found[0] if found else False
        return True if True in found else {"anyOf": found}

    def _inside(self, flat: Part) -> Schema:
        """Close the subschemas of a schema, in the form that llguidance accepts."""
        if not flat:
            return True
        flat = {key: True if key in _UNCHECKED else value for key, value in flat.items()}
        if isinstance(flat.get("items"), list):  # as until 2019-09
            flat["prefixItems"] = flat.pop("items")
            if "additionalItems" in flat:
                flat["items"] = flat["additionalItems"]
        flat.pop("additionalItems", None)
        pattern = flat.get("pattern")
        if isinstance(pattern, str) and (plain := without_lookarounds(pattern)) != pattern:
            flat |= {"pattern": plain, "not": True}
        flat = within_range(flat)
        longest = _LONGEST_FORMATS.get(str(flat.get("format")))
        if longest is not None:
            flat.setdefault("maxLength", longest)
        return rebuilt(flat, self.whole)

    def _conjoin(self, schemas: list[Schema]) -> Schema:
        """Return a schema for several that must all hold; results are memoized."""
        members = [one for schema in schemas for one in self._members.get(id(schema), [schema])]
        key = frozenset(map(id, members))
        if key not in self._conjoined:
            self._kept += members
            self._conjoined[key] = made = {"allOf": members}
            self._members[id(made)] = members
        return self._conjoined[key]


def without_lookarounds(pattern: str) -> str:
    """Return a pattern without its lookarounds, which accepts more texts."""
    kept: list[str] = []
    depth = 0
    for token in _TOKEN.findall(pattern):
        if depth:
            depth += token.startswith("(") - (token == ")")
        elif token in ("(?=", "(?!", "(?<=", "(?<!"):
            depth = 1
        else:
            kept.append(token)
    return "".join(kept)
