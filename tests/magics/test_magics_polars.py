"""df.ollama and s.ollama on Polars: the same rows and answers as on pandas, in Polars dtypes."""

from __future__ import annotations

import asyncio
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Literal

import jupyter_ollama_magics.accessor
import jupyter_ollama_magics.polars_frame  # noqa: F401
import numpy as np
import pandas as pd
import polars as pl
import pytest
from crowd import wait_until
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.rows.registry import OPERATORS
from pydantic import BaseModel
from row_server import RowServer, application


class Point(BaseModel):
    x: int
    y: int


class Note(BaseModel):
    n: int
    kind: Literal["a", "b"]
    share: float
    tags: list[str]
    at: Point | None = None


@pytest.fixture
def echo(serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> RowServer:
    """A server that answers with the texts in capitals; the accessors find it."""
    server = RowServer()
    server.models[0]["digest"] = secrets.token_hex(32)
    server.url = serve(application(server))  # type: ignore[attr-defined]
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", server.url)  # type: ignore[attr-defined]
    return server


FRAME = pl.DataFrame({"text": ["red", None, "blue", "red", "bad"], "n": [1, 2, 3, 4, 5]})
GOOD = FRAME.head(4)
NOTE = '{"n": 4, "kind": "b", "share": 0.5, "tags": ["p", "q"], "at": {"x": 1, "y": 2}}'
NOTE_DTYPES = {
    "n": pl.Int64(),
    "kind": pl.Enum(["a", "b"]),
    "share": pl.Float64(),
    "tags": pl.List(pl.String()),
    "at": pl.Struct({"x": pl.Int64(), "y": pl.Int64()}),
}

CALLS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any], Any]] = {
    "chat": ("chat", ("Say {text} of {n:.1f}",), {}, pl.String()),
    "one": ("chat", ("text",), {"schema": int}, pl.Int64()),
    "several": ("chat", ("text",), {"schema": Point}, pl.Struct({"x": pl.Int64, "y": pl.Int64})),
    "label": ("classify", (["yes", "no"], "text"), {}, pl.Enum(["yes", "no"])),
    "number": ("classify", ([1, 2], "text"), {}, pl.Int64()),
    "fields": ("extract", (Note, "text"), {}, NOTE_DTYPES),
    "vector": ("embed", ("text",), {}, pl.Array(pl.Float32(), 2)),
    "expanded": ("embed", ("text",), {"expand": True}, {"0": pl.Float32(), "1": pl.Float32()}),
}
ANSWERS = {"one": "7", "several": '{"x": 1, "y": 2}', "label": '"yes"', "number": '"2"'}


def answer(server: RowServer, kind: str) -> None:
    server.answer = lambda text: NOTE if kind == "fields" else ANSWERS.get(kind, text.upper())
    server.models[0]["capabilities"] = [
        "embedding" if kind in ("vector", "expanded") else "completion"
    ]


def rows_of(data: pl.Series | pl.DataFrame) -> list[Any]:
    return data.to_list() if isinstance(data, pl.Series) else data.rows()


@pytest.mark.parametrize("kind", CALLS)
def test_a_frame_a_lazy_frame_and_an_expression_agree(echo: RowServer, kind: str) -> None:
    operator, arguments, more, dtype = CALLS[kind]
    answer(echo, kind)
    eager = getattr(GOOD.ollama, operator)(*arguments, **more)
    is_frame = isinstance(dtype, dict)
    assert (dict(eager.schema) if is_frame else eager.dtype) == dtype
    expected = getattr(GOOD.to_pandas().ollama, operator)(*arguments, **more)
    assert expected.isna().to_numpy().reshape(4, -1)[:, 0].tolist() == (
        (eager.to_series(0) if is_frame else eager).is_null().to_list()
    )
    assert [row is None or row == (None,) * eager.width for row in rows_of(eager)] == [
        False, True, False, False,
    ] if is_frame else eager.null_count() == 1  # fmt: skip

    lazy = getattr(GOOD.lazy().ollama, operator)(*arguments, **more)
    sent = len(echo.bodies)
    schema = lazy.collect_schema()
    assert len(echo.bodies) == sent
    collected = lazy.collect()
    assert collected.schema == schema
    assert rows_of(collected if is_frame else collected.to_series()) == rows_of(eager)

    expression = getattr(pl.struct("text", "n").ollama, operator)(*arguments, **more)
    column = GOOD.select(expression.alias("new")).to_series()
    if is_frame:
        assert column.struct.unnest().rows() == eager.rows()
    else:
        assert (column.dtype, column.to_list()) == (eager.dtype, eager.to_list())


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("errors", ["coerce", "column"])
def test_into_and_errors_as_on_pandas(echo: RowServer, kind: str, errors: str) -> None:
    operator, arguments, more, _ = CALLS[kind]
    answer(echo, kind)
    more = {**more, "into": "new", "errors": errors}
    eager = getattr(FRAME.ollama, operator)(*arguments, **more)
    expected = getattr(FRAME.to_pandas().ollama, operator)(*arguments, **more)
    assert eager.columns == expected.columns.tolist()
    assert eager.select("text", "n").equals(FRAME)
    new = eager.columns[2:]
    assert eager[new[0]].is_null().to_list() == expected[new[0]].isna().tolist()
    assert eager[new[0]].is_null().to_list() == [False, True, False, False, True]
    if errors == "column":
        *_, message = eager["new_error"].to_list()
        assert "cannot do" in message
    lazy = getattr(FRAME.lazy().ollama, operator)(*arguments, **more)
    assert lazy.collect().equals(eager)
    assert lazy.collect_schema() == eager.schema


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_every_operator_is_there(name: str) -> None:
    for data in (GOOD, GOOD["text"], GOOD.lazy(), pl.col("text")):
        method = getattr(data.ollama, name)
        assert method.__doc__ == getattr(pd.Series.ollama, name).__doc__
        assert name in dir(data.ollama)


