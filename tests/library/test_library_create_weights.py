"""Creating models from split GGUFs, from adapters, and with weights of every type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf_files import finish
from jupyter_ollama_client.modelfile import parse
from plain_loop import PlainLoop
from store_models import create_model
from tiny_checkpoint import as_bf16, brain_floats, write_checkpoint, write_json, write_safetensors

from jupyter_ollama.api.model_views import details, modelfile_text
from jupyter_ollama.engine.llama_model import LlamaModel
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.convert.convert import convert
from jupyter_ollama.library.gguf import read_header
from jupyter_ollama.library.gguf_types import FILE_TYPES
from jupyter_ollama.library.library import Library
from jupyter_ollama.library.store import Store

NEED_MATRIX = {name for name in FILE_TYPES.values() if name.startswith(("IQ1", "IQ2", "IQ3_X"))}
NEED_MATRIX |= {"Q2_K_S"}


def upload(library: Library, folder: Path) -> dict[str, str]:
    """Store the files of a folder and return their digests by name."""
    return {
        path.name: library.store.add_blob(path.read_bytes()).digest
        for path in sorted(folder.iterdir())
    }


def write_parts(folder: Path, sizes: tuple[int, ...], **extra: Any) -> list[np.ndarray[Any, Any]]:
    """Write a split GGUF with ``sizes`` tensors in its parts and return them."""
    random = np.random.default_rng(3)
    tensors = []
    for number, size in enumerate(sizes):
        name = f"model-{number + 1:05}-of-{len(sizes):05}.gguf"
        writer = gguf.GGUFWriter(folder / name, "llama")
        if number == 0:
            writer.add_name("split")
            writer.add_array("tokenizer.ggml.tokens", ["a", "é"])
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", len(sizes))
        writer.add_int32("split.tensors.count", extra.get("tensors", sum(sizes)))
        of_part = {}
        for _ in range(size):
            # Odd sizes: there must be padding between tensors.
            tensors.append(random.standard_normal((3, 5)).astype(np.float32))
            of_part[extra.get("name", f"t{len(tensors)}")] = tensors[-1]
        finish(writer, of_part)
    return tensors


def test_split_gguf(empty_library: Library, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    tensors = write_parts(folder, (0, 3, 2))
    files = upload(empty_library, folder)
    # The order of the files is not that of the names.
    shuffled = {name: files[name] for name in reversed(files)}
    lines = create_model(empty_library, model="a", files=shuffled)
    texts = list(dict.fromkeys(line["status"].split(" sha256")[0] for line in lines))
    assert texts == [
        "parsing GGUF",
        "merging GGUF parts",
        "creating new layer",
        "writing manifest",
        "success",
    ]
    path = empty_library.find("a").model_path
    header = read_header(path, arrays=True)
    header.check_data()
    assert header.metadata["general.name"] == "split"
    assert header.metadata["tokenizer.ggml.tokens"] == ["a", "é"]
    assert not any(key.startswith("split.") for key in header.metadata)
    stored = gguf.GGUFReader(path).tensors
    assert [tensor.name for tensor in stored] == ["t1", "t2", "t3", "t4", "t5"]
    for tensor, expected in zip(stored, tensors, strict=True):
        assert np.array_equal(tensor.data, expected)


def test_modelfile_names_one_part_of_a_split_gguf(tmp_path: Path) -> None:
    write_parts(tmp_path, (1, 1, 1))
    _, files = parse("FROM ./model-00001-of-00003.gguf").to_request(tmp_path)
    assert [file.path.name for file in files] == [f"model-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    (tmp_path / "model-00002-of-00003.gguf").unlink()
    _, files = parse("FROM ./model-00003-of-00003.gguf").to_request(tmp_path)
    assert [file.name for file in files] == [f"model-0000{n}-of-00003.gguf" for n in (1, 3)]


@pytest.mark.parametrize(
    ("change", "extra", "message"),
    [
        (
            lambda files: files.pop("model-00002-of-00003.gguf"),
            {},
            "model-00002-of-00003.gguf is missing: all parts of a split GGUF are needed",
        ),
        (
            lambda files: files.update({"model-00004-of-00003.gguf": next(iter(files.values()))}),
            {},
            "4 files for the 3 parts of a split GGUF",
        ),
        (None, {"name": "same"}, "a tensor is in more than one part"),
        (None, {"tensors": 9}, "the parts have 3 tensors in total, but state 9"),
    ],
)
def test_split_gguf_with_missing_parts(
    empty_library: Library,
    tmp_path: Path,
    snapshot: Callable[[], dict[str, bytes]],
    change: Callable[[dict[str, str]], Any] | None,
    extra: dict[str, Any],
    message: str,
) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    write_parts(folder, (1, 1, 1), **extra)
    files = upload(empty_library, folder)
    if change:
        change(files)
    before = snapshot()
    with pytest.raises(OllamaError) as caught:
        create_model(empty_library, model="a", files=files)
    assert (caught.value.status, caught.value.message) == (400, message)
    assert snapshot() == before


@pytest.fixture(scope="module")
def wide_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF with rows of 256 numbers, which all types can hold."""
    folder = tmp_path_factory.mktemp("wide")
    write_checkpoint(
        folder,
        "llama",
        hidden_size=256,
        intermediate_size=256,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=4,
    )
    convert(folder, folder / "wide.gguf")
    return folder / "wide.gguf"


