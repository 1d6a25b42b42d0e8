"""Two-dimensional maps of rows, and their drawings."""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from types import ModuleType
from typing import Any

import jupyter_ollama_magics.accessor  # noqa: F401
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.tables import maps, projection

PLACES = np.random.default_rng(5)


@pytest.fixture
def vectors() -> pd.Series:
    """Ten, twenty and five rows around three directions, mixed, one of them missing."""
    centers = np.eye(8)[[0, 3, 6]].repeat([20, 10, 5], axis=0)
    rows = centers * 4 + PLACES.normal(size=centers.shape) * 0.2
    rows *= PLACES.uniform(0.1, 9, size=(35, 1))
    data = pd.Series([*rows.astype(np.float32), None], index=[*range(35), "missing"], name="v")
    return data.sample(frac=1, random_state=1)


def test_neighbours_stay_near_on_the_plane(vectors: pd.Series) -> None:
    points = vectors.ollama.map2d(k=3, method="pca")
    assert points.columns.tolist() == ["x", "y", "cluster"]
    assert points.index.equals(vectors.index)
    assert points.isna().all(axis=1).to_dict()["missing"]
    middles = points.dropna().groupby("cluster")[["x", "y"]].mean()
    spread = points.dropna().groupby("cluster")[["x", "y"]].std().to_numpy().max()
    apart = np.linalg.norm(middles.to_numpy()[:, None] - middles.to_numpy(), axis=-1)
    assert apart[np.triu_indices(3, 1)].min() > 3 * spread
    # The components are those of a singular value decomposition, except for their signs.
    units = np.stack(vectors.dropna())
    units = units / np.linalg.norm(units, axis=1, keepdims=True)
    u, s, _ = np.linalg.svd(units - units.mean(axis=0), full_matrices=False)
    found = points.dropna()[["x", "y"]].to_numpy()
    assert np.abs(found) == pytest.approx(np.abs(u[:, :2] * s[:2]), abs=1e-5)


@pytest.fixture
def drawn() -> Iterator[list[dict[str, Any]]]:
    """The calls of a plotting backend of pandas."""
    calls: list[dict[str, Any]] = []
    backend = ModuleType("noted_plots")
    backend.plot = lambda data, **how: calls.append({"data": data, **how})  # type: ignore[attr-defined]
    sys.modules["noted_plots"] = backend
    with pd.option_context("plotting.backend", "noted_plots"):
        yield calls
    del sys.modules["noted_plots"]


def test_plot(vectors: pd.Series, drawn: list[dict[str, Any]]) -> None:
    points = vectors.ollama.map2d(k=3, method="pca", plot=True)
    (call,) = drawn
    assert (call["kind"], call["x"], call["y"], call["c"]) == ("scatter", "x", "y", "cluster")
    assert call["data"]["x"].tolist() == points["x"].dropna().tolist()
    assert call["data"]["cluster"].dtype == "category"
    vectors.ollama.map2d(method="pca", plot=True)
    assert drawn[1]["c"] is None


def test_plot_without_matplotlib(vectors: pd.Series, monkeypatch: pytest.MonkeyPatch) -> None:
    missing: Callable[[str], None] = lambda name: None  # noqa: E731
    monkeypatch.setattr(maps, "find_spec", missing)
    with pytest.raises(OllamaMagicsError, match="plot=True needs matplotlib"):
        vectors.ollama.map2d(method="pca", plot=True)


SENTENCES = {
    "food": ("The {} was {} today", ["soup", "bread", "pasta", "curry"], ["cold", "salty", "dry"]),
    "trains": ("The train to {} was {}", ["Oslo", "Rome", "Berlin"], ["late", "full", "slow"]),
    "money": ("{} shares {} after the report", ["Bank", "Oil", "Steel"], ["fell", "rose"]),
    "pets": ("My {} {} all day", ["cat", "dog", "rabbit", "parrot"], ["sleeps", "eats", "hides"]),
}
NAMES = ["Ann", "Bob", "Cleo", "Dan", "Eve", "Finn"]
WHEN = ["again", "sadly", "at noon", "at last", "on Monday", "in the rain", "to her friend"]


def sentences(rows: int) -> pd.Series:
    """Return texts about four things, made with a seed."""
    made = random.Random(3)
    texts: dict[str, None] = {}
    while len(texts) < rows:
        form, things, ends = SENTENCES[made.choice(list(SENTENCES))]
        text = form.format(made.choice(things), made.choice(ends))
        texts[f"{text}, said {made.choice(NAMES)} {made.choice(WHEN)}"] = None
    return pd.Series(list(texts), name="text")


