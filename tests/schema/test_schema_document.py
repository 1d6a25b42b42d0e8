"""Targets of references, and documents embedded in others."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from jupyter_ollama.schema.closing import without_lookarounds
from jupyter_ollama.schema.document import Document, SchemaError

DOCUMENT: dict[str, Any] = {
    "$id": "https://example.com/tree",
    "type": "object",
    "properties": {
        "$ref": {"type": "string"},
        "const": {"$ref": "#/$defs/Leaf"},
        "root": {"$ref": "#"},
        "named": {"$ref": "#leaf"},
        "stored": {"$ref": "#/components/schemas/A~1B"},
    },
    "default": {"$ref": "#/is/data"},
    "$defs": {"Leaf": {"$anchor": "leaf", "enum": [{"$ref": "#/is/data"}]}},
    "components": {"schemas": {"A/B": {"items": {"$ref": "#/$defs/Leaf"}}}},
}


def test_a_moved_document_says_the_same() -> None:
    moved = Document(DOCUMENT).moved(("$defs", "x/y"))
    outer = {"$defs": {"x/y": moved}, "$ref": "#/$defs/x~1y"}
    leaf = {"$ref": "#/is/data"}
    good = {"$ref": "s", "const": leaf, "named": leaf, "root": {"const": leaf}, "stored": [leaf]}
    for schema in (DOCUMENT, outer):
        jsonschema.validate(good, schema)
        for name, value in (("$ref", 1), ("const", 1), ("named", 1), ("root", 1), ("stored", [1])):
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(good | {name: value}, schema)


def test_references_that_lead_nowhere_stay() -> None:
    schema = {"$ref": "https://example.com/elsewhere#/a"}
    assert Document(schema).moved(("$defs", "0")) == schema
    for reference in ("#/$defs/none", "#none", "other.json"):
        with pytest.raises(SchemaError):
            Document({}).target({"$ref": reference})


@pytest.mark.parametrize(
    ("pattern", "plain"),
    [
        (r"^(?!\.)(?!.*\.\.)[a-z.]+@b$", "^[a-z.]+@b$"),
        (r"^(?=.*(a|b))x(?<!y)$", "^x$"),
        (r"^(?:a)(?<n>b)\(?=[(?=)]$", r"^(?:a)(?<n>b)\(?=[(?=)]$"),
    ],
)
def test_lookarounds_are_taken_out(pattern: str, plain: str) -> None:
    assert without_lookarounds(pattern) == plain
