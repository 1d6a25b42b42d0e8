"""Fixtures of the library's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from store_models import store_files
from tiny_gguf import TOKENS, write_gguf

from jupyter_ollama.engine import quantize
from jupyter_ollama.library.create import CreateRequest, create
from jupyter_ollama.library.library import Library
from jupyter_ollama.library.store import Store
from jupyter_ollama.prompt.messages import Message


@pytest.fixture
def empty_library(store: Store) -> Library:
    """A library without models, on the empty store."""
    return Library(store)


@pytest.fixture
def tiny_digest(store: Store, tmp_path: Path) -> str:
    """The digest of a small GGUF in the store."""
    path = write_gguf(tmp_path / "tiny.gguf", general__file_type=1, llama__context_length=64)
    return store.add_blob(path.read_bytes()).digest


@pytest.fixture
def snapshot(store: Store) -> Callable[[], dict[str, bytes]]:
    """Return the contents of all files of the store when called."""
    return lambda: store_files(store)


@pytest.fixture
def full(empty_library: Library, tmp_path: Path) -> Library:
    """A library whose model `full` has a layer of every kind."""
    store = empty_library.store
    files = {}
    for name, architecture, metadata in (
        (
            "m.gguf",
            "llama",
            {
                "general__name": "n",
                "general__file_type": 1,
                "llama__context_length": 64,
                "llama__embedding_length": 32,
                "tokenizer__ggml__tokens": TOKENS,
                "tokenizer__chat_template": "jinja",
            },
        ),
        ("mm.gguf", "clip", {"general__type": "mmproj", "clip__patch": 14}),
    ):
        path = write_gguf(tmp_path / name, architecture, **metadata)
        files[name] = store.add_blob(path.read_bytes()).digest
    lora = write_gguf(tmp_path / "lora.gguf", general__type="adapter")
    request = CreateRequest(
        model="full",
        files=files,
        adapters={"lora.gguf": store.add_blob(lora.read_bytes()).digest},
        template="{{ .System }}{{ .Tools }}{{ .Response }}",
        system='Say "hi".\nBe kind.',
        license=["MIT", "Apache"],
        parameters={"temperature": 1, "num_ctx": 4096, "stop": ["<a>", "b\n"], "use_mmap": False},
        messages=[Message(role="user", content="q"), Message(role="assistant", content="a")],
        renderer="r",
        parser="p",
        requires="0.14.0",
    )
    list(create(empty_library.store, request, quantize.run))
    return empty_library
