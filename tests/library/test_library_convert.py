"""Converting sentence encoders from safetensors files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import starter_models
from store_models import create_model
from tiny_checkpoint import write_safetensors

from jupyter_ollama.api.model_views import details
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.convert.convert import convert
from jupyter_ollama.library.convert.model_folder import ConversionError
from jupyter_ollama.library.convert.safetensors import read_file
from jupyter_ollama.library.gguf import read_header
from jupyter_ollama.library.library import Library

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, "hello", "##ing", "[unused1]", "é"]
CONFIG = {
    "architectures": ["BertModel"],
    "_name_or_path": "someone/tiny-bert",
    "hidden_act": "gelu",
    "hidden_size": 32,
    "intermediate_size": 64,
    "layer_norm_eps": 1e-7,
    "max_position_embeddings": 16,
    "num_attention_heads": 4,
    "num_hidden_layers": 1,
    "type_vocab_size": 2,
}


def tensors() -> dict[str, np.ndarray[Any, Any]]:
    """The weights of an encoder of one layer, all different."""
    layer = "encoder.layer.0."
    shapes = {
        "embeddings.word_embeddings.weight": (len(WORDS) + 1, 32),
        "embeddings.position_embeddings.weight": (16, 32),
        "embeddings.token_type_embeddings.weight": (2, 32),
        "embeddings.LayerNorm.weight": (32,),
        "embeddings.LayerNorm.bias": (32,),
        "pooler.dense.weight": (32, 32),
    }
    for name, shape in (
        ("attention.self.query", (32, 32)),
        ("attention.self.key", (32, 32)),
        ("attention.self.value", (32, 32)),
        ("attention.output.dense", (32, 32)),
        ("attention.output.LayerNorm", (32,)),
        ("intermediate.dense", (64, 32)),
        ("output.dense", (32, 64)),
        ("output.LayerNorm", (32,)),
    ):
        shapes[f"{layer}{name}.weight"] = shape
        shapes[f"{layer}{name}.bias"] = shape[:1]
    random = np.random.default_rng(1)
    return {name: random.standard_normal(shape).astype("f4") for name, shape in shapes.items()}


@pytest.fixture
def tiny_bert(tmp_path: Path) -> Path:
    """A folder with a complete, very small encoder."""
    folder = tmp_path / "bert"
    folder.mkdir()
    arrays = {f"bert.{name}": ("F32", array) for name, array in tensors().items()}
    positions = ("I64", np.arange(16))
    write_safetensors(
        folder / "model.safetensors", arrays | {"bert.embeddings.position_ids": positions}
    )
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return folder


def change(folder: Path, **values: Any) -> None:
    """Change the config of a model."""
    (folder / "config.json").write_text(json.dumps(CONFIG | values))


def test_tensors_and_metadata(tiny_bert: Path, tmp_path: Path) -> None:
    convert(tiny_bert, tmp_path / "out.gguf")
    header = read_header(tmp_path / "out.gguf", arrays=True)
    header.check_data()
    wanted = {
        "general.architecture": "bert",
        "general.name": "tiny-bert",
        "general.file_type": 0,
        "bert.block_count": 1,
        "bert.context_length": 16,
        "bert.embedding_length": 32,
        "bert.feed_forward_length": 64,
        "bert.attention.head_count": 4,
        "bert.attention.layer_norm_epsilon": 1e-7,
        "bert.attention.causal": False,
        "bert.pooling_type": 1,
        "bert.normalize_embeddings": False,
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.token_type_count": 2,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.unknown_token_id": 1,
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.seperator_token_id": 3,
        "tokenizer.ggml.mask_token_id": 4,
        "tokenizer.ggml.tokens": [*SPECIAL, "▁hello", "ing", "[unused1]", "▁é", "[PAD9]"],
        "tokenizer.ggml.token_type": [3, 3, 3, 3, 3, 1, 1, 1, 1, 5],
    }
    assert wanted.items() <= header.metadata.items()
    stored = {tensor.name: tensor.data for tensor in gguf.GGUFReader(tmp_path / "out.gguf").tensors}
    source = tensors()
    assert len(stored) == len(source) - 1  # the pooler is not used
    for theirs, ours in (
        ("embeddings.word_embeddings.weight", "token_embd.weight"),
        ("embeddings.LayerNorm.bias", "token_embd_norm.bias"),
        ("encoder.layer.0.attention.self.value.weight", "blk.0.attn_v.weight"),
        ("encoder.layer.0.attention.output.dense.bias", "blk.0.attn_output.bias"),
        ("encoder.layer.0.intermediate.dense.weight", "blk.0.ffn_up.weight"),
        ("encoder.layer.0.output.dense.weight", "blk.0.ffn_down.weight"),
        ("encoder.layer.0.output.LayerNorm.weight", "blk.0.layer_output_norm.weight"),
    ):
        assert np.array_equal(stored[ours], source[theirs])


def test_half_precision_is_widened_exactly(tmp_path: Path) -> None:
    values = np.array([[0.5, -3.0], [1.25, 1e-3]], dtype="f4")
    brain = (values.view(np.uint32) >> 16).astype("u2")
    path = tmp_path / "x.safetensors"
    half = values.astype("f2")
    write_safetensors(path, {"half": ("F16", half), "brain": ("BF16", brain), "n": ("I64", values)})
    found = read_file(path)
    assert np.array_equal(found["half"].all(), half.astype("f4"))
    assert np.array_equal(found["brain"].all(), (brain.astype("u4") << 16).view("f4"))
    with pytest.raises(ConversionError, match="tensors of type I64 are not supported"):
        found["n"].all()


def test_shards_pooling_and_tokenizer_json(tiny_bert: Path, tmp_path: Path) -> None:
    arrays = {name: ("F32", array) for name, array in tensors().items()}
    (tiny_bert / "model.safetensors").unlink()
    first = dict(list(arrays.items())[:7])
    for number, part in enumerate((first, {k: v for k, v in arrays.items() if k not in first})):
        write_safetensors(tiny_bert / f"model-0000{number + 1}-of-00002.safetensors", part)
    (tiny_bert / "vocab.txt").unlink()
    added = [{"id": number, "content": token} for number, token in enumerate(SPECIAL)]
    vocabulary = {token: number for number, token in enumerate(WORDS) if number >= len(SPECIAL)}
    tokenizer = {
        "normalizer": {"lowercase": True},
        "added_tokens": added,
        "model": {"type": "WordPiece", "vocab": vocabulary},
    }
    (tiny_bert / "tokenizer.json").write_text(json.dumps(tokenizer))
    modules = [
        {"type": "sentence_transformers.models.Transformer", "path": ""},
        {"type": "sentence_transformers.models.Pooling", "path": "pool"},
        {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"},
    ]
    (tiny_bert / "modules.json").write_text(json.dumps(modules))
    (tiny_bert / "pool").mkdir()
    (tiny_bert / "pool/config.json").write_text('{"pooling_mode_cls_token": true}')
    convert(tiny_bert, tmp_path / "out.gguf")
    header = read_header(tmp_path / "out.gguf", arrays=True)
    assert header.metadata["bert.pooling_type"] == 2
    assert header.metadata["bert.normalize_embeddings"] is True
    assert header.metadata["tokenizer.ggml.tokens"][5] == "▁hello"
    assert len(header.tensors) == len(arrays) - 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda f: change(f, architectures=["GPT2LMHeadModel"]),
            'architecture "GPT2LMHeadModel"',
        ),
        (lambda f: change(f, architectures=None), 'unsupported architecture "unknown"'),
        (lambda f: change(f, hidden_act="relu"), 'unsupported activation "relu"'),
        (lambda f: change(f, position_embedding_type="relative_key"), "absolute position"),
        (lambda f: change(f, hidden_size=None), "config.json has no hidden_size"),
        (lambda f: change(f, num_hidden_layers=2), "tensor blk.1.attn_k.bias is missing"),
        (lambda f: (f / "config.json").unlink(), "config.json is missing"),
        (lambda f: (f / "config.json").write_text("{"), "config.json is not valid JSON"),
        (lambda f: (f / "vocab.txt").unlink(), "tokenizer.json is missing"),
        (lambda f: (f / "vocab.txt").write_text("a\n" * 99), "99 tokens, but only 10 embeddings"),
        (lambda f: (f / "vocab.txt").write_text("a\nb\n"), r"the vocabulary has no \[CLS\]"),
        (
            lambda f: (f / "tokenizer_config.json").write_text('{"do_lower_case": false}'),
            "cased BERT vocabularies",
        ),
        (lambda f: (f / "model.safetensors").write_bytes(b"x" * 99), "not a safetensors file"),
        (
            lambda f: (f / "model.safetensors").write_bytes(b"\x09" + b"\0" * 20),
            "has a faulty header",
        ),
        (
            lambda f: write_safetensors(
                f / "model-more.safetensors", {"odd.weight": ("F32", np.ones(1))}
            ),
            "has a faulty header",
        ),
        (
            lambda f: write_safetensors(
                f / "model-more.safetensors", {"odd.weight": ("F32", np.ones(1, "f4"))}
            ),
            'unexpected tensor "odd.weight"',
        ),
    ],
)
def test_unsupported_models_are_refused(
    tiny_bert: Path, tmp_path: Path, spoil: Callable[[Path], Any], message: str
) -> None:
    spoil(tiny_bert)
    with pytest.raises(ConversionError, match=message):
        convert(tiny_bert, tmp_path / "out.gguf")


def test_command_line(tiny_bert: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    command = [sys.executable, "-m", "jupyter_ollama.library.convert", str(tiny_bert), str(out)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    assert read_header(out).architecture == "bert"
    change(tiny_bert, architectures=["X"])
    failed = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (failed.returncode, failed.stderr) == (3, 'unsupported architecture "X"\n')


def upload(library: Library, folder: Path) -> dict[str, str]:
    """Store the files of a folder and return their digests by name."""
    return {
        path.relative_to(folder).as_posix(): library.store.add_blob(path.read_bytes()).digest
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_create_from_safetensors(empty_library: Library, tiny_bert: Path) -> None:
    files = upload(empty_library, tiny_bert)
    lines = create_model(empty_library, model="bert", files=files)
    steps = [line for line in lines if line["status"] == "converting model"]
    assert lines[: len(steps)] == steps
    assert [line["completed"] for line in steps] == sorted(line["completed"] for line in steps)
    assert steps[0]["completed"] == 0 < steps[-1]["completed"] == steps[-1]["total"]
    assert lines[len(steps)]["status"].startswith("creating new layer sha256:")
    model = empty_library.find("bert")
    assert model.capabilities == ["embedding"]
    assert details(model)["quantization_level"] == "F32"
    # Intermediate weights are removed.
    blobs = len(list(empty_library.store.blobs.iterdir()))
    create_model(empty_library, model="bert", files=files, quantize="F16")
    assert details(empty_library.find("bert"))["quantization_level"] == "F16"
    assert len(list(empty_library.store.blobs.iterdir())) == blobs


def test_create_from_an_unsupported_model(
    empty_library: Library, tiny_bert: Path, snapshot: Callable[[], dict[str, bytes]]
) -> None:
    change(tiny_bert, architectures=["GPT2LMHeadModel"])
    files = upload(empty_library, tiny_bert)
    before = snapshot()
    with pytest.raises(OllamaError) as caught:
        create_model(empty_library, model="bert", files=files)
    assert caught.value.status == 400
    assert caught.value.message == 'unsupported architecture "GPT2LMHeadModel"'
    assert snapshot() == before


def test_all_minilm_keeps_its_weights(empty_library: Library) -> None:
    starter_models.register("all-minilm", empty_library, quantize=None)
    path = empty_library.find("all-minilm").model_path
    metadata = read_header(path).metadata
    assert metadata["bert.block_count"] == 6
    assert metadata["bert.context_length"] == 512
    assert metadata["bert.pooling_type"] == 1
    assert metadata["bert.normalize_embeddings"] is True
    assert metadata["tokenizer.ggml.bos_token_id"] == 101
    assert metadata["tokenizer.ggml.seperator_token_id"] == 102
    (source,) = starter_models.cache_folder().glob("all-minilm/*/model/model.safetensors")
    weights = read_file(source)
    reader = gguf.GGUFReader(path)
    assert len(reader.tensors) == 5 + 6 * 16
    by_name = {tensor.name: tensor.data for tensor in reader.tensors}
    for theirs, ours in (
        ("embeddings.word_embeddings.weight", "token_embd.weight"),
        ("encoder.layer.5.attention.self.query.weight", "blk.5.attn_q.weight"),
        ("encoder.layer.3.output.LayerNorm.bias", "blk.3.layer_output_norm.bias"),
    ):
        assert np.array_equal(by_name[ours], weights[theirs].all())
