"""The vectors of an index in LanceDB, Chroma and FAISS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import chromadb
import faiss
import jupyter_ollama_magics.accessor  # noqa: F401
import lancedb
import pandas as pd
import pytest
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.search import in_chroma, in_faiss, in_lancedb
from jupyter_ollama_magics.search.index import SearchIndex

NOTES = pd.DataFrame(
    {
        "text": ["Water the tomatoes.", "The train is late.", None, "The train is late."],
        "year": pd.array([2020, 2021, 2022, None], dtype="Int64"),
        "day": pd.date_range("2020-01-01", periods=4),
        "chunk": list("abcd"),
    },
    index=list("wxyz"),
)
QUIET = chromadb.Settings(anonymized_telemetry=False)
QUESTION = "When does the railway leave?"


@pytest.fixture
def index(chat_server: str, monkeypatch: pytest.MonkeyPatch) -> SearchIndex:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", chat_server)
    made: SearchIndex = NOTES.ollama.index("text", model="all-minilm")
    return made


def test_lancedb(index: SearchIndex, tmp_path: Path) -> None:
    database = lancedb.connect(tmp_path)
    table = in_lancedb.add(index, database, "notes")
    assert table.count_rows() == 3
    best = in_lancedb.query(database.open_table("notes"), QUESTION, k=2)
    expected = index.search(QUESTION, 2)
    assert best["similarity"].tolist() == pytest.approx(expected["similarity"].tolist(), abs=1e-5)
    assert best["text"].tolist() == ["The train is late."] * 2
    assert set(best["chunk_"]) == {"b", "d"}
    assert best["chunk"].tolist() == expected["chunk_"].tolist()
    assert in_lancedb.query(table, QUESTION, where="year < 2021")["year"].tolist() == [2020]
    assert in_lancedb.query(table, QUESTION, where="year > 2050").empty
    again = in_lancedb.add(index.update(NOTES[:1]), database, "notes")
    assert again.count_rows() == 1


def test_chroma(index: SearchIndex, tmp_path: Path) -> None:
    client = chromadb.PersistentClient(str(tmp_path / "chroma"), QUIET)
    collection = in_chroma.add(index, client, "notes")
    assert collection.count() == 3
    best = in_chroma.query(client.get_collection("notes", embedding_function=None), QUESTION, k=2)
    expected = index.search(QUESTION, 2)
    assert best["similarity"].tolist() == pytest.approx(expected["similarity"].tolist(), abs=1e-5)
    assert best["text"].tolist() == ["The train is late."] * 2
    assert sorted(best["day"]) == ["2020-01-02 00:00:00", "2020-01-04 00:00:00"]
    some = in_chroma.query(collection, QUESTION, where={"year": {"$lt": 2021}})
    assert some["year"].tolist() == [2020]
    assert in_chroma.add(index.update(NOTES[:1]), client, "notes").count() == 1


@pytest.mark.parametrize("make", [lambda: None, lambda: faiss.IndexHNSWFlat(384, 8)])
def test_faiss(index: SearchIndex, make: Callable[[], Any], tmp_path: Path) -> None:
    found = in_faiss.add(index, make())
    faiss.write_index(found, str(tmp_path / "notes.faiss"))
    found = faiss.read_index(str(tmp_path / "notes.faiss"))
    best = in_faiss.query(found, index, QUESTION, k=1)
    expected = index.search(QUESTION, 2)
    assert best.index.tolist() == expected.index.tolist() == ["x", "z"]
    assert best["similarity"].tolist() == pytest.approx(expected["similarity"].tolist(), abs=1e-5)
    assert len(in_faiss.query(found, index, QUESTION, k=9)) == 3


def test_faiss_trains_an_index(index: SearchIndex) -> None:
    quantizer = faiss.IndexFlatIP(384)
    found = in_faiss.add(index, faiss.IndexIVFFlat(quantizer, 384, 1, faiss.METRIC_INNER_PRODUCT))
    assert in_faiss.query(found, index, QUESTION, k=1).index.tolist() == ["x", "z"]


def test_wrong_stores(index: SearchIndex, tmp_path: Path) -> None:
    full = in_faiss.add(index)
    with pytest.raises(OllamaMagicsError, match="an empty index of 384 dimensions"):
        in_faiss.add(index, full)
    index.update(NOTES[:1])
    with pytest.raises(OllamaMagicsError, match="The index was updated"):
        in_faiss.query(full, index, QUESTION)
    table = lancedb.connect(tmp_path).create_table("t", [{"vector": [1.0, 0.0]}])
    with pytest.raises(OllamaMagicsError, match="no settings of an index"):
        in_lancedb.query(table, QUESTION)
    client = chromadb.PersistentClient(str(tmp_path / "chroma"), QUIET)
    collection = client.get_or_create_collection("mine", embedding_function=None)
    with pytest.raises(OllamaMagicsError, match="no settings of an index"):
        in_chroma.query(collection, QUESTION)
    for wrong in ("", 3):
        with pytest.raises(OllamaMagicsError, match="The query is a text"):
            in_chroma.query(collection, wrong)  # type: ignore[arg-type]
    with pytest.raises(OllamaMagicsError, match="k is a positive integer"):
        in_chroma.query(collection, QUESTION, k=0)
