"""df.ollama.index with a real server: all-minilm embeds, a tiny model ranks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import jupyter_ollama_magics
import jupyter_ollama_magics.accessor
import numpy as np
import pandas as pd
import pytest
from cli_process import serving
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.search import build, embedding
from jupyter_ollama_magics.search.index import SearchIndex
from jupyter_ollama_magics.search.index_file import IndexChanged, IndexFile
from store_models import add_model
from tiny_ranker import TinyRanker

from jupyter_ollama.library.library import Library

NOTES = pd.DataFrame(
    {
        "text": [
            "Water the tomatoes.",
            None,
            "The train is late.",
            "Basil needs sun.",
            "The train is late.",
            "Invoice XK-4711 is paid.",
        ],
        "year": pd.array([2020, 2021, None, 2022, 2023, 2024], dtype="Int64"),
        "kind": pd.Categorical(["garden", "garden", "travel", "garden", "travel", "money"]),
    },
    index=pd.Index(list("uvwxyz"), name="id"),
)


@pytest.fixture(scope="module")
def address(ollama_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server process with the starter models and "ranker"."""
    folder = tmp_path_factory.mktemp("searched")
    models = folder / "models"
    shutil.copytree(ollama_store, models, copy_function=os.link)
    add_model(Library.open(models), "ranker", TinyRanker().write(folder / "ranker.gguf"))
    with serving({**os.environ, "HOME": str(folder)}, models, folder) as served:
        yield f"http://{served.host}"


