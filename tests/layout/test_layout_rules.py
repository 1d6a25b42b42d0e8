"""The results of rules for layouts without a model in the data of the tests."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import gguf_files
import numpy as np
import pytest
from numpy.typing import NDArray

from jupyter_ollama.layout.errors import LayoutError
from jupyter_ollama.layout.model_file import ModelFile
from jupyter_ollama.layout.virtual_file import VirtualFile
from jupyter_ollama.library.gguf import InvalidGGUF, read_header

Arrays = Mapping[str, NDArray[Any]]
RANDOM = np.random.default_rng(1)


def floats(*shape: int, dtype: Any = np.float32) -> NDArray[Any]:
    """Random numbers; the last dimension of numpy is the first of GGUF."""
    return RANDOM.standard_normal(shape).astype(dtype)


def write(path: Path, architecture: str, keys: Mapping[str, Any], tensors: Arrays) -> ModelFile:
    """Write a file; keys with a dot in front are the architecture's own."""
    return ModelFile(gguf_files.write(path, architecture, keys, tensors))


def saved(file: VirtualFile | None, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the metadata and the tensors of a view, read by gguf's own reader."""
    assert file
    path = folder / "view.gguf"
    with path.open("wb") as target:
        file.write_to(target)
    reader = gguf.GGUFReader(path)
    tensors = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    return read_header(path, arrays=True).metadata, tensors


def test_a_character_map_of_letters_becomes_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 3 + b"x"
    text = base64.b64encode(data).decode()
    keys = {
        "tokenizer.ggml.model": "t5",
        "tokenizer.ggml.precompiled_charsmap": list(text),
        ".block_count": 1,
    }
    file = write(tmp_path / "m.gguf", "bert", keys, {"token_embd.weight": floats(4, 8)})
    metadata, tensors = saved(file.view, tmp_path)
    assert bytes(metadata["tokenizer.ggml.precompiled_charsmap"]) == data
    assert list(tensors) == ["token_embd.weight"]


def test_gate_and_up_of_glm_ocr_are_one_matrix(tmp_path: Path) -> None:
    gate, up = floats(6, 4, dtype=np.float16), floats(6, 4, dtype=np.float16)
    keys = {
        ".block_count": 1,
        ".attention.key_length": 8,
        ".rope.mrope_section": [4, 6, 6],
        "tokenizer.ggml.pre": "llama-bpe",
    }
    tensors = {
        "blk.0.attn_out.weight": floats(4, 4),
        "blk.0.ffn_gate.weight": gate,
        "blk.0.ffn_up.weight": up,
        "blk.0.post_attn_norm.weight": floats(4),
        "blk.0.post_ffn_norm.weight": floats(4),
        "mm.x.weight": floats(4),
        "v.blk.0.attn_out.weight": floats(4, 4),
    }
    file = write(tmp_path / "m.gguf", "glmocr", keys, tensors)
    metadata, found = saved(file.view, tmp_path)
    assert metadata["general.architecture"] == "glm4"
    assert metadata["glm4.rope.dimension_sections"] == [4, 6, 6, 0]
    assert metadata["glm4.rope.dimension_count"] == 8
    assert metadata["tokenizer.ggml.pre"] == "chatglm-bpe"
    assert sorted(found) == [
        "blk.0.attn_output.weight",
        "blk.0.ffn_up.weight",
        "blk.0.post_attention_norm.weight",
        "blk.0.post_ffw_norm.weight",
    ]
    assert np.array_equal(found["blk.0.ffn_up.weight"], np.concatenate([gate, up]))


def test_gates_of_laguna_are_renamed(tmp_path: Path) -> None:
    keys = {".rope.swa.dimension_count": 64, ".rope.swa.freq_base": 1e4}
    tensors = {f"blk.{block}.attn_g.weight": floats(2, 2) for block in range(12)}
    file = write(tmp_path / "m.gguf", "laguna", keys, tensors)
    metadata, found = saved(file.view, tmp_path)
    assert metadata["laguna.rope.dimension_count_swa"] == 64
    assert metadata["laguna.rope.freq_base_swa"] == 1e4
    assert sorted(found) == sorted(f"blk.{block}.attn_gate.weight" for block in range(12))


def test_the_experts_of_a_head_are_joined(tmp_path: Path) -> None:
    parts = {part: floats(3, 4, 8, dtype=np.float16) for part in ("gate", "up", "down")}
    norm, embedding_norm = floats(8), floats(8, dtype=np.float16)
    tensors = {
        "blk.0.ssm_dt": floats(4),
        "blk.1.attn_q.weight": floats(8, 8),
        "mtp.fc.weight": floats(8, 16),
        "mtp.layers.0.attn_norm.weight": norm,
        "mtp.layers.0.ssm_norm.weight": norm,
        "mtp.pre_fc_norm_embedding.weight": embedding_norm,
        "mtp.norm.weight": norm,
        **{
            f"mtp.layers.0.mlp.experts.{expert}.{part}_proj.weight": values[expert]
            for part, values in parts.items()
            for expert in range(3)
        },
    }
    keys = {".block_count": 2, ".image_token_id": 1, ".attention.head_count_kv": [0, 2]}
    file = write(tmp_path / "m.gguf", "qwen35moe", keys, tensors)
    metadata, found = saved(file.view, tmp_path)
    assert metadata["qwen35moe.block_count"] == 3
    assert metadata["qwen35moe.nextn_predict_layers"] == 1
    assert metadata["qwen35moe.attention.head_count_kv"] == 2
    for part, values in parts.items():
        assert np.array_equal(found[f"blk.2.ffn_{part}_exps.weight"], values)
    assert np.array_equal(found["blk.2.attn_norm.weight"], norm + 1)
    assert np.array_equal(found["blk.2.ssm_norm.weight"], norm)
    assert np.array_equal(found["blk.2.nextn.shared_head_norm.weight"], norm + 1)
    enorm = found["blk.2.nextn.enorm.weight"]
    assert enorm.dtype == np.float32
    assert np.array_equal(enorm, embedding_norm.astype(np.float32) + 1)
    assert {"blk.0.ssm_dt.bias", "blk.2.nextn.eh_proj.weight"} <= set(found)
    assert not any(name.startswith("mtp.") for name in found)


def test_queries_keys_and_values_of_several_types_are_joined(tmp_path: Path) -> None:
    query, key = floats(32, 32, dtype=np.float16), floats(32, 32)
    value = floats(32, 32)
    packed = gguf.quantize(value, gguf.GGMLQuantizationType.Q8_0)
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "qwen3vlmoe")
    writer.add_embedding_length(16)
    writer.add_uint32("qwen3vlmoe.vision.block_count", 1)
    writer.add_uint32("qwen3vlmoe.vision.patch_size", 2)
    writer.add_array("qwen3vlmoe.vision.deepstack_visual_indexes", [0])
    writer.add_tensor("v.blk.0.attn_q.weight", query)
    writer.add_tensor("v.blk.0.attn_k.weight", key)
    writer.add_tensor("v.blk.0.attn_v.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("v.blk.0.mlp.linear_fc1.weight", floats(48, 32))
    frames = floats(6, 2, 2, 2, dtype=np.float16)
    writer.add_tensor("v.patch_embed.weight", frames)
    writer.add_tensor("v.pos_embed.weight", floats(16, 32, dtype=np.float16))
    writer.add_tensor("v.deepstack_merger.0.linear_fc1.weight", floats(4, 4))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    metadata, found = saved(ModelFile(path).projector, tmp_path)
    rounded = gguf.dequantize(packed, gguf.GGMLQuantizationType.Q8_0)
    joined = np.concatenate([query.astype(np.float32), key, rounded])
    assert np.array_equal(found["v.blk.0.attn_qkv.weight"], joined)
    assert metadata["clip.vision.feed_forward_length"] == 48
    assert metadata["clip.vision.image_size"] == 8
    assert metadata["clip.vision.is_deepstack_layers"] == [True]
    assert "v.deepstack.0.fc1.weight" in found
    wanted = frames.astype(np.float32).reshape(2, 3, 2, 2, 2)
    assert np.array_equal(found["v.patch_embd.weight"], wanted[:, :, 0])
    assert np.array_equal(found["v.patch_embd.weight.1"], wanted[:, :, 1])


def test_positions_of_nemotron_are_stretched(tmp_path: Path) -> None:
    width, patch, side = 8, 4, 5
    grid = np.arange(9, dtype=np.float32).reshape(3, 3)
    positions = np.repeat(grid.reshape(9, 1), width, axis=1)
    keys = {
        ".embedding_length": 16,
        ".expert_count": 4,
        ".vision.embedding_length": width,
        ".vision.block_count": 1,
        ".vision.image_size": patch * side,
        ".vision.patch_size": patch,
        ".audio.block_count": 2,
    }
    patches = floats(width, patch * patch * 3, dtype=np.float16)
    tensors = {
        "blk.0.ffn_latent_in.weight": floats(2, 4),
        "mm.1.weight": floats(4, 4),
        "mm.2.weight": floats(4, 4),
        "mm.norm.weight": floats(4),
        "v.blk.0.ln1.weight": floats(width),
        "v.cls_embd": floats(width, dtype=np.float16),
        "v.patch_embd.weight": patches,
        "v.position_embd": positions,
    }
    file = write(tmp_path / "m.gguf", "nemotron_h_omni", keys, tensors)
    metadata, found = saved(file.view, tmp_path)
    assert metadata["general.architecture"] == "nemotron_h_moe"
    assert metadata["nemotron_h_moe.moe_latent_size"] == 2
    assert "nemotron_h_moe.audio.block_count" not in metadata
    assert list(found) == ["blk.0.ffn_latent_down.weight"]
    metadata, found = saved(file.projector, tmp_path)
    assert metadata["clip.vision.projector_type"] == "nemotron_v2_vl"
    assert metadata["clip.has_audio_encoder"] is False
    stretched = found["v.position_embd.weight"].reshape(side, side, width)[..., 0]
    assert np.allclose(stretched[0], [0, 0.5, 1, 1.5, 2])
    assert np.allclose(stretched[:, 0], [0, 1.5, 3, 4.5, 6])
    assert found["v.patch_embd.weight"].shape == (width, 3, patch, patch)
    assert np.array_equal(found["v.patch_embd.weight"].ravel(), patches.astype(np.float32).ravel())
    assert {"mm.model.mlp.0.weight", "mm.model.mlp.1.weight", "mm.model.mlp.3.weight"} <= set(found)
    assert found["v.class_embd"].dtype == np.float32


def test_rotary_rows_of_pixtral_are_interleaved(tmp_path: Path) -> None:
    heads, size = 2, 4
    query = np.arange(heads * size * 2, dtype=np.float16).reshape(heads * size, 2)
    keys = {".embedding_length": 6, ".vision.block_count": 1, ".vision.attention.head_count": heads}
    tensors = {"v.blk.0.attn_q.weight": query, "token_embd.weight": floats(3, 6)}
    file = write(tmp_path / "m.gguf", "mistral3", keys, tensors)
    _, found = saved(file.projector, tmp_path)
    order = [0, 2, 1, 3, 4, 6, 5, 7]
    assert np.array_equal(found["v.blk.0.attn_q.weight"], query[order])
    assert np.array_equal(found["v.token_embd.img_break"], np.zeros(6, np.float32))


def test_experts_of_gemma4_are_merged_one_by_one(tmp_path: Path) -> None:
    gate, up = floats(3, 2, 4), floats(3, 2, 4)
    tensors = {
        "blk.0.ffn_gate_exps.weight": gate,
        "blk.0.ffn_up_exps.weight": up,
        "blk.0.ffn_gate_inp.per_expert_scale": floats(3),
    }
    file = write(tmp_path / "m.gguf", "gemma4", {"tokenizer.ggml.model": "llama"}, tensors)
    metadata, found = saved(file.view, tmp_path)
    assert metadata["tokenizer.ggml.model"] == "gemma4"
    assert sorted(found) == ["blk.0.ffn_down_exps.scale", "blk.0.ffn_gate_up_exps.weight"]
    merged = np.concatenate([gate, up], axis=1)
    assert np.array_equal(found["blk.0.ffn_gate_up_exps.weight"], merged)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {".block_count": 1, ".attention.key_length": "x"},
            r"attention\.key_length must be an integer",
        ),
        ({".block_count": 1}, r"attention\.key_length is not a whole number"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises((LayoutError, InvalidGGUF), match=message):
        write(tmp_path / "m.gguf", "glm4moelite", keys, {"output.weight": floats(2, 2)})
