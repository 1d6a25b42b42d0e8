"""Converting models that generate text: llama.cpp computes the published formulas."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from decoder_reference import DecoderReference
from numpy.typing import NDArray
from plain_loop import quiet
from tiny_checkpoint import (
    CONFIGS,
    as_bf16,
    brain_floats,
    make_weights,
    write_checkpoint,
    write_json,
    write_safetensors,
)

from jupyter_ollama.engine.adapters import load_adapters
from jupyter_ollama.engine.llama_context import Batch, LlamaContext
from jupyter_ollama.engine.llama_model import LlamaModel
from jupyter_ollama.library.convert.adapter import convert_adapter
from jupyter_ollama.library.convert.convert import convert
from jupyter_ollama.library.convert.model_folder import ConversionError
from jupyter_ollama.library.gguf import read_header

IDS = [256, 72, 101, 108, 108, 111, 32, 119, 111, 114, 108, 100, 33, 10, 260, 261, 7, 200, 44, 3]
CLOSE = 1e-2


def llama_logits(
    path: Path, ids: list[int], adapters: tuple[Path, ...] = (), cells: int = 256
) -> NDArray[np.float32]:
    """The logits after each token, as in the engine."""
    quiet()
    model = LlamaModel(str(path))
    context = LlamaContext(
        model, cells=cells, sequences=1, batch=64, ubatch=64, threads=1, kv_cache_type="f32"
    )
    context.set_adapters(load_adapters(model, map(str, adapters)))
    batch = Batch(64)
    batch.add(ids, 0, 0, outputs="all")
    assert context.decode(batch) == 0
    found = context.all_logits(len(ids)).copy()
    context.close()
    return found


@pytest.mark.parametrize("family", CONFIGS)
def test_logits(tmp_path: Path, family: str) -> None:
    weights = write_checkpoint(tmp_path / "model", family)
    convert(tmp_path / "model", tmp_path / "out.gguf")
    expected = DecoderReference(CONFIGS[family], weights).logits(IDS)
    found = llama_logits(tmp_path / "out.gguf", IDS)[:, : expected.shape[1]]
    assert expected.std() > 0.3
    assert np.abs(found - expected[:, : found.shape[1]]).max() < CLOSE


def test_phi3_stretches_long_contexts_more(tmp_path: Path) -> None:
    weights = write_checkpoint(tmp_path / "model", "phi3")
    convert(tmp_path / "model", tmp_path / "out.gguf")
    config = CONFIGS["phi3"]
    scaling = config["rope_scaling"] | {"short_factor": config["rope_scaling"]["long_factor"]}
    expected = DecoderReference(config | {"rope_scaling": scaling}, weights).logits(IDS)
    found = llama_logits(tmp_path / "out.gguf", IDS, cells=512)
    assert np.abs(found - expected).max() < CLOSE


def test_files_types_and_names_of_all_sorts(tmp_path: Path) -> None:
    """Shards, full and half precision, settings of newer files, a model without its tower."""
    plain = CONFIGS["gemma3"]
    rope = {
        "full_attention": plain["rope_scaling"] | {"rope_theta": plain["rope_theta"]},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
    }
    text = {key: value for key, value in plain.items() if not key.startswith("rope")}
    text |= {"rope_parameters": rope}
    folder = tmp_path / "model"
    write_checkpoint(folder, "gemma3")
    config = {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": text}
    write_json(folder / "config.json", config)
    weights = make_weights(plain, words=264)
    renamed = {name.replace("model.", "language_model.model.", 1): w for name, w in weights.items()}
    (folder / "model.safetensors").unlink()
    halves = {name: ("F16", w.astype("<f2")) for name, w in list(renamed.items())[:9]}
    full = {name: ("F32", w) for name, w in list(renamed.items())[9:]}
    full["vision_tower.x.weight"] = ("I8", np.zeros(3, np.int8))
    index = {}
    for number, part in enumerate((halves, full), 1):
        name = f"model-0000{number}-of-00002.safetensors"
        write_safetensors(folder / name, part)
        index |= dict.fromkeys(part, name)
    write_json(folder / "model.safetensors.index.json", {"weight_map": index})
    convert(folder, tmp_path / "out.gguf")
    expected = DecoderReference(plain, weights).logits(IDS)
    found = llama_logits(tmp_path / "out.gguf", IDS)
    assert found.shape[1] == 262  # embeddings after the last token are unused
    assert np.abs(found - expected[:, :262]).max() < CLOSE
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ConversionError, match=r"model-00002-of-00002.safetensors is missing"):
        convert(folder, tmp_path / "out.gguf")


def test_metadata(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, "llama3.2", _name_or_path="someone/Tiny-Llama/")
    convert(tmp_path, tmp_path / "out.gguf")
    header = read_header(tmp_path / "out.gguf", arrays=True)
    header.check_data()
    wanted = {
        "general.architecture": "llama",
        "general.type": "model",
        "general.name": "Tiny-Llama",
        "general.file_type": 1,
        "llama.block_count": 2,
        "llama.context_length": 512,
        "llama.embedding_length": 64,
        "llama.feed_forward_length": 128,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.attention.key_length": 32,
        "llama.attention.layer_norm_rms_epsilon": 1e-6,
        "llama.rope.dimension_count": 32,
        "llama.rope.freq_base": 500000.0,
        "llama.vocab_size": 264,
    }
    assert wanted.items() <= header.metadata.items()
    types = {tensor.name: tensor.type_name for tensor in header.tensors}
    assert types["blk.1.attn_q.weight"] == "F16"
    assert types["blk.1.attn_norm.weight"] == types["rope_freqs.weight"] == "F32"
    assert "output.weight" not in types


def without(folder: Path, name: str) -> None:
    """Remove a tensor from a model."""
    weights = make_weights(CONFIGS["llama"], words=264)
    del weights[name]
    write_safetensors(folder / "model.safetensors", as_bf16(weights))


def with_tensor(folder: Path, name: str, kind: str, array: NDArray[Any]) -> None:
    """Add a tensor to a model."""
    weights = as_bf16(make_weights(CONFIGS["llama"], words=264)) | {name: (kind, array)}
    write_safetensors(folder / "model.safetensors", weights)


EMBEDDING = "model.embed_tokens.weight"


@pytest.mark.parametrize(
    ("changes", "spoil", "message"),
    [
        ({"architectures": ["FooForCausalLM"]}, None, 'unsupported architecture "FooForCausalLM"'),
        (
            {},
            lambda f: write_json(
                f / "config.json", CONFIGS["llama"] | {"num_hidden_layers": 10**9}
            ),
            "invalid number of layers: 1000000000",
        ),
        ({"hidden_act": "relu"}, None, 'unsupported activation "relu"'),
        ({"rope_scaling": {"type": "odd"}}, None, 'unsupported RoPE scaling "odd"'),
        ({"rope_scaling": {"type": "yarn"}}, None, "config.json has no factor for its RoPE"),
        ({"max_position_embeddings": None}, None, "has no max_position_embeddings"),
        (
            {"quantization_config": {"quant_method": "gptq"}},
            None,
            'unsupported quantization "gptq"',
        ),
        (
            CONFIGS["qwen2"] | {"use_sliding_window": True, "sliding_window": 4},
            None,
            "sliding windows are not supported",
        ),
        (
            CONFIGS["gemma2"] | {"query_pre_attn_scalar": 100},
            None,
            "query_pre_attn_scalar 100 is not supported",
        ),
        ({}, lambda f: without(f, "lm_head.weight"), "tensor output.weight is missing"),
        (
            {},
            lambda f: without(f, "model.layers.1.mlp.up_proj.weight"),
            "tensor blk.1.ffn_up.weight is missing",
        ),
        (
            {},
            lambda f: with_tensor(f, "model.odd.weight", "F32", np.ones(2, "f4")),
            'unexpected tensor "model.odd.weight"',
        ),
        (
            {},
            lambda f: with_tensor(f, EMBEDDING, "F8_E4M3", np.ones((264, 64), "u1")),
            "tensors of type F8_E4M3 are not supported",
        ),
        (
            {},
            lambda f: with_tensor(f, EMBEDDING, "F32", np.full((264, 64), 1e5, "f4")),
            "tensor token_embd.weight does not fit 16-bit numbers",
        ),
    ],
)
def test_unsupported_models_are_refused(
    tmp_path: Path,
    changes: dict[str, Any],
    spoil: Callable[[Path], None] | None,
    message: str,
) -> None:
    family = {"qwen2": "qwen2", "gemma2": "gemma2"}.get(changes.get("model_type", ""), "llama")
    write_checkpoint(tmp_path, family, **changes)
    if spoil:
        spoil(tmp_path)
    with pytest.raises(ConversionError, match=message):
        convert(tmp_path, tmp_path / "out.gguf")


def write_adapter(
    folder: Path, modules: dict[str, tuple[int, int]], rank: int, **config: Any
) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Write a LoRA adapter for modules of the given (outputs, inputs) and return A and B."""
    random = np.random.default_rng(7)
    pairs = {}
    arrays = {}
    for module, (outputs, inputs) in modules.items():
        first = brain_floats(random.standard_normal((rank, inputs)) / 8)
        second = brain_floats(random.standard_normal((outputs, rank)) / 4)
        pairs[module] = (first, second)
        for part, array in (("A", first), ("B", second)):
            arrays[f"base_model.model.{module}.lora_{part}.weight"] = ("F32", array)
    folder.mkdir()
    write_safetensors(folder / "adapter_model.safetensors", arrays)
    write_json(folder / "adapter_config.json", {"peft_type": "LORA", "r": rank} | config)
    return pairs


