"""What a model is shown of variables, and that no code of the user runs for it."""

from __future__ import annotations

import collections
import datetime
import enum
import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from jupyter_ollama_magics.context import scope
from jupyter_ollama_magics.context.tokens import cut, estimate
from jupyter_ollama_magics.context.variables import describe, summary

DATA = Path(__file__).parents[1] / "data"


RAN: list[int] = []
"""An item for each time that code of the user has run."""


@pytest.fixture(autouse=True)
def _nothing_runs() -> Iterator[None]:
    RAN.clear()
    yield
    assert not RAN


def forbidden(*_: object, **__: object) -> Any:
    """Record that code of the user has run."""
    RAN.append(1)
    raise RuntimeError("code of the user has run")


class HostileMeta(type):
    """A metaclass that runs code wherever Python lets it."""

    __hash__ = __eq__ = __repr__ = __instancecheck__ = __subclasscheck__ = forbidden  # type: ignore[assignment]
    __len__ = __iter__ = __dir__ = forbidden  # type: ignore[assignment]
    __name__ = __module__ = __mro__ = property(forbidden)  # type: ignore[assignment]

    def __getattribute__(cls, name: str) -> Any:
        forbidden()


def hostile_class(*bases: type) -> type:
    """Return a class with every special method that a description might call."""
    special = """
    __repr__ __str__ __format__ __len__ __iter__ __getitem__ __hash__ __eq__ __bool__
    __dir__ __getattribute__ __getattr__ __index__ __int__ __float__ __array__ __contains__
    __reduce__ __sizeof__ __lt__ __missing__ keys items values tolist item dtype"""
    body: dict[str, Any] = dict.fromkeys(special.split(), forbidden)
    body |= {"__class__": property(forbidden), "__dict__": property(forbidden)}
    body |= {"secret": property(forbidden), "shape": property(forbidden), "tzinfo": 1}
    return types.new_class("Hostile", bases, {"metaclass": HostileMeta}, lambda ns: ns.update(body))


@pytest.mark.parametrize(
    "bases", [(), (dict,), (list,), (str,), (int,), (float,), (datetime.datetime,), (Exception,)]
)
def test_hostile_objects_run_nothing(bases: tuple[type, ...]) -> None:
    kind = hostile_class(*bases)
    made: Any = bases[0].__new__ if bases else object.__new__
    arguments = (2026, 1, 1) if bases == (datetime.datetime,) else ()
    value = made(kind, *arguments)
    array = np.empty(1, object)
    array[0] = value
    # NumPy may have looked at the value, this module must not.
    RAN.clear()
    for shown in (value, [value], {"key": value}, (value,), kind, array):
        text = describe("value", shown)
        assert "Hostile" in text
        assert summary(shown)
    scope.lines({"value": value, "kind": kind})
    json.dumps(scope.offers({"value": value, "kind": kind}))


def test_hostile_values_in_tables_run_nothing() -> None:
    values = np.array([None, None, float("nan")], object)
    values[1] = object.__new__(hostile_class())
    frame = pd.DataFrame({"a": [1.0, None, 3.0]})
    frame["b"] = pd.Series(values, dtype=object)
    RAN.clear()
    text = describe("frame", frame)
    assert "- a: float64, 1 missing: 1.0, nan, 3.0" in text
    assert "- b: object, 2 missing: None, <Hostile>, nan" in text


def test_objects_in_polars_run_nothing() -> None:
    class Loud:
        __repr__ = __str__ = __format__ = forbidden  # type: ignore[assignment]

    frame = pl.DataFrame({"b": pl.Series([Loud(), None], dtype=pl.Object)})
    assert "<Loud>" in describe("frame", frame)