@pytest.fixture(autouse=True)
def url(address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Point the accessors to the server."""
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", address)
    return address


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "notes.duckdb"


def make(frame: pd.DataFrame = NOTES, path: Path | None = None, **how: Any) -> SearchIndex:
    index: SearchIndex = frame.ollama.index("text", path, "all-minilm", **how)
    return index


@pytest.mark.parametrize("kept", [True, False])
def test_the_nearest_rows_with_their_scores(kept: bool, file: Path) -> None:
    index = make(path=file if kept else None)
    best = index.search("plants in the garden", k=2)
    assert sorted(best.index) == ["u", "x"]
    assert best.index.name == "id"
    assert best["score"].is_monotonic_decreasing
    assert best["similarity"].equals(best["score"])
    assert best["chunk"].tolist() == best["text"].tolist()
    expected = NOTES.loc[best.index]
    pd.testing.assert_frame_equal(best[["text", "year"]], expected[["text", "year"]])
    assert best["kind"].astype(str).tolist() == expected["kind"].astype(str).tolist()
    similar = NOTES.ollama.similar("plants in the garden", "text", 2, "all-minilm")
    assert best["similarity"].tolist() == pytest.approx(similar["similarity"].tolist(), abs=1e-5)


def test_rows_with_equal_texts_share_a_vector() -> None:
    index = make()
    assert (len(index), index.embedded) == (5, 4)
    assert index.search("railway", k=2).index.tolist() == ["w", "y"]
    assert len(index.search("railway", k=99)) == 5


def test_a_condition_on_the_columns() -> None:
    index = make()
    assert index.search("railway", where="year > 2020").index.tolist()[0] == "y"
    assert set(index.search("railway", where="kind = 'garden'").index) == {"u", "x"}
    assert index.search("railway", where="year > 9999").empty
    assert index.search("railway", where="year IS NULL").index.tolist() == ["w"]


def test_words_find_what_vectors_miss() -> None:
    frame = pd.DataFrame({"text": [f"The part {number} is in stock." for number in range(300)]})
    index = make(frame)
    best = index.search("Do we have 217?", k=3, hybrid=True)
    assert best.index[0] == 217
    assert best["bm25"].iloc[0] == best["bm25"].max() > 0
    assert best["score"].iloc[0] > best["score"].iloc[1]
    some = index.search("Do we have 217?", k=3, hybrid=True, where="text NOT LIKE '%217%'")
    assert 217 not in some.index


def test_a_ranking_model_decides_the_order() -> None:
    texts = ["the bear of china eats bamboo", "paris is a city in france", "hi", "a giant panda"]
    index = make(pd.DataFrame({"text": texts}))
    best = index.search("what is a panda", k=4, rerank="ranker")
    assert best["rerank"].is_monotonic_decreasing
    assert best["rerank"].equals(best["score"])
    scores = embedding.relevance(index._servers(), "ranker", "what is a panda", texts)
    assert best.index.tolist() == np.argsort(scores)[::-1].tolist()


def test_a_chunk_of_a_long_text_is_found() -> None:
    filler = " ".join(f"The meeting number {number} was long and dull." for number in range(120))
    long = f"{filler} The vault opens with the word marzipan. {filler}"
    frame = pd.DataFrame({"text": ["A short note.", long]})
    index = make(frame, chunk_tokens=64, overlap=16)
    best = index.search("How does the vault open?", k=1)
    assert best.index.tolist() == [1]
    assert "marzipan" in best["chunk"].iloc[0]
    assert len(best["chunk"].iloc[0]) < 400
    assert len(index) == 2


def test_only_new_texts_are_embedded(file: Path) -> None:
    assert make(path=file).embedded == 4
    assert make(path=file).embedded == 0
    changed = NOTES.assign(text=NOTES["text"].replace("Basil needs sun.", "Sage needs sun."))
    index = make(changed, file)
    assert index.embedded == 1
    assert "Sage needs sun." in index.search("herbs", k=5)["text"].tolist()
    assert "Basil needs sun." not in index.search("herbs", k=5)["text"].tolist()
    assert index.update(NOTES[:1]).embedded == 0
    assert index.search("train", k=5).index.tolist() == ["u"]
    with duckdb.connect(str(file)) as connection:
        assert connection.sql("SELECT count(*) FROM ollama.chunks").fetchall() == [(1,)]


@pytest.mark.parametrize("how", [{"chunk_tokens": 99}, {"document_prefix": "passage: "}])
def test_other_settings_embed_all_texts_again(how: dict[str, Any], file: Path) -> None:
    make(path=file)
    index = make(path=file, **how)
    assert index.embedded == 4
    assert len(index) == 5
    assert make(path=file, query_prefix="query: ", **how).embedded == 0


def test_another_kernel_opens_the_file_and_sees_its_changes(file: Path) -> None:
    index = make(path=file)
    code = (
        "import sys, pandas as pd, jupyter_ollama_magics as magics\n"
        f"index = magics.open_index({str(file)!r})\n"
        "print(index.search('plants', k=1).index[0], len(index))\n"
        "index.update(pd.DataFrame({'text': ['Roses are red.']}, index=['new']))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split()[1] == "5"
    assert index.search("plants", k=9).index.tolist() == ["new"]


def test_a_search_begins_again_where_the_rows_have_changed(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = make(path=file)
    read, changes = IndexFile.rows, [NOTES[:1]]

    def changing(self: IndexFile, *given: Any) -> pd.DataFrame:
        if changes:
            make(changes.pop(), file)
        return read(self, *given)

    monkeypatch.setattr(IndexFile, "rows", changing)
    assert index.search("train").index.tolist() == ["u"]
    monkeypatch.setattr(IndexFile, "rows", lambda *given: (_ for _ in ()).throw(IndexChanged()))
    with pytest.raises(OllamaMagicsError, match="keeps changing"):
        index.search("train")


def test_a_killed_build_keeps_what_it_has_committed(file: Path) -> None:
    code = (
        "import pandas as pd, jupyter_ollama_magics.accessor\n"
        "from jupyter_ollama_magics.search import build\n"
        "build.FIRST_TEXTS = build.MOST_TEXTS = 16\n"
        "frame = pd.DataFrame({'text': [f'word {n} ' * 40 for n in range(1200)]})\n"
        f"frame.ollama.index('text', {str(file)!r}, 'all-minilm')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        while (committed := _texts(file)) < 32:
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert committed < 1200
    with pytest.raises(OllamaMagicsError, match="interrupted before it had all rows"):
        jupyter_ollama_magics.open_index(file)
    kept = _texts(file)
    assert kept >= committed
    frame = pd.DataFrame({"text": [f"word {number} " * 40 for number in range(kept + 10)]})
    index = make(frame, file)
    assert (len(index), index.embedded) == (kept + 10, 10)


def _texts(file: Path) -> int:
    """Return the number of texts whose chunks are in a file."""
    if not file.exists():
        return 0
    database = IndexFile(file)
    with database.database.reading() as connection:
        if not database.has_chunks(connection):
            return 0
        found = connection.sql("SELECT count(DISTINCT hash) FROM ollama.chunks").fetchall()
    return int(found[0][0])


def test_an_interrupt_keeps_what_is_embedded(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "FIRST_TEXTS", 8)
    monkeypatch.setattr(build, "MOST_TEXTS", 8)
    frame = pd.DataFrame({"text": [f"word {number} " * 40 for number in range(400)]})
    add = IndexFile.add

    def adding(self: IndexFile, *given: Any) -> None:
        add(self, *given)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(IndexFile, "add", adding)
    with pytest.raises(build.IndexInterrupted, match="of 400 new texts are embedded and kept"):
        make(frame, file)
    assert _texts(file) == 8


def test_a_file_may_have_tables_of_its_own(file: Path) -> None:
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE rows AS SELECT 1 AS mine")
    make(path=file)
    with duckdb.connect(str(file)) as connection:
        assert connection.sql("SELECT mine FROM main.rows").fetchall() == [(1,)]


def test_a_file_that_another_process_holds_is_waited_for(file: Path) -> None:
    make(path=file)
    code = (
        "import duckdb, sys, time\n"
        f"connection = duckdb.connect({str(file)!r})\n"
        "print('held', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        threading.Timer(0.5, lambda: process.communicate("\n")).start()
        assert len(jupyter_ollama_magics.open_index(file)) == 5


def test_no_rows_and_no_texts() -> None:
    assert make(NOTES[:0]).search("anything").empty
    blank = make(pd.DataFrame({"text": [None, "  "]}))
    assert blank.search("anything", hybrid=True).columns.tolist()[-1] == "chunk"
    assert len(blank) == 0


def test_columns_with_the_names_of_scores() -> None:
    frame = pd.DataFrame({"text": ["A cat"], "score": [3], "chunk": ["mine"], 7: [True]})
    best = make(frame).search("cat")
    assert best.columns.tolist() == [
        "text", "score", "chunk", "7", "score_", "similarity", "chunk_",
    ]  # fmt: skip
    assert best["score"].tolist() == [3]


def test_another_model_of_the_name_is_refused(file: Path) -> None:
    index = make(path=file)
    with duckdb.connect(str(file)) as connection:
        connection.execute(
            "UPDATE ollama.about SET value = replace(value, 'digest\": \"', 'digest\": \"f')"
        )
    again = jupyter_ollama_magics.open_index(file)
    with pytest.raises(OllamaMagicsError, match=r"not the model that made this index: index\.upda"):
        again.search("train")
    assert again.update(NOTES).embedded == 4
    assert index.search("train", k=1).index.tolist() == ["w"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda index: index.search(" "), "a text of at least one word"),
        (lambda index: index.search("x", k=0), "k is a positive integer"),
        (lambda index: index.search("x", where="nope > 1"), 'column "nope" not found'),
        (
            lambda index: index.search("x", where="true); DROP TABLE t; SELECT (1"),
            "one condition of SQL",
        ),
        (lambda index: index.search("x", where=3), "one condition of SQL"),
        (lambda index: index.search("x", rerank=3), "rerank is the name of a model"),
        (lambda index: index.search("x", rerank="all-minilm"), "does not support rerank"),
        (lambda index: index.search("x", rerank="absent"), "not found"),
        (lambda index: index.update(NOTES[["year"]]), "no single column text"),
        (lambda index: make(chunk_tokens=0), "chunk_tokens is a positive integer"),
        (lambda index: make(overlap=256), "chunk_tokens is a positive integer"),
        (lambda index: make(query_prefix=3), "prefix is a text"),
        (lambda index: make(path=3), "path is the name of a file"),  # type: ignore[arg-type]
        (lambda index: make(path=Path("/nowhere/x.duckdb")), "/nowhere/x.duckdb"),
        (lambda index: NOTES.ollama.index("year"), "takes texts"),
        (lambda index: make(NOTES.assign(__position=1)), "a column __position of its own"),
        (lambda index: make(NOTES.assign(o=[1, "x", *[None] * 4])), "cannot be kept in DuckDB"),
        (lambda index: jupyter_ollama_magics.open_index("/nowhere"), "/nowhere has no index"),
        (lambda index: jupyter_ollama_magics.open_index(__file__), "not a valid DuckDB database"),
    ],
)
def test_wrong_calls(call: Callable[[SearchIndex], Any], message: str) -> None:
    with pytest.raises(OllamaMagicsError, match=message) as caught:
        call(make())
    assert "\n" not in str(caught.value)
