"""Write the gallery of the examples: a page of each notebook, with the picture of its card.

The notebooks are shown as they are in `examples/`, with their outputs; nothing is executed.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
ORDER = (
    "quickstart",
    "model",
    "search",
    "sources",
    "deduplicate",
    "labelling",
    "class",
    "clients",
    "dask",
    "tools",
    "images",
)
"""The notebooks in the order of the gallery; others follow."""
PICTURES = {"quickstart": "images/lab-chat.png"}
"""The pictures of notebooks whose outputs have none."""


@dataclass(frozen=True)
class Card:
    """A notebook in the gallery. ``picture`` is a path in docs/, "" for none."""

    name: str
    title: str
    text: str
    picture: str


def write(docs: Path) -> None:
    """Write `gallery/` and `examples.md`'s cards below the folder of the documentation."""
    folder = docs / "gallery"
    folder.mkdir(exist_ok=True)
    cards = [_page(path, docs, folder) for path in _notebooks()]
    text = "\n".join(_grid(cards)) + "\n"
    target = folder / "cards.txt"
    if not target.exists() or target.read_text("utf-8") != text:
        target.write_text(text, "utf-8")


def _notebooks() -> list[Path]:
    found = {path.stem: path for path in EXAMPLES.glob("*.ipynb")}
    names = [*ORDER, *sorted({*found} - {*ORDER})]
    return [found[name] for name in names if name in found]


def _page(path: Path, docs: Path, folder: Path) -> Card:
    """Copy a notebook and return its card."""
    copy = folder / path.name
    notebook = nbformat.read(path, as_version=4)
    # The lexer that knows the magics.
    notebook.metadata.language_info.pygments_lexer = "ipython3"
    text = nbformat.writes(notebook) + "\n"
    if not copy.exists() or copy.read_text("utf-8") != text:
        copy.write_text(text, "utf-8")
    heading, _, rest = notebook.cells[0].source.partition("\n")
    sentence = re.split(r"(?<=[.?!])\s", " ".join(rest.split()), maxsplit=1)[0]
    picture = PICTURES.get(path.stem, "")
    if image := _last_picture(notebook):
        picture = f"gallery/{path.stem}.png"
        (docs / picture).write_bytes(image)
    return Card(path.stem, heading.lstrip("# "), sentence, picture)


def _last_picture(notebook: NotebookNode) -> bytes:
    images = [
        output.data["image/png"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    return base64.b64decode(images[-1]) if images else b""


def _grid(cards: list[Card]) -> list[str]:
    lines = ["::::{grid} 1 2 2 3", ":gutter: 3", ""]
    for card in cards:
        lines += [
            f":::{{grid-item-card}} {card.title}",
            f":link: gallery/{card.name}",
            ":link-type: doc",
        ]
        if card.picture:
            lines += [f":img-bottom: {card.picture}", f":img-alt: {card.title}"]
        lines += ["", card.text, ":::", ""]
    names = [f"gallery/{card.name}" for card in cards]
    return [*lines, "::::", "", "```{toctree}", ":hidden:", *names, "```"]