def test_subclasses_of_known_types_are_unknown() -> None:
    class Frame(pd.DataFrame):
        @property
        def shape(self) -> Any:
            forbidden()

    class Label(str):
        __repr__ = __str__ = forbidden  # type: ignore[assignment]

    assert describe("f", Frame({"a": [1]})).startswith("f: test_magics_context_variables.Frame")
    assert describe("l", Label("x")).startswith("l: test_magics_context_variables.Label")
    evil_keys: dict[Any, Any] = {Label("key"): 1, "plain": Label("value")}
    assert "'plain': <Label>" in describe("d", evil_keys)
    counted = describe("c", collections.Counter("aab"))
    assert counted.startswith("c: collections.Counter\nattributes: total, most_common")


def test_an_unknown_object_shows_its_names_only() -> None:
    class Account:
        """An account."""

        def __init__(self) -> None:
            self.owner = "Ada"
            self._password = "secret"

        @property
        def balance(self) -> Any:
            forbidden()

        def pay(self, amount: float) -> None:
            """Pay."""

    text = describe("account", Account())
    assert text.endswith("Account\nattributes: owner, balance, pay")
    assert "Ada" not in text


def test_slots_and_replaced_dicts_are_not_read() -> None:
    class Slotted:
        __slots__ = ("size",)

    class Keys(dict):  # type: ignore[type-arg]
        __iter__ = keys = forbidden

    class Plain:
        pass

    plain = Plain()
    plain.__dict__ = Keys(name=1)
    assert describe("s", Slotted()).endswith("attributes: size")
    assert describe("p", plain).endswith("attributes: name")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, "int: 3"),
        (1 << 16610, "int: <int of 16611 bits>"),
        (True, "bool: True"),
        (None, "NoneType: None"),
        ("abc", "str of 3 characters: 'abc'"),
        (b"abc", "bytes: b'abc'"),
        ([1, [2, [3, [4]]]], "list of 2: [1, [2, [3, [… 1 items]]]]"),
        (list(range(100)), "list of 100: [0, 1, 2, 3, 4, … 95 more]"),
        ({"a": (1,)}, "dict of 1: {'a': (1,)}"),
        (set(), "set of 0: {}"),
        (datetime.date(2026, 11, 30), "date: 2026-11-30"),
        (np.float64(1.5), "float64: 1.5"),
        (pd.Timestamp("2026-11-30"), "Timestamp: 2026-11-30 00:00:00"),
        (pd.NaT, "NaTType: NaT"),
        (np.arange(6).reshape(2, 3), "NumPy array, 2 x 3, int64\nfirst values: 0, 1, 2, 3, 4, 5"),
        (enum.Enum("Colour", "RED").RED, "Colour"),  # type: ignore[attr-defined]
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values(value: object, expected: str) -> None:
    assert expected in describe("x", value)


def test_a_list_that_has_itself() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert describe("loop", loop) == "loop: list of 1: [[[[… 1 items]]]]"


def test_a_frame_of_pandas() -> None:
    frame = pd.DataFrame(
        {
            "price": [12.5, None, 3.0, 4.0],
            "city": ["Bern", None, "Rome", "Oslo"],
            "kind": pd.Categorical(["a", "b", "a", "a"]),
            "when": pd.to_datetime(["2026-01-01", None, "2026-01-03", "2026-01-04"]),
            3: [1, 2, 3, 4],
        },
        index=pd.Index(list("wxyz"), name="key"),
    )
    lines = describe("frame", frame).split("\n")
    assert lines[0] == (
        "frame: pandas DataFrame, 4 rows x 5 columns, index: Index key ['w', 'x', 'y', …]"
    )
    assert "- price: float64, 1 missing: 12.5, nan, 3.0" in lines
    assert "- city: str, 1 missing: 'Bern', nan, 'Rome'" in lines
    assert "- kind: category: 'a', 'b', 'a'" in lines
    assert any(line.startswith("- when: datetime64[") and "1 missing" in line for line in lines)
    assert "- 3: int64: 1, 2, 3" in lines
    assert describe("s", frame["price"]).startswith("s: pandas Series, 4 values")
    assert summary(frame) == "DataFrame, 4 x 5"


