"""Any answer that a schema allows fits it: random walks through the allowed tokens."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from jupyter_ollama.engine.constraint import ConstraintCompiler, TokenConstraint
from jupyter_ollama.engine.llama_model import LlamaModel
from jupyter_ollama.engine.protocol import Constraint
from jupyter_ollama.errors import OllamaError

TESTS = Path(__file__).resolve().parents[1]
DATA = TESTS / "data" / "schemas"
sys.path.append(str(TESTS / "schema"))

from pydantic_models import schemas as pydantic_schemas  # noqa: E402

WRITTEN = {
    f"{author}: {name}": schema
    for author in ("zod", "typescript", "langchain")
    for name, schema in json.loads((DATA / f"{author}.json").read_text()).items()
} | {f"pydantic: {name}": schema for name, schema in pydantic_schemas().items()}
MOST = 1500
"""Tokens of the longest walk."""


class Walker:
    """Writes random text that a constraint allows."""

    def __init__(self, path: Path) -> None:
        self.model = LlamaModel(str(path))
        self.compiler = ConstraintCompiler(self.model)
        pieces = self.compiler.vocabulary.pieces
        self._ends = sorted(self.compiler.vocabulary.ends)
        plain = [
            token
            for token, piece in enumerate(pieces)
            if piece in (b'"', b"}", b"]", b"0", b"7", b".", b"e", b"-", b"a") or piece == b'"}'
        ]
        self._plain = np.zeros(len(pieces), bool)
        self._plain[plain] = True

    def constraint(self, schema: Any, kind: Any = "schema") -> TokenConstraint:
        text = json.dumps(schema) if kind == "schema" else ""
        return self.compiler.compile(Constraint(kind, text))

    def walk(self, constraint: TokenConstraint, seed: int, share: float = 0.6) -> str:
        """Return a text that ends; ``share`` of its choices are made among a few short tokens."""
        chance = random.Random(seed)
        text = b""
        for _ in range(MOST):
            if constraint.is_over:
                return text.decode()
            follow = constraint.forced()
            if not follow:
                mask = np.unpackbits(
                    constraint.mask.view(np.uint8), bitorder="little", count=self._plain.size
                )
                choices = np.flatnonzero(mask)
                plain = np.flatnonzero(mask * self._plain)
                if plain.size and chance.random() < share:
                    choices = plain
                elif any(mask[end] for end in self._ends):
                    return text.decode()
                follow = [int(chance.choice(choices))]
            for token in follow:
                constraint.accept(token)
                text += self.compiler.vocabulary.pieces[token]
        raise AssertionError(f"no end after {MOST} tokens: {text[:200]!r}...")


@pytest.fixture(scope="module")
def walker(smollm2: Path) -> Walker:
    return Walker(smollm2)


def refusal(walker: Walker, schema: Any) -> str:
    with pytest.raises(OllamaError) as caught:
        walker.constraint(schema)
    assert caught.value.status == 400
    return caught.value.message


@pytest.mark.parametrize("name", WRITTEN)
def test_schemas_written_by_libraries_hold(walker: Walker, name: str) -> None:
    schema = WRITTEN[name]
    for seed in range(6):
        text = walker.walk(walker.constraint(schema), seed)
        jsonschema.validate(json.loads(text), schema)


COMBINED: dict[str, Any] = {
    "allOf of scalars beside a name": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 8},
            "x": {"allOf": [{"type": "integer"}, {"minimum": 1, "maximum": 5}]},
        },
        "required": ["name", "x"],
    },
    "anyOf beside properties": {
        "type": "object",
        "properties": {"kind": {"enum": ["cat", "dog"]}},
        "required": ["kind"],
        "anyOf": [
            {
                "properties": {"lives": {"type": "integer", "minimum": 1, "maximum": 9}},
                "required": ["lives"],
            },
            {"properties": {"bark": {"type": "string", "maxLength": 5}}, "required": ["bark"]},
        ],
    },
    "properties called as keywords": {
        "type": "object",
        "properties": {
            "allOf": {"type": "boolean"},
            "properties": {"type": "object", "properties": {"enum": {"const": 1}}},
            "additionalProperties": {"enum": [{"properties": {"a": 1}}]},
            "$ref": {"type": "null"},
        },
        "required": ["allOf", "properties", "additionalProperties", "$ref"],
    },
    "siblings of a reference": {
        "$ref": "#/$defs/Base",
        "properties": {"more": {"type": "boolean"}},
        "required": ["more"],
        "$defs": {
            "Base": {
                "type": "object",
                "properties": {"id": {"type": "boolean"}, "of": {"$ref": "#/$defs/Base"}},
                "required": ["id"],
            }
        },
    },
    "a subclass in its own base": {
        "$ref": "#/$defs/D",
        "$defs": {
            "B": {"type": "object", "properties": {"d": {"$ref": "#/$defs/D"}}},
            "D": {
                "$ref": "#/$defs/B",
                "properties": {"x": {"type": "null"}},
                "required": ["x"],
            },
        },
    },
    "the same property in two parts": {
        "allOf": [
            {"properties": {"p": {"type": "object", "properties": {"a": {"type": "null"}}}}},
            {
                "properties": {"p": {"properties": {"b": {"type": "null"}}, "required": ["b"]}},
                "required": ["p"],
            },
        ]
    },
    "a discriminator in a part": {
        "type": "object",
        "properties": {"kind": {"enum": ["a", "b"]}},
        "required": ["kind"],
        "allOf": [
            {
                "oneOf": [
                    {"properties": {"kind": {"const": "a"}, "x": {"type": "null"}}},
                    {"properties": {"kind": {"const": "b"}, "y": {"type": "null"}}},
                ]
            }
        ],
    },
    "if, then, else": {
        "type": "object",
        "properties": {"kind": {"enum": ["a", "b", "c"]}, "on": {"type": "boolean"}},
        "required": ["kind"],
        "if": {"properties": {"kind": {"const": "a"}}},
        "then": {"properties": {"x": {"type": "integer"}}, "required": ["x"]},
        "else": {"properties": {"y": {"type": "null"}}, "required": ["y"]},
    },
    "if with what may be absent": {
        "type": "object",
        "properties": {"on": {"type": "boolean"}},
        "if": {"properties": {"on": {"const": True}}, "required": ["on"]},
        "then": {"properties": {"x": {"type": "null"}}, "required": ["x"]},
        "else": {"properties": {"y": {"type": "null"}}, "required": ["y"]},
    },
    "if that cannot be decided": {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 3}},
        "required": ["name"],
        "if": {"properties": {"name": {"const": "a"}}},
        "then": {"properties": {"x": {"type": "null"}}, "required": ["x"]},
    },
    "many ifs": {
        "type": "object",
        "properties": {"land": {"enum": [f"l{n}" for n in range(12)]}},
        "required": ["land"],
        "allOf": [
            {
                "if": {"properties": {"land": {"const": f"l{n}"}}},
                "then": {"properties": {f"z{n}": {"const": n}}, "required": [f"z{n}"]},
            }
            for n in range(12)
        ],
    },
    "exactly one": {
        "type": "object",
        "properties": {"a": {"type": "null"}, "b": {"type": "null"}, "c": {"type": "null"}},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}, {"required": ["c"]}],
    },
    "dependencies": {
        "type": "object",
        "properties": {"card": {"type": "null"}, "address": {"type": "null"}},
        "dependentRequired": {"card": ["address"]},
        "dependentSchemas": {"address": {"properties": {"zip": {"const": 1}}, "required": ["zip"]}},
    },
    "unevaluatedProperties": {
        "type": "object",
        "allOf": [{"properties": {"a": {"type": "null"}}}],
        "unevaluatedProperties": {"type": "boolean"},
        "maxProperties": 1,
    },
    "additionalProperties of another part": {
        "allOf": [
            {"properties": {"a": {"type": "null"}}, "additionalProperties": {"type": "boolean"}},
            {"properties": {"b": {}}, "required": ["b"]},
        ],
        "type": "object",
    },
    "anchors and ids": {
        "$id": "https://example.com/root.json",
        "type": "object",
        "properties": {"a": {"$ref": "#word"}, "b": {"$ref": "other.json#/$defs/B"}},
        "required": ["a", "b"],
        "$defs": {
            "A": {"$anchor": "word", "enum": ["x", "y"]},
            "O": {
                "$id": "other.json",
                "$defs": {"B": {"type": "array", "maxItems": 1, "items": {"$ref": "#/$defs/C"}},
                          "C": {"type": "boolean"}},
            },
        },
    },
    "a pointer with escapes": {
        "$ref": "#/$defs/a~1b%25c~0d",
        "$defs": {"a/b%c~d": {"enum": [1, 2]}},
    },
    "endless branches": {
        "type": "object",
        "properties": {
            "next": {"$ref": "#/$defs/N"},
            "either": {"anyOf": [{"$ref": "#/$defs/N"}, {"type": "null"}]},
            "list": {"type": "array", "items": {"$ref": "#/$defs/N"}},
        },
        "required": ["either", "list"],
        "$defs": {
            "N": {
                "type": "object",
                "properties": {"c": {"$ref": "#/$defs/N"}},
                "required": ["c"],
            }
        },
    },
}  # fmt: skip
OPEN = {"unevaluatedProperties", "additionalProperties of another part"}
"""The schemas whose objects may have properties of other names."""


@pytest.mark.parametrize("name", COMBINED)
def test_combined_schemas_hold(walker: Walker, name: str) -> None:
    schema = COMBINED[name]
    named = set(json.dumps(schema).replace('"', " ").split())
    for seed in range(8):
        value = json.loads(walker.walk(walker.constraint(schema), seed))
        jsonschema.validate(value, schema)
        if name not in OPEN and isinstance(value, dict):
            assert value.keys() <= named
            assert all(one.keys() <= named for one in value.values() if isinstance(one, dict))


def test_every_branch_can_be_answered(walker: Walker) -> None:
    schema = COMBINED["anyOf beside properties"]
    for text in ('{"kind": "cat", "lives": 9}', '{"kind": "dog", "bark": "wuf"}'):
        constraint = walker.constraint(schema)
        for token in walker.model.tokenize(text, special=False):
            constraint.accept(token)
        assert constraint.is_over


def test_names_that_nothing_declares_are_not_required(walker: Walker) -> None:
    schema = {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a", "zz"]}
    assert walker.walk(walker.constraint(schema), 0) == '{"a": 1}'
    open_ = {"type": "object", "additionalProperties": {"const": 1}, "required": ["zz"]}
    assert json.loads(walker.walk(walker.constraint(open_), 0))["zz"] == 1


def test_parts_that_close_each_other_are_closed_together(walker: Walker) -> None:
    part = {"type": "object", "additionalProperties": False}
    schema = {
        "allOf": [
            part | {"properties": {"a": {"const": 1}}, "required": ["a"]},
            part | {"properties": {"b": {"const": 2}, "c": {"const": 3}}, "required": ["b"]},
        ]
    }
    assert walker.walk(walker.constraint(schema), 0) == '{"a": 1, "b": 2}'


ENDLESS = {
    "type": "object",
    "properties": {"c": {"$ref": "#/$defs/N"}},
    "required": ["c"],
}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/N", "$defs": {"N": ENDLESS}},
        {"type": "array", "items": {"$ref": "#/$defs/N"}, "minItems": 1, "$defs": {"N": ENDLESS}},
        {"$ref": "#/$defs/N", "$defs": {"N": {"allOf": [ENDLESS, {"properties": {"d": {}}}]}}},
        {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}},
        {"$ref": "#/$defs/A", "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}]}}},
        {"type": "array", "prefixItems": [{"$ref": "#"}], "minItems": 1},
        {"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"a": {"const": 2}}}],
         "type": "object", "required": ["a"]},
        {"not": {}},
    ],
)  # fmt: skip
def test_schemas_that_no_finite_answer_fits_are_refused(walker: Walker, schema: Any) -> None:
    assert refusal(walker, schema).startswith("invalid JSON schema in format: nothing matches it")


def test_too_many_alternatives_are_refused(walker: Walker) -> None:
    one = {"anyOf": [{"type": "string"}, {"type": "null"}, {"type": "boolean"}]}
    assert "more than 1000 alternatives" in refusal(walker, {"allOf": [one] * 40})


NUMBERS = [
    {"type": "number"},
    {"type": "integer"},
    {"type": "number", "minimum": 0},
    {"type": "integer", "maximum": -5},
    {"type": "number", "minimum": 0, "maximum": 1},
    {"type": "object", "properties": {"price": {"type": "number"}}, "required": ["price"]},
    {"type": "integer", "minimum": -(1 << 63), "maximum": (1 << 63) - 1},
    {"type": "integer", "minimum": 0, "maximum": (1 << 64) - 1, "format": "uint64"},
    {"type": "integer", "minimum": 2 * 10**18},
    {"type": "integer", "exclusiveMaximum": -2 * 10**18},
    {"type": "number", "minimum": -1.7976931348623157e308, "maximum": 1.7976931348623157e308},
    {},
]


@pytest.mark.parametrize("schema", NUMBERS)
def test_numbers_end(walker: Walker, schema: dict[str, Any]) -> None:
    for seed in range(12):
        text = walker.walk(walker.constraint(schema), seed, share=1)
        assert len(text) < 70 or schema == {}
        value = json.loads(text)
        jsonschema.validate(value, schema)
        assert float("inf") not in numbers(value)
        assert all(-(1 << 63) <= n < 1 << 63 for n in numbers(value) if isinstance(n, int))


def numbers(value: Any) -> list[float]:
    """Return the numbers in a value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return [value] if is_number else []


