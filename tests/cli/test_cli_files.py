"""Files that are used without being copied: by create, and where other programs keep them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cli_process import Ollama, Served, serving
from file_extents import are_reflinks
from jupyter_ollama_client.client import Client

from jupyter_ollama.library.check import Needs, faults
from jupyter_ollama.library.library import Library
from jupyter_ollama.library.store import Store


@pytest.fixture(scope="module")
def weights(ollama_store: Path) -> Path:
    """The GGUF of smollm2."""
    return Library(Store(ollama_store)).find("smollm2").model_path


@pytest.fixture(scope="module")
def shared(
    environment: dict[str, str], weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A server with an empty store and a folder of models of another program."""
    folder = tmp_path_factory.mktemp("shared")
    place = folder / "lm" / "hf" / "SmolLM2-GGUF"
    place.mkdir(parents=True)
    (place / "SmolLM2-Q4_0.gguf").hardlink_to(weights)
    setting = f"--OllamaServer.model_folders=['{folder / 'lm'}']"
    with serving(environment, folder / "models", folder, setting) as served:
        yield served


@pytest.fixture
def modelfile(tmp_path: Path, weights: Path) -> Path:
    """A Modelfile with a GGUF of its own beside it."""
    (tmp_path / "weights.gguf").write_bytes(weights.read_bytes() + os.urandom(32))
    path = tmp_path / "Modelfile"
    path.write_text("FROM ./weights.gguf\n")
    return path


def blob(served: Served, name: str) -> Path:
    return Library(Store(served.models)).find(name).model_path


def is_shared(stored: Path, file: Path) -> bool:
    """Return whether the bytes are not copied, where temporary files have reflinks too."""
    return stored.samefile(file) or are_reflinks(stored, file)


def whole(served: Served) -> bool:
    store = Store(served.models)
    return not list(faults(store, Needs(store, store.names()), lambda count: None))


def test_a_read_only_file_is_linked(ollama: Ollama, shared: Served, modelfile: Path) -> None:
    file = modelfile.parent / "weights.gguf"
    file.chmod(0o444)
    done = ollama(
        "create", "mine", "-f", str(modelfile), host=shared.host, OLLAMA_MODELS=str(shared.models)
    )
    assert done.returncode == 0, done.stderr
    assert "uploading" not in done.stderr
    assert is_shared(blob(shared, "mine"), file)
    assert whole(shared)
    assert ollama("rm", "mine", host=shared.host).returncode == 0
    assert file.exists()


def test_a_file_that_may_change_is_not_linked(
    ollama: Ollama, shared: Served, modelfile: Path
) -> None:
    file = modelfile.parent / "weights.gguf"
    models = str(shared.models)
    done = ollama("create", "own", "-f", str(modelfile), host=shared.host, OLLAMA_MODELS=models)
    assert done.returncode == 0, done.stderr
    with file.open("r+b") as opened:
        opened.write(b"changed in place")
    assert whole(shared)
    assert ollama("rm", "own", host=shared.host).returncode == 0


def test_link_makes_a_file_read_only_and_links_it(
    ollama: Ollama, shared: Served, modelfile: Path
) -> None:
    file = modelfile.parent / "weights.gguf"
    arguments = ("create", "tied", "--link", "-f", str(modelfile))
    done = ollama(*arguments, host=shared.host, OLLAMA_MODELS=str(shared.models))
    assert done.returncode == 0, done.stderr
    stored = blob(shared, "tied")
    assert is_shared(stored, file)
    is_read_only = stat.S_IMODE(file.stat().st_mode) & 0o222 == 0
    assert is_read_only == stored.samefile(file)
    assert ollama("rm", "tied", host=shared.host).returncode == 0


def test_a_store_that_is_not_the_servers_is_left_as_it_was(
    ollama: Ollama, shared: Served, modelfile: Path, tmp_path: Path
) -> None:
    other = Store(tmp_path / "other")
    other.prepare()
    (modelfile.parent / "weights.gguf").chmod(0o444)
    done = ollama(
        "create", "far", "-f", str(modelfile), host=shared.host, OLLAMA_MODELS=str(other.root)
    )
    assert done.returncode == 0, done.stderr
    assert "uploading weights.gguf" in done.stderr
    assert [path for path in other.root.rglob("*") if path.is_file() and path.stat().st_size] == []
    assert whole(shared)
    assert ollama("rm", "far", host=shared.host).returncode == 0


def test_models_of_another_program_run_where_they_lie(ollama: Ollama, shared: Served) -> None:
    name = "hf.co/hf/SmolLM2-GGUF:Q4_0"
    rows = ollama("list", host=shared.host).stdout.splitlines()[1:]
    assert [row.split()[0] for row in rows] == [name]
    facts = ollama("show", name, host=shared.host).stdout
    assert "134.52M" in facts
    with closing(Client(f"http://{shared.host}")) as client:
        parts = list(client.generate("hf/SmolLM2-GGUF", "Hello", options={"num_predict": 4}))
    assert parts[-1]["eval_count"] == 4
    done = ollama("rm", name, host=shared.host)
    assert done.returncode == 1
    assert f"model '{name}' is the file" in done.stderr
    assert not list(Path(shared.models, "blobs").glob("sha256-*"))
    assert Store(shared.models).names() == []
