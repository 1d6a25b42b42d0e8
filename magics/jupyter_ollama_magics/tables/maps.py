"""Drawings of a map of rows: a page without references to the network, and matplotlib."""

from __future__ import annotations

import colorsys
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..failures import OllamaMagicsError

MATPLOTLIB = "matplotlib"
PALETTE = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bb5566", "#997700"]
"""Colors that people with color blindness can tell apart (Tol 2021)."""

GREY = "#bbbbbb"
HOVER_CHARACTERS = 400
MOST_IN_LEGEND = 40
HEIGHT = 620
"""Pixels of the page in a notebook."""


@dataclass
class Drawing:
    """Points with their groups and texts.

    Parameters
    ----------
    points : DataFrame
        The columns "x" and "y" of the rows that have a point.
    groups : Series, optional
        The group of each of these rows.
    hover : sequence of str
        The text of each.
    title : str
        The title.
    """

    points: pd.DataFrame
    groups: pd.Series | None
    hover: Sequence[str]
    title: str = ""

    def __post_init__(self) -> None:
        self.names: list[str] = []
        self.missing = self.groups is not None and bool(self.groups.isna().any())
        self.codes = np.zeros(len(self.points), dtype=int)
        if self.groups is not None:
            categories = self.groups.astype("category")
            if not isinstance(self.groups.dtype, pd.CategoricalDtype):
                categories = categories.cat.reorder_categories(_sorted(categories.cat.categories))
            categories = categories.cat.remove_unused_categories()
            self.names = [str(name) for name in categories.cat.categories]
            self.codes = categories.cat.codes.to_numpy(int)
            if self.missing:
                self.codes = np.where(self.codes < 0, len(self.names), self.codes)
                self.names.append("none")

    def colors(self) -> list[str]:
        """Return the color of each group; rows without a group are grey."""
        number = len(self.names) - self.missing
        shades = PALETTE[:number]
        for at in range(number - len(shades)):
            # Steps of the golden ratio never come close to an earlier hue.
            red, green, blue = colorsys.hls_to_rgb(at * 0.618034 % 1, 0.4 + 0.2 * (at % 2), 0.6)
            shades.append(f"#{int(red * 255):02x}{int(green * 255):02x}{int(blue * 255):02x}")
        return shades + [GREY] * self.missing

    def page(self) -> str:
        """Return an HTML page that draws the points; it loads nothing from anywhere."""
        data = {
            "title": self.title,
            "x": self.points["x"].round(5).tolist(),
            "y": self.points["y"].round(5).tolist(),
            "group": self.codes.tolist(),
            "names": self.names,
            "colors": self.colors(),
            "hover": [text[:HOVER_CHARACTERS] for text in self.hover],
        }
        # A text must not end the element of the script.
        text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
        page = files(__package__).joinpath("map_page.html").read_text("utf-8")
        return page.replace("DATA", text, 1)

    def write(self, path: str | Path) -> None:
        """Write the page to a file. Raises OllamaMagicsError."""
        try:
            Path(path).write_text(self.page(), "utf-8", errors="replace")
        except OSError as error:
            raise OllamaMagicsError(f"The map cannot be written: {error}.") from None

    def show(self) -> None:
        """Show the page in the notebook, in a frame of its own."""
        from IPython.display import display

        frame = (
            f'<iframe srcdoc="{escape(self.page())}" width="100%" height="{HEIGHT}" '
            'style="border:0" sandbox="allow-scripts" title="Map of rows"></iframe>'
        )
        display({"text/html": frame, "text/plain": f"Map of {len(self.points)} rows"}, raw=True)

    def plot(self) -> Any:
        """Draw the points by the plotting backend of pandas; return its axes."""
        frame = self.points[["x", "y"]]
        if pd.options.plotting.backend != MATPLOTLIB:
            if self.groups is None:
                return frame.plot.scatter("x", "y", title=self.title or None)
            frame = frame.assign(cluster=self.groups.astype("category"))
            return frame.plot.scatter("x", "y", c="cluster", title=self.title or None)
        import matplotlib.pyplot as plt

        _, axes = plt.subplots(figsize=(8, 6), layout="constrained")
        colors = self.colors() or [PALETTE[0]]
        for code, color in enumerate(colors):
            here = frame[self.codes == code]
            label = self.names[code] if self.names else None
            axes.scatter(here["x"], here["y"], s=14, color=color, alpha=0.8, label=label)
        if 0 < len(self.names) <= MOST_IN_LEGEND:
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
        axes.set_title(self.title)
        axes.set_xticks([])
        axes.set_yticks([])
        return axes


def check_plot(plot: bool) -> None:
    """Raise OllamaMagicsError if matplotlib is needed and not installed."""
    if plot and pd.options.plotting.backend == MATPLOTLIB and not find_spec(MATPLOTLIB):
        raise OllamaMagicsError("plot=True needs matplotlib: %pip install matplotlib")


def _sorted(names: pd.Index) -> list[Any]:
    try:
        return sorted(names)
    except TypeError:
        return list(names)
