"""References: the targets of ``$ref`` within the single document that a client sends."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

from .keywords import KEYWORDS, LITERAL, Schema, rebuilt, subschemas

Path = tuple[str, ...]
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_LONGEST_CHAIN = 32
_PLACES = frozenset({"$anchor", "$dynamicAnchor", "$id", "$recursiveAnchor"})


class SchemaError(Exception):
    """A schema that cannot be resolved; the text gives the reason."""


class Document:
    """A schema with its subschemas. ``$id`` and anchors are resolved, other documents are not."""

    def __init__(self, root: Schema) -> None:
        """Index the resources and anchors of a document."""
        self.root = root
        self._bases: dict[int, str] = {}
        self._resources: dict[str, Path] = {"": ()}
        self._anchors: dict[tuple[str, str], Path] = {}
        self._adopted: list[dict[str, Any]] = []
        self._index(root)

    def adopt(self, reference: dict[str, Any], place: dict[str, Any]) -> None:
        """Make a rewritten reference resolve to the target of the original one."""
        self._adopted.append(reference)  # keeps it alive, as its id() is a key
        self._bases[id(reference)] = self._bases.get(id(place), "")

    def _index(self, root: Schema) -> None:
        waiting: list[tuple[Schema, Path, str]] = [(root, (), "")]
        while waiting:
            schema, path, base = waiting.pop()
            if not isinstance(schema, dict):
                continue
            if isinstance(name := schema.get("$id"), str) and not name.startswith("#"):
                base = urldefrag(urljoin(base, name)).url
                self._resources.setdefault(base, path)
            self._bases[id(schema)] = base
            for keyword in ("$anchor", "$dynamicAnchor"):
                if isinstance(anchor := schema.get(keyword), str):
                    self._anchors.setdefault((base, anchor), path)
            if isinstance(name, str) and name.startswith("#"):  # as in draft 6 and 7
                self._anchors.setdefault((base, name[1:]), path)
            waiting += [(item, path + step, base) for step, item in subschemas(schema)]

    def target(self, schema: dict[str, Any]) -> Schema:
        """Return the target of the reference of a schema. Raises SchemaError."""
        return self._at(self.path(schema), schema)

    def resolved(self, schema: Schema) -> Schema:
        """Return a schema, or its target if it is only a reference."""
        for _ in range(_LONGEST_CHAIN):
            if not isinstance(schema, dict) or not schema.keys() & set(REFERENCES):
                return schema
            schema = self.target(schema)
        raise SchemaError("a reference that leads to itself")

    def path(self, schema: dict[str, Any]) -> Path:
        """Return the path from the root to the target of a reference. Raises SchemaError."""
        reference = next(schema[key] for key in REFERENCES if key in schema)
        if not isinstance(reference, str):
            raise SchemaError("$ref must be a string")
        base = self._bases.get(id(schema), "")
        url, fragment = urldefrag(urljoin(base, reference) if base else reference)
        start = self._resources.get(url)
        if start is None:
            raise SchemaError(f"'{reference}' is in another document")
        fragment = unquote(fragment)
        if fragment in ("", "/"):
            return start
        if not fragment.startswith("/"):
            anchor = self._anchors.get((url, fragment))
            if anchor is None:
                raise SchemaError(f"Anchor '{fragment}' does not exist")
            return anchor
        steps = fragment[1:].split("/")
        return start + tuple(step.replace("~1", "/").replace("~0", "~") for step in steps)

    def _at(self, path: Path, schema: dict[str, Any]) -> Schema:
        value = self.root
        for step in path:
            if isinstance(value, dict) and step in value:
                value = value[step]
            elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
                value = value[int(step)]
            else:
                raise SchemaError(f"Pointer '{_pointer(path)}' does not exist")
        if not isinstance(value, dict | bool):
            raise SchemaError(f"'{_pointer(path)}' is not a schema")
        return value

    def moved(self, prefix: Path) -> Schema:
        """Return the document with its references rewritten for a path in another document.

        References without a target are kept.
        """

        def move(schema: Any) -> Any:
            if isinstance(schema, list):
                return [move(item) for item in schema]
            if not isinstance(schema, dict):
                return schema
            result = {
                # A member that is not a keyword may contain schemas: OpenAPI's "components".
                key: value if key in KEYWORDS or key in LITERAL else move(value)
                for key, value in rebuilt(schema, move).items()
                if key not in _PLACES
            }
            if any(isinstance(schema.get(key), str) for key in REFERENCES):
                result = {key: value for key, value in result.items() if key not in REFERENCES}
                try:
                    result["$ref"] = "#" + _pointer(prefix + self.path(schema)).replace("%", "%25")
                except SchemaError:
                    result["$ref"] = next(schema[key] for key in REFERENCES if key in schema)
            return result

        return move(self.root)


def _pointer(path: Path) -> str:
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in path)