@pytest.mark.parametrize("file_type", sorted(set(FILE_TYPES.values()) - {"F16", "NVFP4"}))
def test_quantize_to_every_type(empty_library: Library, wide_model: Path, file_type: str) -> None:
    files = {"wide.gguf": empty_library.store.add_blob(wide_model.read_bytes()).digest}
    request = {"model": "q", "files": files, "quantize": file_type.lower()}
    if file_type in NEED_MATRIX:
        with pytest.raises(OllamaError, match="needs an importance matrix") as caught:
            create_model(empty_library, **request)
        assert caught.value.status == 400
        return
    statuses = {line["status"] for line in create_model(empty_library, **request)}
    assert f"quantizing F16 model to {file_type}" in statuses
    model = empty_library.find("q")
    assert details(model)["quantization_level"] == file_type
    loop = PlainLoop(model.model_path, n_ctx=64)
    assert np.isfinite(loop.misses([72, 101], [108])).all()
    loop.close()


@pytest.mark.parametrize("file_type", ["Q8_0", "Q4_K_M"])
def test_smollm2_in_other_types_still_answers(scratch_store: Path, file_type: str) -> None:
    library = Library(Store(scratch_store))
    create_model(library, **{"model": "q", "from": "smollm2", "quantize": file_type})
    path = library.find("q").model_path
    assert library.find("q").header.file_type == file_type
    model = LlamaModel(str(path))
    question = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    answer = model.tokenize("The capital of France is Paris", special=False)
    loop = PlainLoop(path, n_ctx=128)
    assert loop.misses(model.tokenize(question, special=False), answer) == [0.0] * len(answer)
    loop.close()


def test_safetensors_adapter(empty_library: Library, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model", "llama")
    (tmp_path / "lora").mkdir()
    random = np.random.default_rng(1)
    arrays = {
        f"model.layers.0.mlp.up_proj.lora_{part}.weight": brain_floats(random.random(shape))
        for part, shape in (("A", (2, 64)), ("B", (128, 2)))
    }
    write_safetensors(tmp_path / "lora" / "adapter_model.safetensors", as_bf16(arrays))
    write_json(tmp_path / "lora" / "adapter_config.json", {"lora_alpha": 6})
    create_model(empty_library, model="base", files=upload(empty_library, tmp_path / "model"))
    text = f"FROM base\nADAPTER {tmp_path / 'lora'}\n"
    body, files = parse(text).to_request(tmp_path)
    adapters = {
        file.name: empty_library.store.add_blob(file.path.read_bytes()).digest for file in files
    }
    assert set(adapters) == {"adapter_model.safetensors", "adapter_config.json"}
    lines = create_model(empty_library, **body, model="tuned", adapters=adapters)
    assert "converting adapter" in {line["status"] for line in lines}
    model = empty_library.find("tuned")
    assert model.model_path == empty_library.find("base").model_path
    header = read_header(model.adapter_paths[0])
    assert header.architecture == "llama"
    assert header.metadata["adapter.lora.alpha"] == 6.0
    assert {tensor.name: tensor.shape for tensor in header.tensors} == {
        "blk.0.ffn_up.weight.lora_a": (64, 2),
        "blk.0.ffn_up.weight.lora_b": (2, 128),
    }


def test_modelfile_of_show_makes_the_same_model(empty_library: Library, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model", "llama")
    create_model(
        empty_library,
        model="first",
        files=upload(empty_library, tmp_path / "model"),
        template="{{ .System }} {{ .Prompt }}",
        system='say "hi"\nand bye ',
        license=["MIT\n", "other"],
        parameters={"temperature": 0.25, "stop": ["a b", '"'], "num_ctx": 99},
        messages=[{"role": "user", "content": "q\n"}, {"role": "assistant", "content": " a"}],
    )
    shown = modelfile_text(empty_library.find("first"))
    body, files = parse(shown).to_request(tmp_path)
    sent = {f.name: empty_library.store.add_blob(f.path.read_bytes()).digest for f in files}
    create_model(empty_library, **body, model="second", files=sent)
    first, second = (empty_library.find(name).manifest for name in ("first", "second"))
    layers = [sorted((x.media_type, x.digest) for x in found.layers) for found in (first, second)]
    assert layers[0] == layers[1]


@pytest.mark.parametrize(
    ("key", "value"),
    [("split.count", "2"), ("split.count", [2]), ("split.no", "1"), ("split.count", 0.5)],
)
def test_split_gguf_with_invalid_numbers(
    empty_library: Library, tmp_path: Path, key: str, value: Any
) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    writer = gguf.GGUFWriter(folder / "odd.gguf", "llama")
    values = {"split.count": 2, "split.no": 0} | {key: value}
    for name, one in values.items():
        add = {str: writer.add_string, list: writer.add_array, float: writer.add_float32}
        add.get(type(one), writer.add_uint16)(name, one)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(OllamaError, match=f"{key} must be an integer") as caught:
        create_model(empty_library, model="a", files=upload(empty_library, folder))
    assert caught.value.status == 400
