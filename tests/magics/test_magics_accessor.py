"""df.ollama and s.ollama: the rows that are sent, the results, and interrupts."""

from __future__ import annotations

import _thread
import asyncio
import datetime
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import jupyter_ollama_magics.accessor  # noqa: F401
import numpy as np
import pandas as pd
import pytest
from crowd import wait_until
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.rows import columns
from jupyter_ollama_magics.rows import jobs as rows
from jupyter_ollama_magics.rows.plan import RowsInterrupted
from pydantic import BaseModel
from real_kernel import Kernel
from row_server import RowServer
from scripted_server import ScriptedServer


def series(*texts: Any, name: Any = None) -> Any:
    return pd.Series(list(texts), index=list("abcdefgh")[: len(texts)], name=name, dtype="object")


def test_order_index_gaps_and_duplicates(echo: RowServer) -> None:
    result = series("x", None, "y", "x", np.nan, "z", name="word").ollama.chat("Say: {text}")
    assert result.index.tolist() == list("abcdef")
    assert result.name == "word"
    assert result.dtype == pd.StringDtype(na_value=np.nan)
    assert result.fillna("-").tolist() == ["SAY: X", "-", "SAY: Y", "SAY: X", "-", "SAY: Z"]
    assert echo.sent() == {"Say: x": 1, "Say: y": 1, "Say: z": 1}


def test_rows_are_sent_side_by_side_under_one_system_message(echo: RowServer) -> None:
    many = pd.Series([f"row {number}" for number in range(200)])
    result = many.ollama.chat(system="Shout.", options={"seed": 3})
    assert result.tolist() == [text.upper() for text in many]
    assert 16 <= echo.most_at_once <= 20
    assert echo.priorities == {"bulk"}
    for body in echo.bodies:
        assert body["messages"][0] == {"role": "system", "content": "Shout."}
        assert (body["model"], body["options"]) == ("echo:latest", {"seed": 3})


@pytest.mark.parametrize(
    ("prompt", "sent"),
    [
        ("{a} of {b:.1f}", "x of 2.5"),
        ('{"key": "{a}"}', '{"key": "x"}'),
        ("{{a}} is {a}, {other}", "{a} is x, {other}"),
        ("{two words}", "{a}"),
        ("a", "x"),
    ],
)
def test_columns_in_prompts(echo: RowServer, prompt: str, sent: str) -> None:
    frame = pd.DataFrame({"a": ["x"], "b": [2.5], "two words": ["{a}"]})
    frame.ollama.chat(prompt)
    assert list(echo.sent()) == [sent]


def test_prompts_of_a_series(echo: RowServer) -> None:
    for prompt in ("Q: {}", "Q: {text}", "Q: {review}"):
        assert series("x", name="review").ollama.chat(prompt).tolist() == ["Q: X"]
    assert series("x").ollama.chat("Translate.").tolist() == ["TRANSLATE.\n\nX"]
    assert series(None).ollama.chat().isna().all()


def test_errors_of_rows(echo: RowServer) -> None:
    data = series("x", "bad", None, "bad", "y")
    with pytest.raises(OllamaMagicsError, match="row b: cannot do bad"):
        data.ollama.chat()
    coerced = data.ollama.chat(errors="coerce")
    assert coerced.fillna("-").tolist() == ["X", "-", "-", "-", "Y"]
    frame = data.ollama.chat(errors="column")
    assert frame.columns.tolist() == ["answer", "error"]
    assert frame["answer"].fillna("-").tolist() == ["X", "-", "-", "-", "Y"]
    assert frame["error"].fillna("").tolist() == ["", "cannot do bad", "", "cannot do bad", ""]


def test_errors_of_all_rows_are_raised(echo: RowServer) -> None:
    echo.status = 404
    with pytest.raises(OllamaMagicsError, match="cannot do bad"):
        series("x", "bad").ollama.chat(errors="coerce")
    with pytest.raises(OllamaMagicsError, match='errors is "raise"'):
        series("x").ollama.chat(errors="ignore")


def test_interrupt_keeps_rows_and_the_same_call_continues(echo: RowServer) -> None:
    many = pd.Series([f"row {number}" for number in range(100)])
    echo.stop_at = 50

    def interrupt() -> None:
        # Each answer that is read frees a slot for one more request.
        wait_until(lambda: len(echo.answered) == 50 and echo.at_once == echo.most_at_once)
        _thread.interrupt_main()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(RowsInterrupted, match="of 100 rows are done and kept") as caught:
        many.ollama.chat("Say {}")
    thread.join()
    done = int(str(caught.value).split()[0])
    assert 0 < done <= 50
    assert echo.dropped.wait(20)
    first = echo.sent()
    echo.go_on.set()
    result = many.ollama.chat("Say {}")
    assert result.tolist() == [f"SAY ROW {number}" for number in range(100)]
    assert len(echo.bodies) == sum(first.values()) + 100 - done
    # A finished call keeps nothing: the next one sends all rows. Other calls share no answers.
    many.ollama.chat("Say {}", options={"seed": 1})
    many.ollama.chat("Say {}")
    assert len(echo.bodies) == sum(first.values()) + 300 - done


