"""A store for the examples and the pages of the documentation, and a server of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import example_outputs as examples
import pytest
from ollama_layout import gemma3_as_ollama_writes_it
from scripted_model import MESSAGES, write_scripts
from starter_models import GEMMA_TEMPLATE
from store_models import add_model, add_seeing_model

from jupyter_ollama.library.library import Library

CALL = '<tool_call>\n{"name": "in_stock", "arguments": {"bike": "Cleo"}}\n</tool_call>'
MARKS = ("<tool_call>", "</tool_call>", "<think>", "</think>")
ABLE = "{# <tool_call> <think> </think> #}{% if tools %}{{ tools | length }} tools{% endif %}"


@pytest.fixture(scope="session")
def example_store(
    ollama_store: Path, gemma3_library: Library, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The small models, and stand-ins for those that are too large for a test.

    They answer by scripts and see nothing, through the same code as the large ones. Gemma 3 is in
    the layout in which Ollama publishes it.
    """
    folder = tmp_path_factory.mktemp("examples")
    models = folder / "models"
    shutil.copytree(ollama_store, models, copy_function=os.link)
    library = Library.open(models)
    source = gemma3_library.find("gemma3").model_path
    published = gemma3_as_ollama_writes_it(source, folder / "gemma3.gguf")
    stops = {"stop": ["<end_of_turn>"]}
    add_model(library, "gemma3", published, template=GEMMA_TEMPLATE, parameters=stops)
    published.unlink()
    scripts = {"Cleo": CALL, "7": "There are 7 Cleo bikes left."}
    path = write_scripts(folder / "tools.gguf", scripts, special=MARKS, template=ABLE + MESSAGES)
    add_model(library, "qwen3:4b", path)
    add_seeing_model(library, "gemma3:4b", folder)
    return models


@pytest.fixture(scope="session")
def example_server(
    example_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The variables by which notebooks and commands find a server of that store."""
    with examples.server(example_store, tmp_path_factory.mktemp("server")) as variables:
        yield variables
