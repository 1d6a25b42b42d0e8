"""The method ``map2d`` of the accessors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..failures import OllamaMagicsError
from ..rows import columns
from . import groups, maps, projection
from .call import TableCall, column_of, positive
from .projection import Method
from .steps import Steps, in_steps, with_twins


class _Maps(TableCall):
    def _map2d(
        self,
        column: pd.Series,
        model: str | None,
        k: int | None,
        method: Method,
        color: pd.Series | None,
        hover: pd.Series | None,
        title: str,
        plot: bool,
        html: bool | str | Path,
        seed: int,
        cache: bool | str | Path,
    ) -> Steps[pd.DataFrame]:
        if k is not None:
            positive(k, "k")
        groups.check_seed(seed)
        if not isinstance(title, str):
            raise OllamaMagicsError(f"title is a text, not {type(title).__name__}.")
        if not isinstance(html, bool | str | Path):
            raise OllamaMagicsError("html is True or the name of a file.")
        maps.check_plot(plot)
        projection.chosen(method, len(column))
        present, units = yield from self._vectors(column, model, cache)
        used = projection.chosen(method, len(units))
        points = np.full((len(column), 2), np.nan)
        if len(units):
            points[present] = projection.points(units, used, seed)
        frame = pd.DataFrame(points, column.index, ["x", "y"])
        if k is not None:
            frame["cluster"] = groups.numbers(units, present, k, seed, column.index)
        if plot or html:
            shown = frame["cluster"] if color is None and k is not None else color
            drawing = maps.Drawing(
                frame[present],
                None if shown is None else shown[present],
                _texts(column if hover is None else hover, present),
                title,
            )
            if plot:
                drawing.plot()
            if isinstance(html, str | Path):
                drawing.write(html)
            elif html:
                drawing.show()
        frame.attrs["map2d"] = {"method": used}
        return frame


@with_twins
class SeriesMaps(_Maps):
    """``map2d`` of a Series."""

    @in_steps
    def map2d(
        self,
        model: str | None = None,
        *,
        k: int | None = None,
        method: Method = "auto",
        color: Sequence[Any] | pd.Series | None = None,
        hover: Sequence[Any] | pd.Series | None = None,
        title: str = "",
        plot: bool = False,
        html: bool | str | Path = False,
        seed: int = 0,
        cache: bool | str | Path = False,
    ) -> Steps[pd.DataFrame]:
        """Return a point on the plane for each row; rows of similar meaning are near each other.

        Parameters
        ----------
        model : str, optional
            The embedding model, if the rows are texts.
        k : int, optional
            Add the column "cluster" with one of ``k`` groups.
        method : {"auto", "pca", "tsne", "umap"}
            How the points are found: "umap" by umap-learn, "tsne" by openTSNE, both of which keep
            neighbours together, or "pca", the two main components of the vectors. "auto" is the
            first of them that is installed, and "pca" for fewer than ten rows.
        color : sequence or Series, optional
            The group of each row for the legend, such as its topic; by default the cluster.
        hover : sequence or Series, optional
            What the page shows of a row under the pointer; by default its text.
        title : str
            The title of the drawings.
        plot : bool
            Draw the points, too, by the plotting backend of pandas; needs matplotlib.
        html : bool, str or Path
            Show the points in the notebook (True), or write a page to the file that is named. The
            page has a legend that hides groups and the texts of the rows, and loads nothing.
        seed : int
            The seed of the random starts.
        cache : bool, str or Path
            Keep the vectors in a file and read known ones from it: in the user's cache folder
            (True), or in the file that is named.

        Returns
        -------
        DataFrame
            The columns "x" and "y", NaN where the row is missing. ``attrs["map2d"]`` names the
            method.

        Raises
        ------
        OllamaMagicsError
            If an argument is invalid, the rows are neither texts nor vectors, or a package is not
            installed.

        Examples
        --------
        >>> texts = pd.Series(["A cat sleeps", None, "The kitten naps", "Stocks fell"])
        >>> texts.ollama.map2d("all-minilm", k=2).columns.tolist()
        ['x', 'y', 'cluster']
        """
        shown = _beside(self._data, color, "color"), _beside(self._data, hover, "hover")
        return (
            yield from self._map2d(
                self._data, model, k, method, *shown, title, plot, html, seed, cache
            )
        )


@with_twins
class FrameMaps(_Maps):
    """``map2d`` of a DataFrame."""

    @in_steps
    def map2d(
        self,
        column: Any,
        model: str | None = None,
        *,
        k: int | None = None,
        method: Method = "auto",
        color: Any = None,
        hover: Any = None,
        title: str = "",
        plot: bool = False,
        html: bool | str | Path = False,
        seed: int = 0,
        cache: bool | str | Path = False,
    ) -> Steps[pd.DataFrame]:
        """Return a point for each row; rows whose ``column`` is similar are near each other.

        Parameters
        ----------
        column : hashable
            The name of a column of texts, or of vectors of ``embed``.
        model : str, optional
            The embedding model, if the column holds texts.
        k : int, optional
            Add the column "cluster" with one of ``k`` groups.
        method : {"auto", "pca", "tsne", "umap"}
            How the points are found, as for a Series.
        color : hashable, optional
            The name of the column with the groups of the legend; by default the cluster.
        hover : hashable, optional
            The name of the column that the page shows under the pointer; by default ``column``.
        title : str
            The title of the drawings.
        plot : bool
            Draw the points, too, by the plotting backend of pandas; needs matplotlib.
        html : bool, str or Path
            Show the points in the notebook (True), or write a page to the file that is named.
        seed : int
            The seed of the random starts.
        cache : bool, str or Path
            Keep the vectors in a file and read known ones from it: in the user's cache folder
            (True), or in the file that is named.

        Returns
        -------
        DataFrame
            The columns "x" and "y", NaN where the row is missing. ``attrs["map2d"]`` names the
            method.

        Raises
        ------
        OllamaMagicsError
            If an argument is invalid, a column does not exist or holds other values, or a package
            is not installed.

        Examples
        --------
        >>> frame = pd.DataFrame({"text": ["A cat", "A dog", "Tax"], "kind": ["pet", "pet", "law"]})
        >>> frame.ollama.map2d("text", "all-minilm", color="kind").shape
        (3, 2)
        """
        colors, shown = (
            None if name is None else column_of(self._data, name) for name in (color, hover)
        )
        return (
            yield from self._map2d(
                column_of(self._data, column),
                model, k, method, colors, shown, title, plot, html, seed, cache,
            )
        )  # fmt: skip


def _beside(data: pd.Series, values: Any, name: str) -> pd.Series | None:
    """Return one value for each row. Raises OllamaMagicsError for another number of them."""
    if values is None:
        return None
    if isinstance(values, str) or not hasattr(values, "__len__") or len(values) != len(data):
        raise OllamaMagicsError(f"{name} has one value for each of the {len(data)} rows.")
    if isinstance(values, pd.Series):
        return values.set_axis(data.index)
    return columns.objects(list(values), data.index, None)


def _texts(column: pd.Series, present: np.ndarray) -> list[str]:
    """Return what is shown of the rows: their values, or their labels if these are vectors."""
    values = column[present]
    if len(values) and not isinstance(
        values.iloc[0], str | int | float | np.generic | pd.Timestamp
    ):
        return [str(label) for label in values.index]
    return ["" if pd.isna(value) else str(value) for value in values]
