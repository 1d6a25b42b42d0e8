"""Converting vocabularies: a text must be tokenized as in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plain_loop import quiet
from tiny_checkpoint import (
    CONFIGS,
    LLAMA3,
    QWEN2,
    as_bf16,
    byte_level,
    make_weights,
    message,
    sentencepiece_file,
    write_json,
    write_safetensors,
)

from jupyter_ollama.engine.llama_model import LlamaModel
from jupyter_ollama.library.convert.convert import convert
from jupyter_ollama.library.convert.model_folder import ConversionError
from jupyter_ollama.library.gguf import read_header

UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
ENDING = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
START = r"[^\r\n\p{L}\p{N}]?"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = rf"{START}{UPPER}*{LOWER}+|{START}{UPPER}+{LOWER}*|\p{{N}}{REST}"
GPT4O = rf"{START}{UPPER}*{LOWER}+{ENDING}|{START}{UPPER}+{LOWER}*{ENDING}|\p{{N}}{{1,3}}{REST}"
MERGES = ["1 2", "12 3", "123 4", "' S", "a B", "aB 'S", "! !", "!! Ċ", "!!Ċ /", "Ġ Ġ", "Ċ Ċ"]
TEXT = "1234 aB'S  !!\n/"
ENDS = ["<|begin|>", "<|end_of_text|>", "<|eot|>"]


def steps(*kinds: Any) -> dict[str, Any]:
    """A pre-tokenizer: of an expression, of digits, and of bytes that are split or are not."""
    found: list[dict[str, Any]] = []
    for kind in kinds:
        if isinstance(kind, bool):
            found.append({"type": "ByteLevel", "add_prefix_space": False, "use_regex": kind})
        elif kind == "digits":
            found.append({"type": "Digits", "individual_digits": True})
        else:
            split = {"pattern": {"Regex": kind}, "behavior": "Isolated", "invert": False}
            found.append({"type": "Split", **split})
    return {"type": "Sequence", "pretokenizers": found} if len(found) > 1 else found[0]


def checkpoint(folder: Path, tokenizer: dict[str, Any] | None, rows: int = 280) -> Path:
    """Write a very small model with a tokenizer."""
    folder.mkdir(exist_ok=True)
    config = CONFIGS["llama"] | {"num_hidden_layers": 1}
    write_safetensors(folder / "model.safetensors", as_bf16(make_weights(config, rows)))
    write_json(folder / "config.json", config)
    if tokenizer:
        write_json(folder / "tokenizer.json", tokenizer)
    return folder


def metadata(folder: Path) -> dict[str, Any]:
    """Convert a model and return the metadata of its GGUF."""
    convert(folder, folder / "out.gguf")
    return read_header(folder / "out.gguf", arrays=True).metadata


def pieces(folder: Path, text: str) -> tuple[str, list[str]]:
    """Convert a model; return how it splits words, and the tokens of a text."""
    convert(folder, folder / "out.gguf")
    quiet()
    model = LlamaModel(str(folder / "out.gguf"))
    ids = model.tokenize(text, special=False)
    found = [model.piece(token, special=True).decode(errors="backslashreplace") for token in ids]
    return model.metadata("tokenizer.ggml.pre") or "", found


@pytest.mark.parametrize(
    ("name", "steps", "expected"),
    [
        ("dbrx", steps(LLAMA3, False), ["123", "4", " ", "aB", "'S", " ", " ", "!!\n", "/"]),
        ("qwen2", steps(QWEN2, False), [*"1234 ", "aB", "'S", " ", " ", "!!\n", "/"]),
        ("gpt-2", steps(True), ["1234", " ", "aB", "'", "S", " ", " ", "!!", "\n", "/"]),
        ("smollm", steps("digits", True), [*"1234 ", "aB", "'", "S", " ", " ", "!!", "\n", "/"]),
        ("tekken", steps(TEKKEN, False), [*"1234 aB", "'S", " ", " ", "!!\n/"]),
        ("gpt-4o", steps(GPT4O, False), ["123", "4", *" aB", "'S", " ", " ", "!!\n/"]),
    ],
)
def test_words(tmp_path: Path, name: str, steps: dict[str, Any], expected: list[str]) -> None:
    tokenizer = byte_level("", MERGES) | {"pre_tokenizer": steps}
    assert pieces(checkpoint(tmp_path, tokenizer), TEXT) == (name, expected)


def test_words_that_are_taken_whole(tmp_path: Path) -> None:
    """Llama 3 uses a word of the vocabulary although no merges produce it."""
    tokenizer = byte_level(LLAMA3, MERGES, ignore_merges=True)
    tokenizer["model"]["vocab"] |= {"Ġhorse": 270}
    assert pieces(checkpoint(tmp_path, tokenizer), "a horse") == ("llama-bpe", ["a", " horse"])


def test_byte_level_tokens(tmp_path: Path) -> None:
    tokenizer = byte_level(QWEN2, ["h e", "l l"])
    tokenizer["added_tokens"] += [
        {"id": 261, "content": "<tool>", "special": False},
        {"id": 262, "content": "<|fim|>", "special": False},
    ]
    tokenizer["model"]["merges"] = [["h", "e"], ["l", "l"]]  # the form of newer files
    found = metadata(checkpoint(tmp_path, tokenizer, rows=265))
    tokens, types = found["tokenizer.ggml.tokens"], found["tokenizer.ggml.token_type"]
    assert tokens[255:] == ["ÿ", *ENDS, "he", "ll", "<tool>", "<|fim|>", "[PAD263]", "[PAD264]"]
    assert types[255:] == [1, 3, 3, 3, 1, 1, 4, 3, 5, 5]
    assert found["tokenizer.ggml.merges"] == ["h e", "l l"]


def template(*items: str) -> dict[str, Any]:
    """A step that puts tokens around a text, "" being the text."""
    single = [{"SpecialToken": {"id": i}} if i else {"Sequence": {"id": "A"}} for i in items]
    return {"type": "TemplateProcessing", "single": single}


def test_tokens_with_a_role(tmp_path: Path) -> None:
    tokenizer = byte_level(LLAMA3, ["h e"])
    processors = [{"type": "ByteLevel"}, template("<|begin|>", "")]
    tokenizer["post_processor"] = {"type": "Sequence", "processors": processors}
    checkpoint(tmp_path, tokenizer)
    settings = {"eos_token": "<|eot|>", "pad_token": {"content": "<|end_of_text|>"}}
    write_json(tmp_path / "tokenizer_config.json", settings | {"chat_template": "{{ old }}"})
    write_json(tmp_path / "generation_config.json", {"eos_token_id": [257, 258, 10, 11]})
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    found = metadata(tmp_path)
    wanted = {
        "tokenizer.ggml.bos_token_id": 256,
        "tokenizer.ggml.eos_token_id": 258,
        "tokenizer.ggml.eot_token_id": 257,
        "tokenizer.ggml.eom_token_id": 10,
        "tokenizer.ggml.eos_token_ids": [258, 257, 10, 11],
        "tokenizer.ggml.padding_token_id": 257,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_eos_token": False,
        "tokenizer.chat_template": "{{ messages }}",
    }
    assert wanted.items() <= found.items()
    model = LlamaModel(str(tmp_path / "out.gguf"))
    assert [model.is_end(token) for token in (256, 257, 258, 10, 12)] == [False, *[True] * 3, False]
    # The settings override the template.
    write_json(tmp_path / "tokenizer_config.json", settings | {"add_bos_token": False})
    (tmp_path / "chat_template.jinja").unlink()
    found = metadata(tmp_path)
    assert found["tokenizer.ggml.add_bos_token"] is False
    assert "tokenizer.chat_template" not in found


def test_several_chat_templates(tmp_path: Path) -> None:
    checkpoint(tmp_path, byte_level(LLAMA3, []))
    templates = [{"name": "default", "template": "A"}, {"name": "tool_use", "template": "B"}]
    write_json(tmp_path / "tokenizer_config.json", {"chat_template": templates})
    found = metadata(tmp_path)
    assert found["tokenizer.chat_template"] == "A"
    assert found["tokenizer.chat_template.tool_use"] == "B"


BYTE_PIECES = [f"<0x{byte:02X}>" for byte in range(256)]
WORDS = ["▁", "t", "h", "e", "r", "th", "▁t", "he", "▁th", "the", "▁the", "er", "▁▁"]
"""The joined ones in the order in which they were learned."""

SPM_TEXT = "the  there é<eot>her"
SPM_PIECES = [" the", " ", " the", *"re ", r"\xc3", r"\xa9", "<eot>", " ", "he", "r"]


def sentencepiece_model(kind: int = 2, **normalizer: int) -> bytes:
    """A tokenizer.model of all bytes and of the words above."""
    special = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    byte_pieces = [(text, 0.0, 6) for text in BYTE_PIECES]
    # Single letters are learned last, and are first in the list of the tests.
    words = [(w, -float(i) if len(w) > 1 else -1e3, 1) for i, w in enumerate(WORDS)]
    return sentencepiece_file(special + byte_pieces + words, kind, **normalizer)


def sentencepiece_json() -> dict[str, Any]:
    """The same as a tokenizer.json."""
    tokens = ["<unk>", "<s>", "</s>", *BYTE_PIECES, *WORDS]
    merges = [
        [word[:cut], word[cut:]]
        for word in WORDS
        for cut in range(1, len(word))
        if word[:cut] in tokens and word[cut:] in tokens
    ]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return {
        "added_tokens": [
            {"id": number, "content": token, "special": True}
            for number, token in [*enumerate(tokens[:3]), (len(tokens), "<eot>")]
        ],
        "normalizer": {"normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace"}]},
        "model": {
            "type": "BPE",
            "vocab": vocabulary,
            "merges": merges,
            "byte_fallback": True,
            "unk_token": "<unk>",
        },
    }


@pytest.mark.parametrize("files", ["model", "json", "both"])
def test_sentencepiece(tmp_path: Path, files: str) -> None:
    folder = checkpoint(tmp_path, None if files == "model" else sentencepiece_json())
    if files != "json":
        (folder / "tokenizer.model").write_bytes(sentencepiece_model())
        write_json(folder / "added_tokens.json", {"<eot>": 272})
    assert pieces(folder, SPM_TEXT) == ("default", SPM_PIECES)
    header = read_header(folder / "out.gguf", arrays=True).metadata
    assert header["tokenizer.ggml.model"] == "llama"
    assert header["tokenizer.ggml.add_space_prefix"] is True
    assert header["tokenizer.ggml.add_bos_token"] is (files == "model")
    special = 4 if files == "model" else 3
    assert header["tokenizer.ggml.token_type"][:4] == [2, 3, 3, 6]
    assert header["tokenizer.ggml.token_type"][-9:] == [1, special, *[5] * 7]
    assert header["tokenizer.ggml.tokens"][-8:-6] == ["<eot>", "[PAD273]"]


def test_sentencepiece_without_a_space_before_the_text(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, None)
    (folder / "tokenizer.model").write_bytes(sentencepiece_model(add_dummy_prefix=0))
    assert pieces(folder, "the")[1] == ["the"]
    tokenizer = sentencepiece_json() | {"normalizer": {"type": "Replace"}}
    write_json(folder / "tokenizer.json", tokenizer)
    assert pieces(folder, "the the")[1] == ["the", " the"]
    tokenizer["pre_tokenizer"] = {"type": "Metaspace", "prepend_scheme": "first"}
    write_json(folder / "tokenizer.json", tokenizer)
    assert pieces(folder, "the the")[1] == [" the", " the"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pre_tokenizer": None}, "unsupported pre-tokenizer None"),
        ({"pre_tokenizer": steps(r"\d+", False)}, r"unsupported pre-tokenizer \\d\+"),
        ({"pre_tokenizer": steps(LLAMA3, True)}, "unsupported pre-tokenizer"),
        (
            {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}},
            "with a space before the text",
        ),
        ({"normalizer": {"type": "Lowercase"}}, 'unsupported normalizer "Lowercase"'),
        ({"model": {"type": "Unigram", "vocab": []}}, 'unsupported tokenizer "Unigram"'),
        (
            {"model": {"type": "BPE", "vocab": {"x": 0, "y": 300}, "merges": []}},
            "301 tokens, but only 280 embeddings",
        ),
    ],
)
def test_tokenizers_that_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    tokenizer = byte_level(LLAMA3, ["h e"]) | change
    with pytest.raises(ConversionError, match=message):
        metadata(checkpoint(tmp_path, tokenizer))


def test_missing_and_faulty_files(tmp_path: Path) -> None:
    checkpoint(tmp_path, None)
    with pytest.raises(ConversionError, match=r"tokenizer.json is missing"):
        metadata(tmp_path)
    for data in (b"", b"no such thing", sentencepiece_model()[:-4], message((1, b""))):
        (tmp_path / "tokenizer.model").write_bytes(data)
        with pytest.raises(ConversionError, match=r"tokenizer.model is not a SentencePiece model"):
            metadata(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(sentencepiece_model(kind=1))
    with pytest.raises(ConversionError, match="not of the BPE kind"):
        metadata(tmp_path)
