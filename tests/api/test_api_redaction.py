"""Errors name models, digests and files, and no paths of the server; its log has them."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import gguf_files
import numpy as np
import pytest
from api_client import Fetch, chat, error, generate, lines, neighbour_error

import jupyter_ollama
from jupyter_ollama.config import OllamaServer
from jupyter_ollama.errors import PathRedactor
from jupyter_ollama.library.child_process import last_output

HEX = "ab" * 32


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        (f"cannot load '/srv/models/blobs/sha256-{HEX}'", f"cannot load 'sha256:{HEX}'"),
        (f"cannot load models/blobs/sha256-{HEX}-partial: x", f"cannot load sha256:{HEX}: x"),
        (f"at (/other/blobs/sha256-{HEX}.tmp)", f"at (sha256:{HEX})"),
        (f"sha256:{HEX} is missing", f"sha256:{HEX} is missing"),
        ("[Errno 13] denied: '/srv/models/manifests/a/b/c'", "[Errno 13] denied: 'c'"),
        ("/srv/models/.jupyter-ollama.lock: x", ".jupyter-ollama.lock: x"),
        ("the file /data/gguf/tiny.gguf, which", "the file tiny.gguf, which"),
        (f"{tempfile.gettempdir()}/jupyter-ollama-x/a.json: no", "a.json: no"),
        (f"{Path.home()}/.ollama/id_ed25519 is no key", "id_ed25519 is no key"),
        (f'File "{sys.prefix}/lib/python/x.py", line 3', 'File "x.py", line 3'),
        (f'File "{jupyter_ollama.__path__[0]}/api/a.py"', 'File "a.py"'),
        ("http://a.example/srv/models/x", "http://a.example/srv/models/x"),
        ("see /srv/models2/x and x/srv/models/y", "see /srv/models2/x and x/srv/models/y"),
        ("model '/api/tags' not found", "model '/api/tags' not found"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_texts(text: str, reported: str) -> None:
    assert PathRedactor(["/srv/models", "/data/gguf", ""]).redact(text) == reported


def test_long_texts_take_no_long_time() -> None:
    redactor = PathRedactor(["/srv/models"])
    for text in ("/srv/models/blobs/sha256-" * 40_000, "/" * 1_000_000, "a/sha256-" * 100_000):
        redactor.redact(text)


def test_of_a_traceback_the_error_is_left() -> None:
    lines = ['File "/x/y.py", line 3, in f', "raise ValueError(1)", "ValueError: 1"]
    assert last_output(["Traceback (most recent call last):", *lines]) == "ValueError: 1"
    assert last_output(lines) == "ValueError: 1"
    assert last_output(["a", "", "b"]) == "a\nb"
    assert last_output([]) == ""


@pytest.fixture
def models_dir(scratch_store: Path) -> Path:
    return scratch_store


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A folder of another program, with a model in it."""
    folder = tmp_path / "others"
    folder.mkdir()
    tensors = {"token_embd.weight": np.ones((6, 32), dtype=np.float32)}
    gguf_files.write(folder / "found.gguf", "llama", {}, tensors)
    return folder


@pytest.fixture
def ollama_server(models_dir: Path, model_folder: Path) -> OllamaServer:
    return OllamaServer(models_dir=str(models_dir), model_folders=[str(model_folder)])


def bodies() -> list[tuple[str, str, dict[str, Any]]]:
    message = [{"role": "user", "content": "x"}]
    return [
        ("POST", "/api/generate", generate(stream=False)),
        ("POST", "/api/chat", chat(stream=False)),
        ("POST", "/api/chat", chat(progress=True)),
        ("POST", "/api/embed", {"model": "all-minilm", "input": "x"}),
        ("POST", "/api/show", {"model": "smollm2"}),
        ("POST", "/api/create", {"model": "new", "from": "smollm2", "stream": False}),
        ("POST", "/api/create", {"model": "new", "from": "smollm2", "quantize": "q8_0"}),
        ("POST", "/v1/chat/completions", {"model": "smollm2", "messages": message}),
        ("POST", "/v1/messages", {"model": "smollm2", "messages": message, "max_tokens": 1}),
        ("DELETE", "/api/delete", {"model": "found"}),
        ("POST", "/api/copy", {"source": "found", "destination": "x"}),
        ("POST", "/api/generate", {"model": "found", "prompt": "x", "stream": False}),
    ]


@pytest.mark.parametrize("kind", ["no GGUF", "cut", "folder", "link"])
async def test_no_error_has_a_path(
    standalone: Fetch, models_dir: Path, model_folder: Path, kind: str
) -> None:
    blobs = [path for path in models_dir.joinpath("blobs").iterdir() if path.is_file()]
    big = [path for path in blobs if path.stat().st_size > 2**18]
    for path in big:
        whole = path.read_bytes()
        path.unlink()
        if kind == "no GGUF":
            path.write_bytes(b"nonsense")
        elif kind == "cut":
            path.write_bytes(whole[: len(whole) // 2])
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to(models_dir / "nowhere")
    failed = 0
    for method, path, body in bodies():
        response = await standalone(method, path, body)
        if response.code == 200:
            text = str(lines(response)[-1].get("error", ""))
        else:
            text = error(response) if path.startswith("/api") else neighbour_error(response)
        failed += bool(text)
        for folder in (models_dir, model_folder, Path(sys.prefix), Path(tempfile.gettempdir())):
            assert str(folder) not in text, (method, path, json.dumps(body), text)
        assert "Traceback" not in text
        assert os.sep + "blobs" not in text, text
    assert failed >= 8


async def test_the_log_keeps_paths(
    standalone: Fetch, models_dir: Path, model_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    response = await standalone("DELETE", "/api/delete", {"model": "found"})
    assert response.code == 403
    assert "is the file found.gguf, which is used in place" in error(response)
    assert str(model_folder / "found.gguf") in caplog.text
