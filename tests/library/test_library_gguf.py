"""GGUF headers: real files, small ones of the gguf package, and hostile ones."""

from __future__ import annotations

import ctypes
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import gguf
import pytest
from tiny_gguf import TOKENS, write_gguf

from jupyter_ollama.library.gguf import (
    FILE_TYPES,
    TENSOR_TYPES,
    InvalidGGUF,
    Tensor,
    read_header,
)
from jupyter_ollama.library.library import Library

UINT32, STRING, ARRAY = 4, 8, 9


def head(tensors: int, pairs: int, version: int = 3, order: str = "<") -> bytes:
    return b"GGUF" + struct.pack(f"{order}IQQ", version, tensors, pairs)


def text(value: str, order: str = "<") -> bytes:
    return struct.pack(f"{order}Q", len(value.encode())) + value.encode()


def array(element: int, length: int) -> bytes:
    return text("key") + struct.pack("<IIQ", ARRAY, element, length)


def test_agrees_with_the_gguf_package(tmp_path: Path) -> None:
    path = write_gguf(
        tmp_path / "x.gguf",
        llama__context_length=64,
        llama__rope__freq_base=10000.5,
        flag=True,
        tokenizer__ggml__tokens=TOKENS,
        tokenizer__ggml__scores=[0.5, 1.5],
        tokenizer__chat_template="{{ é }}",
    )
    header = read_header(path, arrays=True)
    reader = gguf.GGUFReader(path)
    fields = {key: field for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    assert header.metadata == {key: field.contents() for key, field in fields.items()}
    assert header.version == 3
    assert header.data_offset == reader.data_offset
    for ours, theirs in zip(header.tensors, reader.tensors, strict=True):
        assert ours == Tensor(
            theirs.name,
            tuple(int(n) for n in theirs.shape),
            theirs.tensor_type.name,
            int(theirs.data_offset) - reader.data_offset,
            int(theirs.n_bytes),
        )
    header.check_data()


def test_arrays_are_skipped_unless_asked_for(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "x.gguf", tokenizer__ggml__tokens=TOKENS, n=[1, 2, 3])
    header = read_header(path)
    assert header.metadata["tokenizer.ggml.tokens"] is None
    assert header.lengths == {"tokenizer.ggml.tokens": len(TOKENS), "n": 3}
    assert header.parameter_count == 6 * 32 + 32
    assert header.architecture == "llama"
    assert header.file_type == "unknown"


def test_floats_have_no_false_digits(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "x.gguf", a=1e-5, b=0.1, c=1000000.0, d=float("inf"))
    metadata = read_header(path).metadata
    assert [metadata[key] for key in "abcd"] == [1e-5, 0.1, 1000000.0, float("inf")]


def test_smollm2(library: Library) -> None:
    header = read_header(library.find("smollm2").model_path)
    header.check_data()
    assert (header.architecture, header.parameter_count) == ("llama", 134_515_008)
    assert header.file_type == "Q4_0"
    assert header.get("context_length") == 8192
    assert header.lengths["tokenizer.ggml.tokens"] == 49152
    assert "im_start" in header.metadata["tokenizer.chat_template"]


def test_gemma3(gemma3_library: Library) -> None:
    path = gemma3_library.find("gemma3").model_path
    header = read_header(path)
    header.check_data()
    assert (header.architecture, header.file_type) == ("gemma3", "Q4_K_M")
    assert header.lengths["tokenizer.ggml.tokens"] == 262144
    tokens = read_header(path, arrays=True).metadata["tokenizer.ggml.tokens"]
    assert (len(tokens), tokens[105]) == (262144, "<start_of_turn>")


def test_type_tables_are_those_of_llama_cpp() -> None:
    import llama_cpp
    from llama_cpp import _ggml

    library = _ggml.libggml
    library.ggml_type_name.restype = ctypes.c_char_p
    library.ggml_blck_size.restype = ctypes.c_int64
    library.ggml_type_size.restype = ctypes.c_size_t
    of_ollama = {"MXFP4_RAW"}  # a number that ggml no longer uses
    for number, (name, block, width) in TENSOR_TYPES.items():
        if name in of_ollama:
            continue
        assert library.ggml_type_name(number).decode().upper() == name
        assert (library.ggml_blck_size(number), library.ggml_type_size(number)) == (block, width)
    for number, name in FILE_TYPES.items():
        names = (f"MOSTLY_{name}", f"ALL_{name}", f"MOSTLY_{name}_MOE")
        found = [getattr(llama_cpp, f"LLAMA_FTYPE_{known}", None) for known in names]
        assert number in found


@pytest.mark.parametrize(("version", "order"), [(2, "<"), (3, "<"), (3, ">")])
def test_versions_and_byte_orders(tmp_path: Path, version: int, order: str) -> None:
    path = tmp_path / "x.gguf"
    pair = text("general.alignment", order) + struct.pack(f"{order}II", UINT32, 64)
    names = text("names", order) + struct.pack(f"{order}IIQ", ARRAY, STRING, 1) + text("n", order)
    tensor = text("t", order) + struct.pack(f"{order}IQQIQ", 2, 4, 2, 0, 0)
    content = head(1, 2, version, order) + pair + names + tensor
    path.write_bytes(content.ljust(192, b"\0") + b"d" * 32)
    header = read_header(path)
    assert header.version == version
    assert header.metadata == {"general.alignment": 64, "names": None}
    assert header.tensors == [Tensor("t", (4, 2), "F32", 0, 32)]
    assert header.data_offset == 192
    header.check_data()


HUGE = 2**63 + 5
CUT = "ends within|characters do not fit"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"GGU", "magic number"),
        (b"ggml" + b"\0" * 60, "magic number"),
        (b"GGUF", "ends within"),
        (head(0, 0, version=1), "version 1"),
        (head(0, 0, version=4), "version 4"),
        (head(0, 0, version=0), "version 0"),
        (head(HUGE, 0), "tensors do not fit"),
        (head(0, HUGE), "metadata entries do not fit"),
        (head(0, 1), "metadata entries do not fit"),
        (head(0, 1) + text("k") + struct.pack("<I", 99) + b"\0" * 9, "type 99"),
        (head(0, 1) + struct.pack("<Q", HUGE) + b"\0" * 60, "characters do not fit"),
        (head(0, 1) + text("k") + struct.pack("<IQ", STRING, HUGE) + b"\0" * 9, "characters"),
        (head(0, 1) + array(STRING, HUGE) + b"\0" * 9, "array elements do not fit"),
        (head(0, 1) + array(UINT32, HUGE), "array elements do not fit"),
        (head(0, 1) + array(UINT32, 3) + b"\0" * 8, "array elements do not fit"),
        (head(0, 1) + array(ARRAY, 1) + b"\0" * 32, "type 9"),
        (head(0, 1) + array(STRING, 2) + struct.pack("<Q", HUGE) + b"\0" * 20, CUT),
        (head(0, 1) + array(STRING, 2) + struct.pack("<Q", 50) + b"\0" * 20, CUT),
        (head(0, 1) + array(STRING, 1) + struct.pack("<Q", 50) + b"\0" * 20, CUT),
        (head(1, 0) + text("t") + struct.pack("<I", 2**31) + b"\0" * 99, "dimensions"),
        (head(1, 0) + text("t") + struct.pack("<IQIQ", 1, 33, 2, 0), "no whole blocks"),
        (head(1, 0) + text("t") + struct.pack("<IQQIQ", 2, 2**40, 2**40, 99, 0), "too large"),
        (head(1, 0) + text("t") + struct.pack("<IQI", 1, 32, 2) + b"\0" * 2, "ends within"),
        (head(0, 1) + text("general.alignment") + struct.pack("<II", UINT32, 0), "alignment"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(data)
    for arrays in (False, True):
        with pytest.raises(InvalidGGUF, match=message):
            read_header(path, arrays)


def test_every_truncation_of_a_header_is_refused(tmp_path: Path) -> None:
    data = write_gguf(tmp_path / "x.gguf", tokenizer__ggml__tokens=TOKENS, n=7).read_bytes()
    end = read_header(tmp_path / "x.gguf").data_offset - 32
    path = tmp_path / "cut.gguf"
    for length in range(end):
        path.write_bytes(data[:length])
        with pytest.raises(InvalidGGUF):
            read_header(path)


def test_missing_tensor_data_is_found(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "x.gguf")
    path.write_bytes(path.read_bytes()[:-64])
    with pytest.raises(InvalidGGUF, match="ends before the data of tensor output_norm"):
        read_header(path).check_data()


def test_endless_arrays_are_refused_with_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    length = 12_000_000
    with path.open("wb") as file:
        file.write(head(0, 1) + array(STRING, length))
        file.truncate(file.tell() + 8 * length)  # a sparse file: empty strings
    tracemalloc.start()
    try:
        for arrays in (False, True):
            with pytest.raises(InvalidGGUF, match="too long"):
                read_header(path, arrays)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


SCALARS: dict[str, Any] = {"text": "7", "integer": 7, "real": 0.5, "yes or no": True, "array": [7]}


@pytest.mark.parametrize("kind", SCALARS)
@pytest.mark.parametrize(
    "key",
    [
        "general.architecture",
        "general.type",
        "general.alignment",
        "tokenizer.chat_template",
        "split.count",
        "split.no",
        "split.tensors.count",
        "llama.block_count",
        "llama.context_length",
        "llama.embedding_length",
        "llama.pooling_type",
        "llama.expert_used_count",
        "llama.attention.head_count",
        "llama.attention.key_length",
        "llama.feed_forward_length",
    ],
)
def test_values_of_another_type_are_refused(tmp_path: Path, key: str, kind: str) -> None:
    value = SCALARS[kind]
    is_text = key in ("general.architecture", "general.type", "tokenizer.chat_template")
    fitting = {"text"} if is_text else {"integer"}
    if key in ("llama.attention.head_count", "llama.feed_forward_length"):
        fitting = {"integer", "array"}
    path = tmp_path / "odd.gguf"
    metadata = {"general.architecture": "llama"} | {key: value}
    path.write_bytes(gguf_of(metadata))
    if kind not in fitting:
        with pytest.raises(InvalidGGUF, match=r"must be|alignment is invalid"):
            read_header(path)
    elif key != "general.alignment":
        found = read_header(path).metadata[key]
        assert found == (None if kind == "array" else value)


def gguf_of(metadata: dict[str, Any]) -> bytes:
    """Return a GGUF without tensors."""
    return head(0, len(metadata)) + b"".join(
        text(key) + entry(value) for key, value in metadata.items()
    )


def entry(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, list):
        return struct.pack("<IIQ", 9, 4, len(value)) + struct.pack(f"<{len(value)}I", *value)
    return struct.pack("<II", 4, value)