async def test_an_async_twin(echo: RowServer) -> None:
    assert (await GOOD["text"].ollama.achat("Say {text}")).to_list() == [
        "SAY RED", None, "SAY BLUE", "SAY RED",
    ]  # fmt: skip


def test_equal_rows_are_sent_once_and_names_stay(echo: RowServer) -> None:
    column = GOOD["text"].ollama.chat()
    assert (column.name, column.dtype) == ("text", pl.String)
    assert column.to_list() == ["RED", None, "BLUE", "RED"]
    assert echo.sent() == {"red": 1, "blue": 1}
    assert GOOD["text"].ollama.chat(into="loud").columns == ["text", "loud"]
    replaced = GOOD.with_columns(pl.col("text").ollama.chat())
    assert replaced.columns == ["text", "n"]
    assert GOOD.select(pl.col("text").ollama.chat(into="loud")).columns == ["loud"]


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_rows_that_a_filter_or_a_slice_removes_are_not_sent(echo: RowServer, engine: Any) -> None:
    lazy = FRAME.lazy().ollama.chat("text", into="loud").filter(pl.col("n") > 2).head(1)
    assert echo.bodies == []
    assert lazy.collect(engine=engine).rows() == [("blue", 3, "BLUE")]
    assert set(echo.sent()) <= {"blue", "red"}
    with_label = FRAME.lazy().with_columns(loud=pl.col("text").ollama.chat())
    found = with_label.filter(pl.col("n") == 1).collect(engine=engine)
    assert found.rows() == [("red", 1, "RED")]


def test_many_rows_are_sent_side_by_side(echo: RowServer) -> None:
    echo.pause = 0.1  # all requests of a call are in flight before the first answer
    many = pl.DataFrame({"text": [f"row {number}" for number in range(200)]})
    loud = many.lazy().with_columns(pl.col("text").ollama.chat()).collect()
    assert loud["text"].to_list() == [text.upper() for text in many["text"]]
    assert 16 <= echo.most_at_once <= 20


def test_columns_that_no_prompt_names_are_not_read(echo: RowServer) -> None:
    odd = GOOD.with_columns(pl.Series("odd", [object()] * 4, dtype=pl.Object))
    assert odd.ollama.chat("{text} {n}").to_list()[0] == "RED 1"
    assert odd.lazy().ollama.chat("{text} {n}").collect().to_series()[0] == "RED 1"


def test_the_schema_of_vectors(echo: RowServer) -> None:
    echo.models[0]["capabilities"] = ["embedding"]
    vectors = pl.col("text").ollama.embed(dimensions=2)
    lazy = GOOD.lazy().ollama.embed("text", into="v", dimensions=2, errors="column")
    expected = {"text": pl.String, "n": pl.Int64, "v": pl.Array(pl.Float32, 2)}
    assert lazy.collect_schema() == {**expected, "v_error": pl.String}
    assert echo.bodies == []
    assert GOOD.select(vectors).to_series().to_list()[0] == [3.0, 114.0]
    # Without the length one short text is sent.
    pl.col("text").ollama.embed()
    assert [body["input"] for body in echo.bodies[1:]] == [["a"]]


def test_only_missing_rows(echo: RowServer) -> None:
    empty = pl.DataFrame({"text": [None, None]}, schema={"text": pl.String})
    assert empty.ollama.classify(["a"], "text").dtype == pl.Enum(["a"])
    vectors = empty.lazy().ollama.embed("text", dimensions=3).collect().to_series()
    assert (vectors.dtype, vectors.to_list()) == (pl.Array(pl.Float32, 3), [None, None])
    assert echo.bodies == []


