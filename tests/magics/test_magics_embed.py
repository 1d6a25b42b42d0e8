"""%embed: shapes, order, missing values, batches."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_ollama_magics import embed as embed_module
from jupyter_ollama_magics.failures import OllamaMagicsError
from scripted_server import ScriptedServer


def test_series_keeps_its_index_and_its_gaps(
    shell: InteractiveShell, server: ScriptedServer
) -> None:
    frame = pd.DataFrame({"text": ["bb", None, "a", "bb", np.nan]}, index=list("vwxyv"))
    shell.push({"df": frame})
    for expression in ("df.text", 'df["text"]', "df[['text']]"):
        vectors = shell.run_line_magic("embed", expression)
        assert vectors.index.tolist() == list("vwxyv")
        assert vectors.columns.tolist() == [0, 1, 2]
        assert (vectors.dtypes == np.float32).all()
        assert vectors[0].fillna(-1).tolist() == [2, -1, 1, 2, -1]
    body = server.bodies("/api/embed")[0]
    assert (body["model"], body["input"]) == ("all-minilm:latest", ["bb", "a"])


def test_lists_arrays_and_texts(shell: InteractiveShell) -> None:
    shell.push({"words": np.array(["a", "bb"], dtype=object)})
    for expression in ("['a', 'bb']", "('a', 'bb')", "words"):
        vectors = shell.run_line_magic("embed", expression)
        assert vectors.dtype == np.float32
        assert vectors.tolist() == [[1.0, 97.0, 0.5], [2.0, 98.0, 0.5]]
    assert shell.run_line_magic("embed", "'a --model b'").shape == (3,)
    assert shell.run_line_magic("embed", "[None, 'a'] --dimensions 2").shape == (2, 2)
    assert shell.run_line_magic("embed", "[]").shape == (0, 0)


def test_batches_and_equal_texts(
    shell: InteractiveShell, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed_module, "BATCH_CHARACTERS", 100)
    texts = [chr(65 + i % 50) * (1 + i % 3) for i in range(600)] + ["x" * 150]
    shell.push({"texts": texts})
    vectors = shell.run_line_magic("embed", "texts")
    assert vectors[:, 0].tolist() == [float(len(text)) for text in texts]
    sent = [body["input"] for body in server.bodies("/api/embed")]
    assert sorted(text for batch in sent for text in batch) == sorted(set(texts))
    assert all(len(batch) == 1 or sum(map(len, batch)) <= 100 for batch in sent)
    monkeypatch.setattr(embed_module, "BATCH_CHARACTERS", 10**6)
    shell.push({"many": [f"text {i}" for i in range(600)]})
    shell.run_line_magic("embed", "many")
    sizes = [len(body["input"]) for body in server.bodies("/api/embed")[-3:]]
    assert sizes == [256, 256, 88]


def test_options(shell: InteractiveShell, server: ScriptedServer) -> None:
    shell.push({"name": "all-minilm"})
    assert shell.run_line_magic("embed", "['a'] --model {name} -o kept --dimensions 2") is None
    assert shell.user_ns["kept"].shape == (1, 2)
    assert server.bodies("/api/embed")[0] == {
        "model": "all-minilm",
        "input": ["a"],
        "dimensions": 2,
        "encoding_format": "base64",
    }
    shell.run_line_magic("config", "OllamaMagics.embed_model = 'other'")
    shell.run_line_magic("embed", "['a']")
    assert server.bodies("/api/embed")[-1]["model"] == "other"


def test_local_variables_in_functions(shell: InteractiveShell) -> None:
    shell.run_cell("def f(words):\n    v = %embed words\n    return v\nshape = f(['a']).shape")
    assert shell.user_ns["shape"] == (1, 3)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("[1, 2]", r"item 0 is int. Try .astype\(str\)"),
        ("['a', ['b']]", "item 1 is list"),
        ("3", "takes texts, not int"),
        ("two", "Which of the 2 columns"),
        ("nowhere", "nowhere failed: NameError"),
        ("['a'] --model x y", "unrecognized arguments: y"),
        ("['a'] --dimensions few", "invalid int value"),
    ],
)
def test_mistakes(shell: InteractiveShell, line: str, expected: str) -> None:
    shell.push({"two": pd.DataFrame({"a": ["x"], "b": ["y"]})})
    with pytest.raises(OllamaMagicsError, match=expected):
        shell.run_line_magic("embed", line)


def test_invalid_answers(shell: InteractiveShell, server: ScriptedServer) -> None:
    server.failure = (200, "application/json", '{"embeddings": [[1.0], [2.0]]}')
    with pytest.raises(OllamaMagicsError, match="one vector for each text"):
        shell.run_line_magic("embed", "['a'] --model all-minilm")
    for rows in ("[[1.0], [2.0, 3.0]]", '["AAAA"]', '["ä"]', "[{}]", "7"):
        server.failure = (200, "application/json", f'{{"embeddings": {rows}}}')
        with pytest.raises(OllamaMagicsError, match="embeddings that are not rows of numbers"):
            shell.run_line_magic("embed", "['a', 'b'] --model all-minilm")
