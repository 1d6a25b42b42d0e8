"""Row operators: one function defines the methods, their signatures and their help."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import dask.dataframe as dd
import jupyter_ollama_magics.dask_frame  # noqa: F401
import pandas as pd
import pytest
from jupyter_ollama_magics.accessor import FrameRows, SeriesRows
from jupyter_ollama_magics.dask_frame import DaskRows
from jupyter_ollama_magics.operators.plain import chat
from jupyter_ollama_magics.partitions import OllamaRows
from jupyter_ollama_magics.rows import columns
from jupyter_ollama_magics.rows import registry as row_operator
from jupyter_ollama_magics.rows import tasks as row_tasks
from jupyter_ollama_magics.rows.registry import OPERATORS, RowOperator
from row_server import RowServer

TEXTS = pd.Series(["x", None, "y"], name="text")


@pytest.fixture
def translate() -> Iterator[str]:
    """The name of an operator that is added as ``operators`` adds its own."""

    @row_operator.row_operator
    def translate(language: str, *, formal: bool = False) -> RowOperator:
        """Return a translation of each row's text.

        Parameters
        ----------
        language : str
            The language to translate to.
        formal : bool
            Use a formal tone.

        Returns
        -------
        Series of str
            The translations.
        """
        system = f"Translate to {'formal ' if formal else ''}{language}."
        return RowOperator(
            "completion",
            lambda servers, model: row_tasks.Chat(model, system, None),
            columns.texts,
        )

    yield "translate"
    del OPERATORS["translate"]
    del row_operator.OperatorMethods.translate  # type: ignore[attr-defined]
    del row_operator.AsyncOperatorMethods.atranslate  # type: ignore[attr-defined]


async def test_one_function_adds_an_operator_everywhere(echo: RowServer, translate: str) -> None:
    expected = ["X", "-", "Y"]
    result = TEXTS.ollama.translate("French", formal=True)
    assert result.fillna("-").tolist() == expected
    assert {body["messages"][0]["content"] for body in echo.bodies} == {
        "Translate to formal French."
    }
    awaited = await TEXTS.ollama.atranslate("French", model="echo:latest")
    assert awaited.fillna("-").tolist() == expected
    frame = TEXTS.to_frame()
    assert frame.ollama.translate("French", "text", into="new")["new"].fillna("-").tolist() == (
        expected
    )
    lazy = dd.from_pandas(TEXTS, npartitions=2).ollama.translate("French")
    assert lazy.compute(scheduler="synchronous").fillna("-").tolist() == expected
    assert OllamaRows(translate, "French")(TEXTS).fillna("-").tolist() == expected


def test_the_help_of_an_added_operator(translate: str) -> None:
    signature = (
        "(self, language: 'str', prompt: 'str | None' = None, "
        "model: 'str | Sequence[str] | None' = None, *, formal: 'bool' = False, "
        "images: 'Files' = None, audio: 'Files' = None, errors: 'Errors' = 'raise', "
        "into: 'str | None' = None, cache: 'bool | str | Path' = False, "
        "agree: 'float | None' = None) -> 'pd.Series | pd.DataFrame'"
    )
    for owner, name in ((SeriesRows, translate), (DaskRows, translate), (FrameRows, "atranslate")):
        method = getattr(owner, name)
        assert str(inspect.signature(method)) == signature
        titles = re.findall(r"^(\w+)\n-+$", method.__doc__, re.M)
        assert titles == ["Parameters", "Returns", "Raises"]
        assert _documented(method) == set(inspect.signature(method).parameters) - {"self"}
    assert SeriesRows.translate.__doc__.startswith("Return a translation of each row's text.\n")
    assert inspect.iscoroutinefunction(SeriesRows.atranslate)


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_an_async_twin_has_the_same_parameters(name: str) -> None:
    method, twin = getattr(SeriesRows, name), getattr(SeriesRows, f"a{name}")
    assert inspect.signature(method) == inspect.signature(twin)
    assert inspect.iscoroutinefunction(twin)
    assert (twin.__name__, twin.__module__) == (f"a{name}", OPERATORS[name].build.__module__)


def _public_methods() -> list[Any]:
    owners = (SeriesRows, FrameRows, DaskRows)
    names = {(owner, name) for owner in owners for name in dir(owner) if name[0] != "_"}
    return [getattr(owner, name) for owner, name in sorted(names, key=str)]


@pytest.mark.parametrize("method", _public_methods(), ids=lambda method: method.__qualname__)
def test_docstrings_are_numpydoc_with_every_parameter(method: Any) -> None:
    titles = re.findall(r"^\s*(\w+)\n\s*-+$", method.__doc__, re.M)
    parameters = set(inspect.signature(method).parameters) - {"self"}
    assert titles[: 1 + bool(parameters)] == [*["Parameters"] * bool(parameters), "Returns"]
    assert not parameters or _documented(method) == parameters


def _documented(method: Any) -> set[str]:
    """Return the names in the section Parameters."""
    section = inspect.getdoc(method).split("Parameters\n", 1)[1].split("\n\n", 1)[0]
    heads = re.findall(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: : .+)?$", section, re.M)
    return {name.strip("* ") for head in heads for name in head.split(",")}


def test_wrong_arguments_raise_type_errors_with_the_operator() -> None:
    with pytest.raises(TypeError, match="classify: missing a required argument: 'labels'"):
        TEXTS.ollama.classify()
    with pytest.raises(TypeError, match="chat: got an unexpected keyword argument 'label'"):
        TEXTS.ollama.chat(label=1)
    with pytest.raises(ValueError, match="duplicate parameter name: 'model'"):
        row_operator.row_operator(lambda model: chat())