LLAMA_MODULES = {
    "model.layers.0.self_attn.q_proj": (64, 64),
    "model.layers.1.self_attn.k_proj": (32, 64),
    "model.layers.1.self_attn.v_proj": (32, 64),
    "model.layers.0.mlp.down_proj": (64, 128),
}
PHI3_MODULES = {
    "model.layers.0.self_attn.qkv_proj": (128, 64),
    "model.layers.1.mlp.gate_up_proj": (256, 64),
}


@pytest.mark.parametrize(
    ("family", "modules", "config", "scales"),
    [
        ("llama", LLAMA_MODULES, {"lora_alpha": 8}, [2.0] * 4),
        ("llama", LLAMA_MODULES, {"lora_alpha": 8, "use_rslora": True}, [4.0] * 4),
        (
            "qwen3",
            {"model.layers.0.self_attn.q_proj": (128, 64), "model.layers.1.mlp.up_proj": (128, 64)},
            {"lora_alpha": 4, "alpha_pattern": {"up_proj": 12}},
            [1.0, 3.0],
        ),
        ("phi3", PHI3_MODULES, {"lora_alpha": 2}, [0.5] * 2),
    ],
)
def test_adapter(
    tmp_path: Path,
    family: str,
    modules: dict[str, tuple[int, int]],
    config: dict[str, Any],
    scales: list[float],
) -> None:
    weights = write_checkpoint(tmp_path / "model", family)
    convert(tmp_path / "model", tmp_path / "base.gguf")
    pairs = write_adapter(tmp_path / "lora", modules, rank=4, **config)
    convert_adapter(tmp_path / "lora", tmp_path / "lora.gguf", tmp_path / "base.gguf")
    header = read_header(tmp_path / "lora.gguf")
    assert header.metadata["general.type"] == "adapter"
    changes = {
        module: (*pairs[module], scale) for module, scale in zip(modules, scales, strict=True)
    }
    expected = DecoderReference(CONFIGS[family], weights, changes).logits(IDS)
    without_it = DecoderReference(CONFIGS[family], weights).logits(IDS)
    found = llama_logits(tmp_path / "base.gguf", IDS, (tmp_path / "lora.gguf",))
    assert np.abs(found - expected).max() < CLOSE < np.abs(without_it - expected).max()


@pytest.mark.parametrize(
    ("modules", "config", "message"),
    [
        ({"model.layers.9.mlp.up_proj": (128, 64)}, {}, "has no model.layers.9.mlp.up_proj"),
        ({"model.layers.0.mlp.up_proj": (99, 64)}, {}, "does not fit blk.0.ffn_up.weight"),
        ({"lm_head": (264, 64)}, {"use_dora": True}, "use_dora is not supported"),
        ({"lm_head": (264, 64)}, {"peft_type": "IA3"}, 'unsupported adapter "IA3"'),
        ({"lm_head": (264, 64)}, {"lora_alpha": 0}, "has no lora_alpha"),
    ],
)
def test_adapters_that_do_not_fit(
    tmp_path: Path, modules: dict[str, tuple[int, int]], config: dict[str, Any], message: str
) -> None:
    write_checkpoint(tmp_path / "model", "llama")
    convert(tmp_path / "model", tmp_path / "base.gguf")
    write_adapter(tmp_path / "lora", modules, rank=2, **config)
    with pytest.raises(ConversionError, match=message):
        convert_adapter(tmp_path / "lora", tmp_path / "lora.gguf", tmp_path / "base.gguf")
