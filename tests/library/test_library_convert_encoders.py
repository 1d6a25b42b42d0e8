"""Converting nomic-bert: llama.cpp computes the published formulas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from plain_loop import quiet
from tiny_checkpoint import Weights, as_bf16, brain_floats, write_json, write_safetensors

from jupyter_ollama.engine.llama_context import Batch, LlamaContext
from jupyter_ollama.engine.llama_model import LlamaModel
from jupyter_ollama.library.convert.convert import convert
from jupyter_ollama.library.convert.model_folder import ConversionError
from jupyter_ollama.library.gguf import read_header

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
SIZE, INNER, HEADS, LAYERS = 64, 96, 4, 2
CONFIG = {
    "architectures": ["NomicBertModel"],
    "activation_function": "swiglu",
    "layer_norm_epsilon": 1e-6,
    "max_trained_positions": 32,
    "n_embd": SIZE,
    "n_head": HEADS,
    "n_inner": INNER,
    "n_layer": LAYERS,
    "n_positions": 128,
    "prenorm": False,
    "qkv_proj_bias": False,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "type_vocab_size": 2,
}


def make_weights() -> Weights:
    """Draw weights; outside of the layers only the norm has a bias."""
    random = np.random.default_rng(5)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(WORDS), SIZE),
        "embeddings.token_type_embeddings.weight": (2, SIZE),
        "emb_ln.weight": (SIZE,),
        "emb_ln.bias": (SIZE,),
    }
    for layer in range(LAYERS):
        name = f"encoder.layers.{layer}."
        shapes |= {
            name + "attn.Wqkv.weight": (3 * SIZE, SIZE),
            name + "attn.out_proj.weight": (SIZE, SIZE),
            name + "mlp.fc11.weight": (INNER, SIZE),
            name + "mlp.fc12.weight": (INNER, SIZE),
            name + "mlp.fc2.weight": (SIZE, INNER),
        }
        for norm in ("norm1", "norm2"):
            shapes |= {f"{name}{norm}.weight": (SIZE,), f"{name}{norm}.bias": (SIZE,)}
    return {
        name: brain_floats(random.standard_normal(shape) / np.sqrt(shape[-1] if shape[1:] else 4))
        for name, shape in shapes.items()
    }


def reference(weights: Weights, ids: list[int]) -> NDArray[np.float64]:
    """The mean of the last layer's vectors."""

    def norm(x: NDArray[Any], name: str) -> NDArray[Any]:
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6)
        return centred / scale * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def turn(heads: NDArray[Any]) -> NDArray[Any]:
        half = heads.shape[-1] // 2
        angles = np.arange(len(ids))[:, None] * 1000.0 ** (-np.arange(half) / half)
        first, second = heads[..., :half], heads[..., half:]
        cos, sin = np.cos(angles), np.sin(angles)
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)

    x = weights["embeddings.word_embeddings.weight"][ids].astype(np.float64)
    x = norm(x + weights["embeddings.token_type_embeddings.weight"][0], "emb_ln")
    for layer in range(LAYERS):
        name = f"encoder.layers.{layer}."
        parts = np.split(x @ weights[name + "attn.Wqkv.weight"].T, 3, axis=-1)
        query, key, value = (part.reshape(len(ids), HEADS, -1).transpose(1, 0, 2) for part in parts)
        scores = turn(query) @ turn(key).transpose(0, 2, 1) / np.sqrt(query.shape[-1])
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        seen = (shares @ value).transpose(1, 0, 2).reshape(len(ids), -1)
        x = norm(x + seen @ weights[name + "attn.out_proj.weight"].T, name + "norm1")
        gate = x @ weights[name + "mlp.fc12.weight"].T
        inner = x @ weights[name + "mlp.fc11.weight"].T * gate / (1 + np.exp(-gate))
        x = norm(x + inner @ weights[name + "mlp.fc2.weight"].T, name + "norm2")
    return x.mean(axis=0)


@pytest.fixture
def nomic(tmp_path: Path) -> Path:
    """A folder with a complete, very small model."""
    write_safetensors(tmp_path / "model.safetensors", as_bf16(make_weights()))
    write_json(tmp_path / "config.json", CONFIG)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return tmp_path


def test_vectors(nomic: Path) -> None:
    convert(nomic, nomic / "out.gguf")
    header = read_header(nomic / "out.gguf")
    assert header.architecture == "nomic-bert"
    assert header.get("context_length") == 32  # the length in training
    assert header.metadata["general.file_type"] == 1
    quiet()
    model = LlamaModel(str(nomic / "out.gguf"))
    context = LlamaContext(model, cells=64, sequences=1, batch=64, ubatch=64, threads=1, pooling=-1)
    ids = [2, 5, 9, 7, 11, 5, 3]
    batch = Batch(64)
    batch.add(ids, 0, 0, outputs="all")
    assert context.decode(batch) == 0
    found = context.sequence_embedding(0)
    expected = reference(make_weights(), ids)
    assert np.abs(found - expected).max() < 1e-2 < expected.std()
    assert model.tokenize("a b", special=True) == [2, 5, 6, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prenorm": True}, "prenorm True is not supported"),
        ({"rotary_emb_fraction": 0.5}, "rotary_emb_fraction 0.5 is not supported"),
        ({"moe_every_n_layers": 2}, "models with experts are not supported"),
        ({"activation_function": "gelu"}, 'unsupported activation "gelu"'),
    ],
)
def test_models_that_compute_otherwise(nomic: Path, change: dict[str, Any], message: str) -> None:
    write_json(nomic / "config.json", CONFIG | change)
    with pytest.raises(ConversionError, match=message):
        convert(nomic, nomic / "out.gguf")