def test_a_frame_of_polars() -> None:
    frame = pl.DataFrame({"a": [1, None, 3, 4], "b": [["x"], [], None, ["y"]]})
    lines = describe("frame", frame).split("\n")
    assert lines[0] == "frame: Polars DataFrame, 4 rows x 2 columns"
    assert "- a: Int64, 1 missing: 1, None, 3" in lines
    assert "- b: List(String), 1 missing: ['x'], [], None" in lines


def test_a_long_frame_is_sampled_and_says_so() -> None:
    rows = 3_000_000
    frame = pd.DataFrame({"x": np.where(np.arange(rows) % 2, np.nan, 1.0), "y": np.ones(rows)})
    text = describe("frame", frame)
    assert "missing values among 250,000 sampled rows" in text
    assert "rows x 2 columns" in text


def test_a_wide_frame_stays_within_its_tokens() -> None:
    frame = pd.DataFrame(np.zeros((3, 5000)), columns=[f"measurement_{n}" for n in range(5000)])
    text = describe("frame", frame)
    assert estimate(text) <= 1000
    assert "- measurement_0: float64: 0.0, 0.0, 0.0" in text
    assert "more columns: measurement_" in text
    shown = text.count("\n- ")
    assert f"and {5000 - shown:,} more columns" in text
    assert describe("empty", pd.DataFrame()).startswith("empty: pandas DataFrame, 0 rows x 0")


def test_functions_classes_and_modules() -> None:
    hostile = object.__new__(hostile_class())

    def load(path: str, /, sep: str = ",", *rest, kind=hostile, **more) -> str:  # type: ignore[no-untyped-def]
        """Read a file."""
        return path

    text = describe("load", load)
    assert text == (
        "load: def load(path: str, /, sep: str = ',', *rest, kind=<Hostile>, **more) -> str\n"
        "Read a file."
    )
    shown = describe("json", json)
    assert shown.startswith("json: module json")
    assert "JSON (JavaScript Object Notation)" in shown
    assert "\nnames: scanner, decoder" in shown
    assert describe("Path", Path).startswith("Path: class Path, a subclass of pathlib.PurePath")


def test_names_in_scope_have_columns_but_no_values() -> None:
    def load(path: str) -> None:
        """Read a file."""

    frame = pd.DataFrame({"price": [1.0], "city": ["Bern"]})
    names = {"pd": pd, "password": "hunter2", "load": load, "frame": frame, "_hidden": 1}
    lines = scope.lines(scope.user_names(names, {}))
    assert lines[0] == "frame: DataFrame[price: float64, city: str]"
    assert lines[1] == "load(path: str) -> None"
    assert lines[2:] == ["password: str, 7", "pd: module pandas"]
    assert "hunter2" not in json.dumps([lines, scope.offers(names)])
    many = {f"number_{n}": n for n in range(1000)} | {"frame": frame}
    cut_lines = scope.lines(many)
    assert cut_lines[0].startswith("frame: DataFrame")
    assert estimate("".join(f"# {line}\n" for line in cut_lines)) <= 400


def test_names_that_ipython_made_are_left_out() -> None:
    hidden = {"quick": 1, "changed": 1}
    names = {"In": [], "quick": hidden["quick"], "changed": "by the user", "mine": 2}
    assert list(scope.user_names(names, hidden)) == ["mine", "changed"]


@pytest.mark.parametrize("known", json.loads((DATA / "token_estimates.json").read_text("utf-8")))
def test_cut_texts_have_the_tokens_that_were_asked(known: dict[str, Any]) -> None:
    text, tokens = known["text"], known["tokens"]
    assert estimate(text) == tokens
    for fewer in range(2, tokens):
        assert estimate(cut(text, fewer)) <= fewer
    assert cut(text, tokens) == text