def test_a_failed_call_continues_unless_the_model_has_changed(echo: RowServer) -> None:
    data = pd.Series([*(f"row {number}" for number in range(40)), "bad"])
    with pytest.raises(OllamaMagicsError):
        data.ollama.chat()
    before = echo.sent()
    echo.models[0]["digest"] = "e" * 64
    data[:40].ollama.chat()
    assert echo.sent() - before == dict.fromkeys(data[:40], 1)


def test_extract_gives_typed_columns(echo: RowServer) -> None:
    class Note(BaseModel):
        who: str
        size: int | None
        share: float
        sure: bool
        when: datetime.date
        tags: list[str]

    echo.answer = lambda text: json.dumps(
        {
            "who": text,
            "size": int(text) if text.isdigit() else None,
            "share": 0.5,
            "sure": True,
            "when": "2024-02-03",
            "tags": ["t"],
        }
    )
    frame = series("7", None, "ann").ollama.extract(Note)
    assert frame.index.tolist() == list("abc")
    kinds = frame.dtypes.astype(str).to_dict()
    assert kinds.pop("when").startswith("datetime64")
    assert kinds == {
        "who": "str",
        "size": "Int64",
        "share": "float64",
        "sure": "boolean",
        "tags": "object",
    }
    assert frame["who"].fillna("-").tolist() == ["7", "-", "ann"]
    assert frame["size"].isna().tolist() == [False, True, True]
    assert frame["when"].iloc[0] == pd.Timestamp(2024, 2, 3)
    assert frame["tags"].tolist() == [["t"], None, ["t"]]
    assert echo.bodies[0]["format"]["properties"].keys() == Note.model_fields.keys()


def test_answers_that_do_not_fit(echo: RowServer) -> None:
    class Count(BaseModel):
        n: int

    echo.answer = lambda text: f'{{"n": {text}}}'
    data = pd.Series(["1", '"many"', "", "9" * 30])
    frame = data.ollama.extract(Count, errors="column")
    assert frame["n"].fillna(0).tolist() == [1, 0, 0, int("9" * 30)]
    assert frame["error"].notna().tolist() == [False, True, True, False]
    values = data[:1].ollama.chat(schema=Count)
    assert values.tolist() == [Count(n=1)]
    echo.answer = lambda text: '"maybe"'
    with pytest.raises(OllamaMagicsError, match=r"row 0: .* not one of the labels: maybe"):
        data[:1].ollama.classify(["yes", "no"])


def test_labels_keep_their_type_and_order(echo: RowServer) -> None:
    echo.answer = lambda text: f'"{text}"'
    result = series("3", None, "1").ollama.classify([3, 2, 1])
    assert result.cat.categories.tolist() == [3, 2, 1]
    assert result.tolist()[::2] == [3, 1]
    assert echo.bodies[0]["format"] == {"type": "string", "enum": ["3", "2", "1"]}
    assert echo.bodies[0]["options"] == {"temperature": 0}
    with pytest.raises(OllamaMagicsError, match=r"needs /api/score, which this server does not"):
        series("3").ollama.classify([3, 2], probabilities=True)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: pd.Series([1]).ollama.chat(), r"\.ollama takes texts, but item 0 is int"),
        (lambda: pd.DataFrame({"a": ["x"]}).ollama.chat("{b}"), r"none of the columns: \{a\}"),
        (lambda: pd.DataFrame({"a": ["x"]}).ollama.chat(), "or a column's name"),
        (lambda: pd.Series(["x"]).ollama.classify([]), "at least one label"),
        (lambda: pd.Series(["x"]).ollama.extract({"type": "string"}), "an object with fields"),
        (lambda: pd.Series(["x"]).ollama.embed(), "No embedding model"),
    ],
)
def test_mistakes(echo: RowServer, call: Callable[[], Any], expected: str) -> None:
    with pytest.raises(OllamaMagicsError, match=expected):
        call()