@pytest.mark.parametrize(
    "number",
    [0, -1, (1 << 63) - 1, -(1 << 63), 0.1, -2.5e-7, 0.00012345678901234567, 1.7976931348623157e308,
     5e-324, 1e22, 123456789012345.67],
)  # fmt: skip
def test_numbers_have_all_their_digits(walker: Walker, number: float) -> None:
    kind = "integer" if isinstance(number, int) else "number"
    constraint = walker.constraint({"type": kind})
    for token in walker.model.tokenize(json.dumps(number), special=False):
        assert constraint.allows(token)
        constraint.accept(token)
    assert any(constraint.allows(end) for end in walker.compiler.vocabulary.ends)


def test_digits_are_free_where_they_are_text_or_demanded(walker: Walker) -> None:
    text = json.dumps('say \\" ' + "1234567890" * 4)
    constraint = walker.constraint({"type": "string"})
    for token in walker.model.tokenize(text, special=False):
        assert constraint.allows(token)
        constraint.accept(token)
    for number in (1e25, -1e25, 1e-30):
        assert float(walker.walk(walker.constraint({"enum": [number]}), 0)) == number


def test_the_count_of_digits_is_rolled_back(walker: Walker) -> None:
    constraint = walker.constraint({"type": "integer"})
    (one,) = walker.model.tokenize("1", special=False)
    for _ in range(19):
        constraint.accept(one)
    assert not constraint.allows(one)
    constraint.rollback(3)
    assert constraint.allows(one)


def test_json_is_an_object_whose_numbers_end(walker: Walker) -> None:
    for seed in range(8):
        value = json.loads(walker.walk(walker.constraint(None, "json"), seed))
        assert isinstance(value, dict)
