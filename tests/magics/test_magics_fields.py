"""``extract`` keeps all values of a model: dates in any form, unions, recursion, choices."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any, Literal

import dask.dataframe as dd
import jupyter_ollama_magics.dask_frame  # noqa: F401
import pandas as pd
import pytest
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.rows.date_parser import read_moment
from jupyter_ollama_magics.rows.fields import Fields
from pydantic import BaseModel
from row_server import RowServer, application

MOMENT = {"type": "string", "format": "date-time"}


class Node(BaseModel):
    value: int
    children: list[Node] = []


class Leaf(BaseModel):
    mood: Literal["good", "bad"]


class Event(BaseModel):
    when: datetime.datetime


class Twig(BaseModel):
    length: float


@pytest.fixture
def echo(serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> RowServer:
    """The server that the accessors find; it returns the texts unchanged."""
    server = RowServer()
    server.answer = str
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", serve(application(server)))
    return server


def extracted(part: Any, values: list[Any], **more: Any) -> pd.DataFrame:
    """Return the column of a field "x" of a schema for these values of a model."""
    texts = pd.Series([json.dumps({"x": value}) for value in values])
    schema = {"type": "object", "properties": {"x": part}}
    frame: pd.DataFrame = texts.ollama.extract(schema, **more)
    return frame


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-01-05T10:00:00Z", "2024-01-05T10:00:00+00:00"),
        ("2024-01-06T11:30:00.25Z", "2024-01-06T11:30:00.250+00:00"),
        ("2024-01-05t10:00:00z", "2024-01-05T10:00:00+00:00"),
        ("2024-01-05T10:00:00.123456789+05:30", "2024-01-05T10:00:00.123456789+05:30"),
        ("2024-01-05T10:00:00+0530", "2024-01-05T10:00:00+05:30"),
        ("2024-01-05 10:00", "2024-01-05T10:00:00"),
        ("2024-01-05T10:00:00+01:00[Europe/Paris]", "2024-01-05T10:00:00+01:00"),
        ("2024-07-05T10:00[Europe/Paris]", "2024-07-05T10:00:00+02:00"),
        ("2024-01-05 10:00 UTC+3", "2024-01-05T10:00:00+03:00"),
        ("5 Jan 2024 10:00 GMT-05:30", "2024-01-05T10:00:00-05:30"),
        ("20240105T101112Z", "2024-01-05T10:11:12+00:00"),
        ("2024-01-05", "2024-01-05"),
        ("2024-1-5", "2024-01-05"),
        ("2024/01/05", "2024-01-05"),
        ("2024-W01-5", "2024-01-05"),
        ("9999-12-31", "9999-12-31"),
        ("0001-01-01", "0001-01-01"),
        ("January 5, 2024", "2024-01-05"),
        ("5th of January 2024, 3 pm", "2024-01-05T15:00"),
        ("13/01/2024", "2024-01-13"),
        ("Fri, 05 Jan 2024 10:00:00 GMT", "2024-01-05T10:00:00+00:00"),
        ("Fri, 05 Jan 2024 10:00:00 +0200", "2024-01-05T10:00:00+02:00"),
    ],
)
def test_forms_of_dates(text: str, moment: str) -> None:
    found = read_moment(text)
    assert found == pd.Timestamp(moment)
    assert (found.tzinfo is None) == (pd.Timestamp(moment).tzinfo is None)


@pytest.mark.parametrize(
    "text",
    [
        *("soon", "", "NaT", "nan", "now", "today", "Monday", "10:00", "2024", "May 2024"),
        *("2024-02-30", "2024-13-01", "2024-01-05T25:00:00Z", "05/01/2024", "5.1.2024"),
        *("1704448800", "2024-01-05T10:00:00 EST", "5 Jan 2024 10:00 PST"),
    ],
)
def test_texts_that_are_not_dates_or_ambiguous(text: str) -> None:
    with pytest.raises(ValueError, match="is not a date"):
        read_moment(text)


def test_mixed_forms_and_zones_make_one_column(echo: RowServer) -> None:
    given = ["2024-01-05T10:00:00Z", "2024-01-06T11:30:00.25Z", "2024-01-06T11:30:00+02:00", None]
    column = extracted(MOMENT, given)["x"]
    assert str(column.dtype) == "datetime64[us, UTC]"
    expected = [pd.Timestamp(text).tz_convert("UTC") for text in given[:3]]
    assert column.tolist()[:3] == expected
    assert column.isna().tolist() == [False, False, False, True]
    plain = extracted(MOMENT, ["2024-01-05T10:00:00", "2024-01-05"])["x"]
    assert str(plain.dtype) == "datetime64[us]"
    mixed = extracted(MOMENT, ["2024-01-05T10:00:00", "2024-01-05T10:00:00Z"])["x"]
    assert mixed.nunique() == 1
    fine = extracted(MOMENT, ["2024-01-05T10:00:00.123456789Z", "2024-01-05T10:00:00Z"])["x"]
    assert fine[0].nanosecond == 789
    far = extracted(MOMENT, ["2024-01-05T10:00:00.123456789", "9999-12-31"])["x"]
    assert (far[0].nanosecond, far[1].year) == (789, 9999)


def test_an_invalid_date_is_an_error_of_its_row(echo: RowServer) -> None:
    given = ["2024-01-05", "soon"]
    with pytest.raises(OllamaMagicsError, match="row 1: 'soon' is not a date"):
        extracted(MOMENT, given)
    frame = extracted(MOMENT, given, errors="column")
    assert frame["error"].fillna("").tolist() == ["", "'soon' is not a date"]
    assert extracted(MOMENT, given, errors="coerce")["x"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("part", "values", "dtype"),
    [
        ({"type": ["integer", "null"]}, [1, None, 2**53 + 1], "Int64"),
        ({"type": ["boolean", "null"]}, [True, None], "boolean"),
        ({"type": ["number", "null"]}, [0.5, 2], "float64"),
        ({"type": ["integer", "number"]}, [1, 2.5], "float64"),
        ({"oneOf": [{"type": "integer"}, {"type": "null"}]}, [None, 3], "Int64"),
        ({"anyOf": [{"type": "null"}, {"$ref": "#/$defs/N"}]}, [None, 3], "Int64"),
        ({"allOf": [{"type": "integer"}, {"minimum": 1}]}, [3], "Int64"),
        ({"type": ["integer", "string"]}, [1, "a", "2"], "object"),
        ({"type": "integer"}, [10**30, 1], "object"),
        ({"type": "number"}, [2**60 + 1, 0.5], "object"),
        ({"type": "integer"}, ["7", 7.0], "Int64"),
        ({"type": "number"}, ["7.5"], "float64"),
        ({"enum": ["a", "b", None]}, ["b", None], "category"),
        ({"anyOf": [{"const": "a"}, {"const": "b"}]}, ["b"], "category"),
        ({"enum": [1, True, [2]]}, [True, [2], 1], "object"),
        (
            {"anyOf": [MOMENT, {"type": "string", "format": "date"}]},
            ["2024-01-05"],
            "datetime64[us]",
        ),
        ({"type": "string"}, ["\ud83d", "a"], "object"),
        ({}, [1, "a", [2]], "object"),
        (True, [{"a": 1}], "object"),
    ],
)
def test_types_and_values(echo: RowServer, part: Any, values: list[Any], dtype: str) -> None:
    texts = pd.Series([json.dumps({"x": value}) for value in values])
    schema = {"properties": {"x": part}, "$defs": {"N": {"type": "integer"}}}
    column = texts.ollama.extract(schema)["x"]
    assert str(column.dtype) == dtype
    kept = [None if pd.api.types.is_scalar(one) and pd.isna(one) else one for one in column]
    expected = [pd.Timestamp(one) for one in values] if dtype.startswith("date") else values
    if dtype in ("Int64", "float64"):
        expected = [None if one is None else float(one) for one in expected]
        kept = [None if one is None else float(one) for one in kept]
    assert kept == expected
    assert [type(one) for one in kept if dtype == "object"] == [
        type(one) for one in expected if dtype == "object"
    ]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ('{"x": "many"}', "x is 'many', not integer"),
        ('{"x": 2.5}', "x is 2.5, not integer"),
        ('{"x": true}', "x is True, not integer"),
        ('{"x": NaN}', "NaN is not JSON"),
        ('{"x": 1, "x": 2}', "a name twice"),
        ("[1]", "not an object"),
        ("{}", "the answer has no x"),
        ('{"x": 1', "Expecting"),
    ],
)
def test_answers_that_do_not_fit_are_errors(echo: RowServer, answer: str, message: str) -> None:
    schema = {"properties": {"x": {"type": "integer"}}, "required": ["x"]}
    frame = pd.Series([answer]).ollama.extract(schema, errors="column")
    assert message in frame["error"][0]


def test_an_invalid_choice_is_an_error(echo: RowServer) -> None:
    with pytest.raises(OllamaMagicsError, match="x is 'C', which is not one of its values"):
        extracted({"enum": ["a", "b"]}, ["a", "C"])


def test_recursive_models(echo: RowServer) -> None:
    echo.answer = lambda text: '{"value": 1, "children": [{"value": 2, "children": []}]}'
    frame = pd.Series(["x"]).ollama.extract(Node)
    assert frame.columns.tolist() == ["value", "children"]
    assert frame["value"].dtype == "Int64"
    assert frame["children"][0] == [{"value": 2, "children": []}]


def test_a_union_of_models_has_the_fields_of_both(echo: RowServer) -> None:
    echo.answer = lambda text: '{"mood": "good"}' if text == "leaf" else '{"length": 2}'
    frame = pd.Series(["leaf", "twig"]).ollama.extract(Leaf | Twig)
    assert frame["mood"].dtype == pd.CategoricalDtype(["good", "bad"])
    assert frame["length"].fillna(0).tolist() == [0, 2]
    nested = {"allOf": [{"$ref": "#/$defs/A"}, {"properties": {"b": {"type": "string"}}}]}
    nested["$defs"] = {"A": {"properties": {"a": {"type": "integer"}}, "required": ["a"]}}
    fields = Fields.of(nested)
    assert [field.name for field in fields.fields] == ["a", "b"]
    assert fields.required == {"a"}


def test_endless_references_end() -> None:
    schema = {"properties": {"x": {"$ref": "#/$defs/A"}}}
    schema["$defs"] = {"A": {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "integer"}]}}
    assert Fields.of(schema).fields[0].kinds == {"integer"}


def test_times_of_dask_have_one_type(echo: RowServer) -> None:
    answers = ['{"when": "2024-01-05T10:00:00"}', '{"when": "2024-01-05T10:00:00+02:00"}', None]
    parts = dd.from_pandas(pd.Series(answers, dtype="str"), npartitions=3)
    lazy = parts.ollama.extract(Event)
    result = lazy.compute(scheduler="sync")
    assert result["when"].dtype == lazy["when"].dtype == "datetime64[us, UTC]"
    assert result["when"].dt.hour.tolist()[:2] == [10, 8]