def test_mistakes(echo: RowServer) -> None:
    with pytest.raises(OllamaMagicsError, match=r"^row 4: cannot do bad"):
        FRAME.ollama.chat("text")
    with pytest.raises(OllamaMagicsError, match=r"^row \d: cannot do bad"):
        FRAME.lazy().ollama.chat("text").collect()
    with pytest.raises(OllamaMagicsError, match=r"names none of the columns: \{text\}, \{n\}"):
        FRAME.lazy().ollama.chat("Hello")
    with pytest.raises(OllamaMagicsError, match="labels is a list"):
        pl.col("text").ollama.classify("yes")
    with pytest.raises(TypeError, match="classify: missing"):
        FRAME.ollama.classify()
    with pytest.raises(OllamaMagicsError, match="takes texts, but item 0 is int"):
        FRAME["n"].ollama.chat()


def test_several_servers(pair: list[tuple[RowServer, str]]) -> None:
    texts = pl.DataFrame({"text": [f"row {number}" for number in range(60)]})
    urls = [url for _, url in pair]
    for rows in (
        texts.ollama.at(*urls).chat("text"),
        texts.lazy().ollama.at(*urls).chat("text").collect().to_series(),
        texts.select(pl.col("text").ollama.at(*urls).chat()).to_series(),
    ):
        assert rows.to_list() == [text.upper() for text in texts["text"]]
    assert all(server.answered for server, _ in pair)


def test_inside_a_running_loop(echo: RowServer) -> None:
    async def cell() -> list[str]:
        return list(GOOD.lazy().ollama.chat("text").collect().to_series().drop_nulls())

    assert asyncio.run(cell()) == ["RED", "BLUE", "RED"]


def test_vectors_of_polars_as_vectors_of_pandas(echo: RowServer) -> None:
    echo.models[0]["capabilities"] = ["embedding"]
    expected = np.stack(GOOD.to_pandas()["text"].ollama.embed().dropna())
    assert np.array_equal(GOOD["text"].ollama.embed().drop_nulls().to_numpy(), expected)


def test_an_interrupt_ends_a_query_and_keeps_its_rows(echo: RowServer) -> None:
    code = """
import time
import jupyter_ollama_magics.polars_frame, polars as pl
rows = pl.LazyFrame({"text": [f"row {number}" for number in range(100)]}).ollama.chat("text")
try:
    try:
        rows.collect()
    except KeyboardInterrupt:
        time.sleep(0.5)  # Polars and Python both raise it
except KeyboardInterrupt:
    pass
print("interrupted", flush=True)
input()
print(rows.collect().to_series()[99])
"""
    echo.stop_at = 50
    command = [sys.executable, "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        wait_until(lambda: len(echo.answered) == 50 and echo.at_once == echo.most_at_once)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        assert echo.dropped.wait(10)
        echo.go_on.set()
        wait_until(lambda: echo.at_once == 0)
        before = len(echo.bodies)
        echo.stop_at = 10**9
        out, _ = process.communicate("\n", timeout=60)
    assert (out, process.returncode) == ("ROW 99\n", 0)
    assert len(echo.bodies) - before == 50


def test_importing_polars_imports_nothing_else() -> None:
    code = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "jupyter_ollama_magics")
print("polars" in sys.modules)
import polars as pl
print(sorted({"pandas", "pyarrow"} & set(sys.modules)))
print(*(type(one.ollama).__name__ for one in (
    pl.Series(["a"]), pl.DataFrame(), pl.LazyFrame(), pl.col("a"))))
shell.run_line_magic("unload_ext", "jupyter_ollama_magics")
shell.run_line_magic("load_ext", "jupyter_ollama_magics")
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [
        "False", "[]", "PolarsRows PolarsRows LazyRows ExpressionRows",
    ]  # fmt: skip
    assert run.stderr == ""


def test_rows_that_an_operator_keeps(echo: RowServer) -> None:
    echo.answer = lambda text: '"yes"' if "blue" in text else '"no"'
    expected = [("blue", 3)]
    question = "{text} is cold"
    assert GOOD.ollama.filter(question).rows() == expected
    assert GOOD["text"].ollama.filter(question).to_list() == ["blue"]
    lazy = GOOD.lazy().ollama.filter(question)
    assert lazy.collect_schema() == GOOD.schema
    assert lazy.collect().rows() == expected
    mask = pl.col("text").ollama.filter(question, returns="mask")
    assert GOOD.filter(mask).rows() == expected
    with pytest.raises(OllamaMagicsError, match=r'as many rows .* filter\(…, returns="mask"\)'):
        pl.col("text").ollama.filter(question)
    odds = GOOD.ollama.filter(question, into="odds", errors="column")
    assert odds.columns == ["text", "n", "odds", "odds_error"]
    again = GOOD.lazy().ollama.filter(question, into="odds", errors="column")
    assert again.collect_schema() == odds.schema
    assert again.collect().equals(odds)
