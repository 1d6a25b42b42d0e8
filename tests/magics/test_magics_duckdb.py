"""The functions of SQL in DuckDB: the same rows and answers as .ollama."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import duckdb
import jupyter_ollama_magics.accessor  # noqa: F401
import pandas as pd
import pytest
from jupyter_ollama_magics import duckdb_functions, duckdb_rows
from jupyter_ollama_magics.failures import OllamaMagicsError
from row_server import RowServer

ROWS = "(VALUES (1, 'red'), (2, NULL), (3, 'blue'), (4, 'red')) t(n, text)"
SCHEMA = '{"properties": {"n": {"type": "integer"}, "day": {"type": "string", "format": "date"}}}'


@pytest.fixture
def connection(echo: RowServer) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the functions."""
    with duckdb.connect() as made:
        duckdb_functions(made)
        yield made


def test_answers_to_prompts(connection: duckdb.DuckDBPyConnection, echo: RowServer) -> None:
    query = f"SELECT n, ollama_chat('Say ' || text) FROM {ROWS} ORDER BY n"
    expected = [(1, "SAY RED"), (2, None), (3, "SAY BLUE"), (4, "SAY RED")]
    assert connection.sql(query).fetchall() == expected
    assert echo.sent() == {"Say red": 1, "Say blue": 1}
    assert connection.sql("SELECT ollama_chat(NULL)").fetchall() == [(None,)]
    named = f"SELECT ollama_chat(text, 'echo') FROM {ROWS} WHERE n = 3"
    assert connection.sql(named).fetchall() == [("BLUE",)]


def test_labels(connection: duckdb.DuckDBPyConnection, echo: RowServer) -> None:
    echo.answer = lambda text: '"yes"' if text == "red" else '"no"'
    query = f"SELECT ollama_classify(text, ['yes', 'no']) AS label FROM {ROWS} ORDER BY n"
    assert connection.sql(query).fetchall() == [("yes",), (None,), ("no",), ("yes",)]
    counts = f"SELECT label, count(*) FROM ({query}) GROUP BY label ORDER BY ALL"
    assert connection.sql(counts).fetchall() == [("no", 1), ("yes", 2), (None, 1)]


def test_arguments_that_differ_by_row(
    connection: duckdb.DuckDBPyConnection, echo: RowServer
) -> None:
    echo.answer = lambda text: '"a"'
    query = f"""SELECT ollama_classify(text, CASE n WHEN 1 THEN ['a', 'b'] WHEN 3 THEN NULL
        ELSE ['a', 'c'] END) FROM {ROWS} ORDER BY n"""
    assert connection.sql(query).fetchall() == [("a",), (None,), (None,), ("a",)]
    systems = {body["messages"][0]["content"].rpartition(": ")[2] for body in echo.bodies}
    assert systems == {"a, b", "a, c"}


def test_fields_as_json(connection: duckdb.DuckDBPyConnection, echo: RowServer) -> None:
    echo.answer = lambda text: '{"n": 4, "day": "2026-11-30"}'
    query = f"SELECT ollama_extract(text, '{SCHEMA}') AS found FROM {ROWS} ORDER BY n"
    fields = f"SELECT (found->>'n')::INT, (found->>'day')::TIMESTAMP::DATE::TEXT FROM ({query})"
    row = (4, "2026-11-30")
    assert connection.sql(fields).fetchall() == [row, (None, None), row, row]


def test_vectors(connection: duckdb.DuckDBPyConnection, echo: RowServer) -> None:
    echo.models[0]["capabilities"] = ["embedding"]
    query = f"SELECT ollama_embed(text) AS vector FROM {ROWS} ORDER BY n"
    found = connection.sql(query)
    assert found.types == ["FLOAT[]"]
    assert found.fetchall() == [([3, 114],), (None,), ([4, 98],), ([3, 114],)]
    duckdb_functions(connection, dimensions=2)
    found = connection.sql(query)
    assert found.types == ["FLOAT[2]"]
    assert found.fetchall() == [((3, 114),), (None,), ((4, 98),), ((3, 114),)]
    distance = "SELECT array_distance(ollama_embed('ab'), ollama_embed('b'))"
    assert connection.sql(distance).fetchall() == [(pytest.approx(2**0.5),)]
    assert connection.sql("SELECT ollama_embed(NULL::TEXT)").fetchall() == [(None,)]


