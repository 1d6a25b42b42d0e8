"""A model for batches: it answers at once, by the colour that a question names."""

from __future__ import annotations

from pathlib import Path

from scripted_model import write_scripts
from store_models import add_model

from jupyter_ollama.library.library import Library
from jupyter_ollama.library.store import Store

ANSWERS = {
    "RED": "a rose",
    "BLUE": "the sky",
    "GREEN": "moss",
    "GOLD": "my ring",
    "GREY": "fog",
}
"""The answers of the model "colours", by the colour in the question."""

LONG = "LONG"
"""The word in a question whose answer never ends."""


def colour_store(folder: Path) -> Path:
    """Make a store with the model "colours" in a folder."""
    scripts = ANSWERS | {LONG: "and so on, "}
    model = write_scripts(folder / "colours.gguf", scripts, endless={LONG})
    add_model(Library(Store(folder / "models")), "colours", model)
    return folder / "models"


def question(number: int) -> tuple[str, str]:
    """Return a question, of which none is equal to another, and its answer."""
    colour = list(ANSWERS)[number % len(ANSWERS)]
    return f"Question {number}: what is {colour}?", ANSWERS[colour]
