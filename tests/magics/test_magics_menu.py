"""The menu that ``.ollama`` shows of its methods."""

from __future__ import annotations

import inspect
import re

import dask.dataframe as dd
import jupyter_ollama_magics.dask_frame  # noqa: F401
import pandas as pd
import pytest
from IPython.core.formatters import DisplayFormatter
from jupyter_ollama_magics.rows.registry import OPERATORS

SERIES = pd.Series(["x"], name="text")


@pytest.mark.parametrize("kind", ["series", "frame", "dask"])
def test_every_method_with_its_summary(kind: str) -> None:
    data = {"series": SERIES, "frame": SERIES.to_frame(), "dask": dd.from_pandas(SERIES)}[kind]
    owner = type(data.ollama)
    lines = repr(data.ollama).splitlines()
    shown = dict(re.findall(r"^  \.(\w+)\([^)]*\)  +(\S.*)$", "\n".join(lines), re.M))
    assert OPERATORS.keys() <= shown.keys()
    public = {name for name in dir(owner) if name[0] != "_"}
    twins = {f"a{name}" for name in public} & public
    assert all(inspect.iscoroutinefunction(getattr(owner, name)) for name in twins)
    public -= twins
    assert shown.keys() == public
    for name, summary in shown.items():
        head = inspect.getdoc(getattr(owner, name)).split("\n\n")[0]
        assert summary == " ".join(head.split()).replace("``", "")
    assert ("await .achat()" in lines[-1]) == (kind != "dask")


def test_a_notebook_shows_a_table_in_the_colors_of_the_theme() -> None:
    data, _ = DisplayFormatter().format(SERIES.ollama)
    html = data["text/html"]
    assert html.count("<tr>") == len(re.findall(r"^  \.", data["text/plain"], re.M))
    assert "<code>.classify(labels)</code>" in html
    assert "var(--jp-ui-font-color1" in html
    # No color is fixed: light and dark themes set the variables, other front ends inherit.
    assert not re.search(r"#[0-9a-fA-F]{3,6}\b|rgb|: *(?:black|white)", html)
    assert "<script" not in html