def test_many_rows_in_several_vectors(
    connection: duckdb.DuckDBPyConnection, echo: RowServer
) -> None:
    echo.pause = 0.1  # all requests of a call are in flight before the first answer
    query = "SELECT ollama_chat('row ' || (i % 200)) AS answer FROM range(2100) t(i)"
    answers = [answer for (answer,) in connection.sql(query).fetchall()]
    assert Counter(answers) == Counter(f"ROW {number % 200}" for number in range(2100))
    # DuckDB brings 2,048 rows at a time, and equal rows of a part are sent once.
    assert len(echo.bodies) == 200 + 2100 - 2048
    assert 16 <= echo.most_at_once <= 20 * duckdb_rows.AT_ONCE


def test_inside_a_running_loop(connection: duckdb.DuckDBPyConnection) -> None:
    async def cell() -> Any:
        return connection.sql("SELECT ollama_chat('x')").fetchall()

    assert asyncio.run(cell()) == [("X",)]


def test_a_row_that_fails(connection: duckdb.DuckDBPyConnection, echo: RowServer) -> None:
    query = "SELECT ollama_chat(text) FROM (VALUES ('fine'), ('bad one')) t(text)"
    with pytest.raises(duckdb.Error, match="OllamaMagicsError: row bad one: cannot do") as caught:
        connection.sql(query).fetchall()
    assert "\n" not in str(caught.value)
    assert 'errors="coerce" continues' in str(caught.value)
    duckdb_functions(connection, errors="coerce")
    assert connection.sql(query).fetchall() == [("FINE",), (None,)]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("ollama_classify('x')", r"arguments are ollama_classify\(text, labels \[, model\]\)\."),
        ("ollama_chat('x', 'm', 'y')", r"arguments are ollama_chat\(prompt \[, model\]\)\."),
        ("ollama_classify('x', 'yes')", r"labels is a list"),
        ("ollama_extract('x', 'fields')", r"schema of ollama_extract is not JSON"),
        ("ollama_chat(3)", r"takes texts, but item 3 is int"),
        ("ollama_chat('x', 'nowhere')", r"nowhere"),
    ],
)
def test_mistakes_in_queries(
    connection: duckdb.DuckDBPyConnection, echo: RowServer, call: str, expected: str
) -> None:
    with pytest.raises(duckdb.Error, match=rf"OllamaMagicsError: .*{expected}") as caught:
        connection.sql(f"SELECT {call}").fetchall()
    assert "\n" not in str(caught.value)
    assert echo.bodies == []


def test_mistakes_in_arguments(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OllamaMagicsError, match=r"such as duckdb\.connect\(\)"):
        duckdb_functions("notes.duckdb")
    with pytest.raises(OllamaMagicsError, match='errors is "raise" or "coerce"'):
        duckdb_functions(connection, errors="column")
    monkeypatch.setattr(duckdb_rows, "find_spec", lambda name: None)
    with pytest.raises(OllamaMagicsError, match=r"need pyarrow: pip install '.*\[duckdb\]'\.$"):
        duckdb_functions(connection)


def test_several_servers_and_a_cache(pair: list[tuple[RowServer, str]], tmp_path: Any) -> None:
    query = "SELECT ollama_chat('row ' || i) FROM range(60) t(i)"
    with duckdb.connect() as connection:
        duckdb_functions(connection, at=[url for _, url in pair], cache=tmp_path / "rows.sqlite")
        first = connection.sql(query).fetchall()
        assert all(server.answered for server, _ in pair)
        sent = [len(server.bodies) for server, _ in pair]
        assert connection.sql(query).fetchall() == first
        assert [len(server.bodies) for server, _ in pair] == sent


def test_vectors_equal_those_of_pandas(
    connection: duckdb.DuckDBPyConnection, echo: RowServer
) -> None:
    echo.models[0]["capabilities"] = ["embedding"]
    texts = pd.DataFrame({"text": [f"row {number}" for number in range(50)]})
    connection.register("texts", texts)
    found = connection.sql("SELECT ollama_embed(text) FROM texts").fetchall()
    assert [vector for (vector,) in found] == [list(row) for row in texts["text"].ollama.embed()]


def test_nothing_is_imported_before_use() -> None:
    code = "import sys, jupyter_ollama_magics as m\n"
    code += "print({'duckdb', 'pandas', 'pyarrow', 'polars'} & set(sys.modules))\n"
    code += "print(m.duckdb_functions.__name__, 'duckdb' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["set()", "duckdb_functions False"]