def trustworthiness(units: np.ndarray, points: np.ndarray, k: int = 12) -> float:
    """Return the trustworthiness of Venna and Kaski (2001) of a map, up to 1."""
    rows = len(units)
    far = -(units @ units.T).astype(float)
    np.fill_diagonal(far, -np.inf)
    ranks = np.argsort(np.argsort(far, axis=1, kind="stable"), axis=1)
    apart = ((points[:, None] - points[None]) ** 2).sum(axis=-1)
    np.fill_diagonal(apart, -1)
    near = np.argsort(apart, axis=1)[:, 1 : k + 1]
    wrong = np.maximum(np.take_along_axis(ranks, near, axis=1) - k, 0).sum()
    return float(1 - 2 / (rows * k * (2 * rows - 3 * k - 1)) * wrong)


def test_tsne_keeps_neighbours_better_than_main_components(
    chat_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", chat_server)
    vectors = sentences(500).ollama.embed(model="all-minilm", expand=True).to_numpy()
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    column = pd.Series(list(units))
    found = {name: column.ollama.map2d(method=name).to_numpy() for name in ("pca", "tsne")}
    score = {name: trustworthiness(units, points) for name, points in found.items()}
    assert score["tsne"] > max(0.96, score["pca"] + 0.03)


def test_the_default_is_reproducible(vectors: pd.Series) -> None:
    points = vectors.ollama.map2d()
    assert points.attrs["map2d"]["method"] in ("tsne", "umap")
    assert points.equals(vectors.ollama.map2d())


def data_of(page: str) -> dict[str, Any]:
    """Return the data of a page."""
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_the_page_has_legend_title_and_texts(vectors: pd.Series, tmp_path: Path) -> None:
    frame = pd.DataFrame({"v": vectors, "kind": ["a", "b", None] * 12})
    frame["text"] = [f"row {at} </script><b>" for at in range(36)]
    file = tmp_path / "map.html"
    points = frame.ollama.map2d("v", color="kind", hover="text", title="My <rows>", html=file)
    page = file.read_text("utf-8")
    data = data_of(page)
    here = vectors.notna().to_numpy()
    assert data["title"] == "My <rows>"
    assert data["x"] == pytest.approx(points["x"][here].tolist(), abs=1e-5)
    assert data["hover"] == frame.text[here].tolist()
    assert data["names"] == ["a", "b", "none"]
    assert [data["names"][code] for code in data["group"]] == frame.kind[here].fillna(
        "none"
    ).tolist()
    assert len(set(data["colors"])) == 3
    # Nothing is loaded from anywhere.
    assert not re.search(
        r"https?:|src=|<link|import|fetch|url\(", page.replace(json.dumps(data), "")
    )


def test_many_groups_have_colors_of_their_own(vectors: pd.Series) -> None:
    points = vectors.dropna().ollama.map2d(method="pca")
    drawing = maps.Drawing(points, pd.Series(range(35)).astype(str), ["x"] * 35)
    assert len(set(drawing.colors())) == 35


def test_shown_in_a_notebook(vectors: pd.Series, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    vectors.ollama.map2d(k=2, html=True, title='"Quoted"')
    (output,) = shown
    page = unescape(re.findall(r'srcdoc="(.*?)" width', output["text/html"], re.S)[0])
    assert data_of(page)["title"] == '"Quoted"'
    assert data_of(page)["names"] == ["0", "1"]


def test_drawn_by_matplotlib(vectors: pd.Series) -> None:
    mpl.use("agg")
    from matplotlib import pyplot as plt

    vectors.ollama.map2d(k=3, title="Groups", plot=True)
    axes = plt.gca()
    assert axes.get_title() == "Groups"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["0", "1", "2"]
    plt.close("all")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "mds"}, 'method is "auto"'),
        ({"k": 0}, "k is a positive integer"),
        ({"color": ["a"]}, "color has one value for each of the 36 rows"),
        ({"html": 3}, "html is True or the name of a file"),
        ({"html": "no/such/folder/map.html", "method": "pca"}, "The map cannot be written"),
        ({"title": 3}, "title is a text"),
    ],
)
def test_wrong_arguments(vectors: pd.Series, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(OllamaMagicsError, match=message):
        vectors.ollama.map2d(**arguments)


def test_a_method_that_is_not_installed(
    vectors: pd.Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "find_spec", lambda name: None)
    with pytest.raises(OllamaMagicsError, match="needs openTSNE: %pip install openTSNE"):
        vectors.ollama.map2d(method="tsne")
    assert vectors.ollama.map2d().attrs["map2d"]["method"] == "pca"
