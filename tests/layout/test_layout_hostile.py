"""Damaged files in Ollama's layout crash at most their runner, with a clear error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile import cut
from ollama_layout import NAMES, PROJECTORS
from runners import running

from jupyter_ollama.errors import OllamaError
from jupyter_ollama.layout.errors import LayoutError
from jupyter_ollama.layout.model_file import ModelFile

COUNT = int(os.environ.get("LAYOUT_MUTATIONS", "15"))
"""Damaged versions of each model; 200 take six minutes."""

CRASHES = ("killed by SIGABRT", "killed by SIGSEGV", "killed by SIGFPE", "killed by SIGBUS")
"""Ends of a process by llama.cpp itself; the server then reports the runner's end."""

MODELS = [name for name in NAMES if name not in PROJECTORS]


@pytest.mark.parametrize("name", MODELS)
def test_damaged_files_load_or_are_refused(
    layout_model: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    model = tmp_path / "model.gguf"
    os.link(layout_model(name), model)
    script = Path(__file__).with_name("load_damaged.py")
    command = [sys.executable, str(script), str(model), str(COUNT)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    ends = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(ends) == COUNT
    wrong = [end for end in ends if not end["end"].startswith(("loaded", "refused: ", *CRASHES))]
    assert not wrong
    crashed = sum(end["end"].startswith(CRASHES) for end in ends)
    assert crashed <= max(3, COUNT // 20)


async def test_the_end_of_a_runner_is_explained(
    layout_model: Callable[[str], Path], tmp_path: Path
) -> None:
    """A dimension that only an assertion of llama.cpp detects ends the process."""
    parts = cut(layout_model("qwen25vl"))
    path = tmp_path / "model.gguf"
    key = b"qwen25vl.vision.patch_size"
    pairs = [
        pair[:-4] + b"\x03\0\0\0" if pair[8 : 8 + len(key)] == key else pair for pair in parts.pairs
    ]
    path.write_bytes(parts._replace(pairs=pairs).join())
    with pytest.raises(OllamaError, match=r"killed by SIG|unable to load"):
        async with running(path):
            pass


@pytest.mark.parametrize(
    ("model", "tensor"),
    [
        ("gptoss", b"blk.0.ffn_gate_exps.weight"),
        ("embeddinggemma", b"dense.1.weight"),
        ("qwen3vl", b"v.blk.1.attn_q.weight"),
        ("gemma3-vision", b"token_embd.weight"),
        ("deepseekocr", b"v.blk.0.layer_norm1.weight"),
        ("lfm2", b"blk.0.ffn_gate.weight"),
    ],
)
def test_a_missing_tensor_is_named(
    layout_model: Callable[[str], Path], tmp_path: Path, model: str, tensor: bytes
) -> None:
    parts = cut(layout_model(model))
    infos = [info for info in parts.infos if info[8 : 8 + len(tensor)] != tensor]
    assert len(infos) == len(parts.infos) - 1
    path = tmp_path / "model.gguf"
    path.write_bytes(parts._replace(infos=infos).join())
    with pytest.raises(LayoutError, match=r"tensor \S+ is missing"):
        ModelFile(path)


def test_a_doubled_tensor_is_named(layout_model: Callable[[str], Path], tmp_path: Path) -> None:
    parts = cut(layout_model("olmo3"))
    path = tmp_path / "model.gguf"
    path.write_bytes(parts._replace(infos=[*parts.infos, parts.infos[0]]).join())
    with pytest.raises(LayoutError, match=r"two tensors named blk\.0\."):
        ModelFile(path)


def test_tensors_behind_the_end_of_the_file_are_named(
    layout_model: Callable[[str], Path], tmp_path: Path
) -> None:
    parts = cut(layout_model("olmo3"))
    path = tmp_path / "model.gguf"
    path.write_bytes(parts._replace(data=parts.data[:-100]).join())
    with pytest.raises(LayoutError, match=r"the file ends before the data of tensor \S+"):
        ModelFile(path)


def test_translation_can_be_switched_off(
    layout_model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_LLAMA_CPP_COMPAT", "0")
    file = ModelFile(layout_model("gptoss"))
    assert file.view is None
    assert file.header.architecture == "gptoss"
