"""Columns of vectors in Parquet, Feather, JSON and CSV files."""

from __future__ import annotations

import re
from pathlib import Path

import jupyter_ollama_magics.accessor  # noqa: F401
import numpy as np
import pandas as pd
import pytest
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.rows import columns, vector_files
from jupyter_ollama_magics.rows.vector_files import VectorDtype, is_vector_text, registered_dtypes


@pytest.fixture
def frame() -> pd.DataFrame:
    rows = np.random.default_rng(3).normal(size=(4, 384)).astype(np.float32)
    vectors = columns.vectors([rows[0], None, *rows[2:]], pd.RangeIndex(4), "vector")
    return pd.DataFrame({"text": ["a", None, "c", "d"], "vector": vectors})


@pytest.mark.parametrize("kind", ["parquet", "feather", "pickle"])
def test_vectors_survive_a_file(frame: pd.DataFrame, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    getattr(frame, f"to_{kind}")(path)
    again = getattr(pd, f"read_{kind}")(path)
    pd.testing.assert_frame_equal(again, frame)
    assert again["vector"].dtype == frame["vector"].dtype
    assert again["vector"].ollama.cluster(2).equals(frame["vector"].ollama.cluster(2))


def test_vectors_come_before_arrow_in_the_registry_of_pandas() -> None:
    # Fails when pandas renames its private registry: see vector_files.registered_dtypes.
    dtypes = registered_dtypes()
    assert dtypes is not None
    assert dtypes.index(VectorDtype) < dtypes.index(pd.ArrowDtype)


def test_without_the_registry_nothing_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_files, "import_module", lambda name: object())
    assert registered_dtypes() is None
    vector_files.register()


def test_no_other_module_uses_private_names_of_pandas_and_dask() -> None:
    private = re.compile(r"pandas\.core|dask\S*\._|\._meta\b|_meta_nonempty")
    package = Path(vector_files.__file__).parent
    users = {path.name for path in package.rglob("*.py") if private.search(path.read_text())}
    assert users == {"vector_files.py"}


def test_other_types_of_arrow_are_left_to_pandas() -> None:
    assert pd.api.types.pandas_dtype("int64[pyarrow]") == pd.ArrowDtype.construct_from_string(
        "int64[pyarrow]"
    )
    with pytest.raises((TypeError, NotImplementedError)):
        pd.api.types.pandas_dtype("fixed_size_list<item: string>[2][pyarrow]")


def test_json_and_objects_are_vectors(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_json(tmp_path / "file.json", double_precision=15)
    again = pd.read_json(tmp_path / "file.json")
    assert again["vector"].ollama.cluster(2).equals(frame["vector"].ollama.cluster(2))


def test_vectors_from_csv_are_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_csv(tmp_path / "file.csv", index=False)
    again = pd.read_csv(tmp_path / "file.csv")
    for call in (
        lambda: again.ollama.similar("a", "vector"),
        lambda: again["vector"].ollama.cluster(2),
        lambda: again["vector"].ollama.map2d(),
    ):
        with pytest.raises(OllamaMagicsError, match=r"as CSV files do.*to_parquet"):
            call()


@pytest.mark.parametrize(
    ("text", "is_vector"),
    [
        ("[0.1, -2e-5]", True),
        ("[0.1 0.2 ... 0.4 0.5]", True),
        ("array([1., 2.], dtype=float32)", True),
        ("(1, 2)", True),
        ("[1, 2] is a list", False),
        ("[12]", False),
        ("1.5 2.5", False),
        ("[a, b]", False),
    ],
)
def test_texts_of_vectors(text: str, is_vector: bool) -> None:
    assert is_vector_text(text) == is_vector


def test_vectors_of_several_lengths_are_refused() -> None:
    column = pd.Series([np.ones(2), np.ones(3)], name="v")
    with pytest.raises(OllamaMagicsError, match="neither texts nor vectors of one length"):
        column.ollama.cluster(2)
