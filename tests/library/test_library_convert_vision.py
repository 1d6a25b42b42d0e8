"""Converting Gemma 3 with its vision tower: Ollama's own conversion gives the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gemma3_checkpoint import (
    ABSENT,
    CONFIG,
    NEWER,
    NEWEST,
    OLDER,
    arrays_of,
    changed,
    read,
    write_checkpoint,
)
from ollama_layout import unpack
from store_models import create_model

from jupyter_ollama.library.convert.convert import convert
from jupyter_ollama.library.convert.model_folder import ConversionError
from jupyter_ollama.library.gguf import read_header
from jupyter_ollama.library.library import Library

Values = dict[str, Any]

TOWER = "vision_tower.vision_model."
PROJECTION = "multi_modal_projector.mm_input_projection_weight"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that Ollama made."""
    return unpack("gemma3-vision", tmp_path_factory.mktemp("published"))


@pytest.mark.parametrize("prefixes", [OLDER, NEWER, NEWEST], ids=["older", "newer", "newest"])
def test_the_file_is_the_one_of_ollama(
    published: Path, tmp_path: Path, prefixes: tuple[str, str, str]
) -> None:
    arrays = arrays_of(published, prefixes)
    arrays[f"{prefixes[1]}embeddings.position_ids"] = ("I64", np.arange(64))
    convert(write_checkpoint(tmp_path / "model", published, arrays), tmp_path / "out.gguf")
    expected_metadata, expected = read(published)
    metadata, tensors = read(tmp_path / "out.gguf")
    seen = ("gemma3.vision.", "gemma3.mm.")
    wanted = {key: value for key, value in expected_metadata.items() if key.startswith(seen)}
    assert len(wanted) == 9
    assert {key: value for key, value in metadata.items() if key.startswith(seen)} == wanted
    assert tensors.keys() == expected.keys()
    for name, values in expected.items():
        assert tensors[name].dtype == values.dtype
        assert tensors[name].shape == values.shape
        if name.endswith("_norm.weight"):
            assert np.abs(tensors[name] - values).max() < 1e-6
        else:
            assert np.array_equal(tensors[name], values)
    assert metadata["gemma3.rope.scaling.factor"] == 8


def test_a_created_model_can_see(empty_library: Library, published: Path, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", published, arrays_of(published))
    files = {
        path.name: empty_library.store.add_blob(path.read_bytes()).digest
        for path in folder.iterdir()
    }
    create_model(empty_library, model="seeing", files=files, quantize="q8_0")
    model = empty_library.find("seeing")
    assert "vision" in model.capabilities
    types = {tensor.name: tensor.type_name for tensor in model.header.tensors}
    assert types["blk.0.attn_q.weight"] == "Q8_0"
    assert types["v.blk.0.attn_q.weight"] == "F16"


def test_without_a_vision_config_the_language_model_is_converted(
    published: Path, tmp_path: Path
) -> None:
    for config in (changed("vision_config", value=None), changed("vision_config")):
        folder = write_checkpoint(tmp_path / "model", published, arrays_of(published), config)
        convert(folder, tmp_path / "out.gguf")
        header = read_header(tmp_path / "out.gguf")
        assert not any("vision" in key or ".mm." in key for key in header.metadata)
        assert not any(tensor.name.startswith(("v.", "mm.")) for tensor in header.tensors)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("hidden_size", ABSENT, "config.json has no vision_config.hidden_size"),
        ("image_size", None, "config.json has no vision_config.image_size"),
        ("intermediate_size", "48", "config.json has no vision_config.intermediate_size"),
        ("num_hidden_layers", ABSENT, "config.json has no vision_config.num_hidden_layers"),
        ("num_hidden_layers", 10**9, "invalid vision_config.num_hidden_layers: 1000000000"),
        ("num_attention_heads", 3, "invalid vision_config.num_attention_heads: 3"),
        ("patch_size", 0, "invalid vision_config.patch_size: 0"),
        ("patch_size", 16, "mm_tokens_per_image 4 is not supported with 7 patches a side"),
        ("image_size", 224, "mm_tokens_per_image 4 is not supported with 16 patches a side"),
        ("num_channels", 1, "vision_config.num_channels must be 3"),
        ("layer_norm_eps", "small", "invalid vision_config.layer_norm_eps: small"),
        ("hidden_act", "silu", 'unsupported vision_config.hidden_act "silu"'),
    ],
)
def test_configs_that_are_refused(
    published: Path, tmp_path: Path, key: str, value: Any, message: str
) -> None:
    config = changed("vision_config", key, value=value)
    refused(published, tmp_path, arrays_of(published), config, message)


def test_other_configs_that_are_refused(published: Path, tmp_path: Path) -> None:
    arrays = arrays_of(published)
    message = "vision_config in config.json is not a JSON object"
    refused(published, tmp_path, arrays, changed("vision_config", value=[1]), message)
    message = "mm_tokens_per_image 256 is not supported with 8 patches a side"
    refused(published, tmp_path, arrays, changed("mm_tokens_per_image"), message)


@pytest.mark.parametrize(
    "name",
    [
        f"{TOWER}embeddings.patch_embedding.bias",
        f"{TOWER}embeddings.position_embedding.weight",
        f"{TOWER}encoder.layers.1.mlp.fc1.bias",
        "multi_modal_projector.mm_soft_emb_norm.weight",
        PROJECTION,
    ],
)
def test_towers_with_missing_tensors_are_refused(
    published: Path, tmp_path: Path, name: str
) -> None:
    arrays = arrays_of(published)
    del arrays[name]
    message = f'tensor "{name}" is missing'
    refused(published, tmp_path, arrays, CONFIG, message)


def test_towers_with_other_tensors_are_refused(published: Path, tmp_path: Path) -> None:
    arrays = arrays_of(published)
    kind, projection = arrays[PROJECTION]
    turned = arrays | {PROJECTION: (kind, projection.T.copy())}
    message = rf'tensor "{PROJECTION}" has the shape \[64, 32\], by config.json it is \[32, 64\]'
    refused(published, tmp_path, turned, CONFIG, message)
    name = f"{TOWER}head.probe"
    odd = arrays | {name: ("F32", np.ones((1, 1, 32), np.float32))}
    refused(published, tmp_path, odd, CONFIG, f'unexpected tensor "{name}"')


def refused(published: Path, tmp_path: Path, arrays: Any, config: Values, message: str) -> None:
    """Check the error of a conversion."""
    folder = write_checkpoint(tmp_path / "model", published, arrays, config)
    with pytest.raises(ConversionError, match=message):
        convert(folder, tmp_path / "out.gguf")