def test_progress_only_of_long_calls(
    echo: RowServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    series("x").ollama.chat()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(rows, "PROGRESS_AFTER", 0)
    echo.stop_at = 2
    threading.Timer(0.5, echo.go_on.set).start()
    series("p", "q", "r").ollama.chat()
    assert "/3" in capsys.readouterr().err


async def test_awaited(echo: RowServer) -> None:
    one, two = await asyncio.gather(
        series("x").ollama.achat("{}!"), series("y").ollama.achat(system="S")
    )
    assert (one.tolist(), two.tolist()) == (["X!"], ["Y"])
    echo.answer = lambda text: '{"n": 3}' if text == "count" else '"yes"'
    fields, label = await asyncio.gather(
        series("count", None).ollama.aextract({"properties": {"n": {"type": "integer"}}}),
        series("y").ollama.aclassify(["yes", "no"], into="sure"),
    )
    assert fields["n"].dtype == "Int64"
    assert fields["n"].dropna().to_dict() == {"a": 3}
    assert label.to_dict("list") == {"text": ["y"], "sure": ["yes"]}
    with pytest.raises(OllamaMagicsError, match="row b: cannot do bad"):
        await series("x", "bad").ollama.achat()


def test_into_a_column_of_the_data(echo: RowServer) -> None:
    frame = pd.DataFrame({"id": [1, 2, 3], "text": ["x", None, "bad"]}, index=[7, 7, 9])
    answers = frame.ollama.chat("text", into="answer", errors="coerce")
    assert answers.columns.tolist() == ["id", "text", "answer"]
    assert answers.index.tolist() == [7, 7, 9]
    assert answers["answer"].fillna("-").tolist() == ["X", "-", "-"]
    assert frame.columns.tolist() == ["id", "text"]
    result = frame.text.ollama.chat(into="answer", errors="column")
    assert result.columns.tolist() == ["text", "answer", "answer_error"]
    assert result["answer_error"].fillna("").tolist() == ["", "", "cannot do bad"]
    echo.answer = lambda text: '{"n": 1, "kind": "a"}'
    schema = {"properties": {"n": {"type": "integer"}, "kind": {"enum": ["a", "b"]}}}
    fields = frame[:2].ollama.extract(schema, "text", into="found")
    assert fields.columns.tolist() == ["id", "text", "found_n", "found_kind"]
    assert fields["found_n"].fillna(0).tolist() == [1, 0]
    assert fields["found_kind"].dtype == pd.CategoricalDtype(["a", "b"])


def test_no_texts_need_no_server() -> None:
    empty = series(None, None).ollama.classify(["yes", "no"], model="echo")
    assert empty.isna().all()
    assert empty.dtype == pd.CategoricalDtype(["yes", "no"])


def test_vectors_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "find_spec", lambda name: None)
    rows = [np.ones(2, np.float32), None, np.zeros(2, np.float32)]
    column = columns.vectors(rows, pd.Index([5, 6, 7]), "v")
    assert (column.dtype, column.index.tolist()) == (object, [5, 6, 7])
    assert column.isna().tolist() == [False, True, False]
    assert columns.matrix(column.dropna()).tolist() == [[1, 1], [0, 0]]


def test_accessors_are_registered_at_the_import_of_the_libraries() -> None:
    code = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "jupyter_ollama_magics")
print(sorted({"pandas", "numpy", "pyarrow", "httpx2", "asyncio.runners"} & set(sys.modules) - OLD))
import pandas as pd
print(type(pd.Series(["a"]).ollama).__name__, type(pd.DataFrame().ollama).__name__)
shell.run_line_magic("unload_ext", "jupyter_ollama_magics")
shell.run_line_magic("load_ext", "jupyter_ollama_magics")
print("httpx2" in sys.modules, "dask" in sys.modules)
import dask.dataframe as dd
print(type(dd.from_pandas(pd.Series(["a"])).ollama).__name__)
import polars as pl
print(type(pl.Series(["a"]).ollama).__name__)
print(sys.meta_path[0].__class__.__module__)
shell.run_line_magic("unload_ext", "jupyter_ollama_magics")
"""
    code = code.replace("- OLD", "- {'asyncio.runners'}")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *lines, last = run.stdout.splitlines()
    assert lines == ["[]", "SeriesRows FrameRows", "False False", "DaskRows", "PolarsRows"]
    assert "jupyter_ollama_magics" not in last  # the import hook is removed
    assert run.stderr == ""


def test_in_a_kernel(kernel: Kernel, server: ScriptedServer) -> None:
    code = "import pandas as pd\nprint(pd.Series(['a', 'bb']).ollama.embed(expand=True).shape)"
    _, messages = kernel.run(code)
    assert messages == [("stream", {"name": "stdout", "text": "(2, 3)\n"})]
    server.embed_delay = 60.0
    before = len(server.bodies("/api/embed"))

    def interrupt() -> None:
        wait_until(lambda: len(server.bodies("/api/embed")) > before)
        kernel.manager.interrupt_kernel()

    reply, messages = kernel.run("pd.Series(['a', 'bb']).ollama.embed()", interrupt)
    assert reply["ename"] == "RowsInterrupted"
    assert messages[-1][1]["traceback"] == [
        "\x1b[31mInterrupted:\x1b[0m 0 of 2 rows are done and kept; "
        "the same call continues with the others."
    ]
    assert server.disconnected.wait(5)
