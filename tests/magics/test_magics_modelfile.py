"""Modelfiles: grammar, printing, requests."""

from __future__ import annotations

from pathlib import Path

import pytest
from jupyter_ollama_client.modelfile import Command, InvalidModelfile, LocalFile, Modelfile, parse

COMMANDS = (
    'command must be one of "from", "license", "template", "system", "adapter", "draft", '
    '"renderer", "parser", "parameter", "message", or "requires"'
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a", [Command("from", "a")]),
        ("from a\n", [Command("from", "a")]),
        ("  FrOm \t a b \t\r\n", [Command("from", "a b")]),
        ("# note\n\n   # FROM x\nFROM a # kept", [Command("from", "a # kept")]),
        ("FROM a\nFROM b\nFROM c", [Command("from", name) for name in "abc"]),
        ("FROM a\nADAPTER ./l.gguf", [Command("from", "a"), Command("adapter", "./l.gguf")]),
        ("FROM a\nSYSTEM hi there", [Command("from", "a"), Command("system", "hi there")]),
        ('FROM a\nSYSTEM "x"', [Command("from", "a"), Command("system", "x")]),
        ('FROM a\nSYSTEM ""', [Command("from", "a"), Command("system", "")]),
        ("FROM a\nSYSTEM \n", [Command("from", "a"), Command("system", "")]),
        ('FROM a\nSYSTEM "x\n y"\n', [Command("from", "a"), Command("system", "x\n y")]),
        ('FROM a\nSYSTEM "x" y"', [Command("from", "a"), Command("system", 'x" y')]),
        ('FROM a\nSYSTEM "x" y\nz"', [Command("from", "a"), Command("system", 'x" y\nz')]),
        ('FROM a\nSYSTEM """\nx\n"""', [Command("from", "a"), Command("system", "\nx\n")]),
        ('FROM a\nSYSTEM """x "y" z""" \n', [Command("from", "a"), Command("system", 'x "y" z')]),
        (
            'FROM a\nSYSTEM """x\n"y""z"\n"""',
            [Command("from", "a"), Command("system", 'x\n"y""z"\n')],
        ),
        ('FROM a\nSYSTEM """""" ', [Command("from", "a"), Command("system", "")]),
        ("FROM a\nSYSTEM '''x", [Command("from", "a"), Command("system", "'''x")]),
        ('FROM a\nSYSTEM x"y', [Command("from", "a"), Command("system", 'x"y')]),
        ("FROM a\nSYSTEM a\\nb", [Command("from", "a"), Command("system", "a\\nb")]),
        ("FROM a\nSYSTEM a\u200bb\tc", [Command("from", "a"), Command("system", "ab\tc")]),
        ('FROM a\nSYSTEM "a\u200bb"', [Command("from", "a"), Command("system", "a\u200bb")]),
        ("FROM a\nSYSTEM 你好👋", [Command("from", "a"), Command("system", "你好👋")]),
        (
            "FROM a\nPARAMETER temperature 1\nparameter stop <|x|>",
            [
                Command("from", "a"),
                Command("parameter", "1", "temperature"),
                Command("parameter", "<|x|>", "stop"),
            ],
        ),
        (
            'FROM a\nMESSAGE user hi: you\nMESSAGE assistant """a\nb"""',
            [
                Command("from", "a"),
                Command("message", "hi: you", "user"),
                Command("message", "a\nb", "assistant"),
            ],
        ),
        (
            'FROM a\nTEMPLATE """{{ .X }}\n"""\nLICENSE MIT\nRENDERER r\nPARSER p\nREQUIRES 1.2.3',
            [
                Command("from", "a"),
                Command("template", "{{ .X }}\n"),
                Command("license", "MIT"),
                Command("renderer", "r"),
                Command("parser", "p"),
                Command("requires", "1.2.3"),
            ],
        ),
    ],
)
def test_grammar(text: str, expected: list[Command]) -> None:
    parsed = parse(text)
    assert parsed.commands == expected
    assert parse(str(parsed)) == parsed


@pytest.mark.parametrize(
    "data",
    ["FROM é", "FROM é".encode(), "\ufeffFROM é".encode(), "FROM é".encode("utf-16")]
    + ["\ufeffFROM é".encode(name) for name in ("utf-16-le", "utf-16-be")],
)
def test_encodings(data: str | bytes) -> None:
    assert parse(data).commands == [Command("from", "é")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no FROM line"),
        ("# FROM a", "no FROM line"),
        ("SYSTEM x", "no FROM line"),
        ("FROM", "unexpected EOF"),
        ('FROM a\nSYSTEM "x', "unexpected EOF"),
        ('FROM a\nSYSTEM """x"', "unexpected EOF"),
        ('FROM a\nSYSTEM """x\n""', "unexpected EOF"),
        ("FROM a\nPARAMETER", "unexpected EOF"),
        ("FROM a\nPARAMETER num_ctx", "unexpected EOF"),
        ("FROM a\nPARAMETER num_ctx\nSYSTEM x", "unexpected EOF"),
        ("FROM a\nMESSAGE system", "unexpected EOF"),
        ("\nFROM a\nBADCOMMAND x y", f"(line 3): {COMMANDS}"),
        ("FROM a\r\nBADCOMMAND x", f"(line 2): {COMMANDS}"),
        ('FROM a\nSYSTEM """x\ny"""\nBAD x', f"(line 4): {COMMANDS}"),
        ("{}", f"(line 1): {COMMANDS}"),
        ("FROM\nx", f"(line 1): {COMMANDS}"),
        (
            "FROM a\nMESSAGE badguy x",
            '(line 2): message role must be one of "system", "user", or "assistant"',
        ),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(InvalidModelfile) as caught:
        parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (Command("from", "a"), "FROM a"),
        (Command("system", "plain 'text'"), "SYSTEM plain 'text'"),
        (Command("system", " x"), 'SYSTEM " x"'),
        (Command("system", "x "), 'SYSTEM "x "'),
        (Command("system", "a\nb"), 'SYSTEM "a\nb"'),
        (Command("system", 'a\n"b"'), 'SYSTEM """a\n"b""""'),
        (Command("parameter", "x ", "stop"), 'PARAMETER stop "x "'),
        (Command("message", "hi", "user"), "MESSAGE user hi"),
    ],
)
def test_printing(command: Command, text: str) -> None:
    assert str(command) == text
    assert parse(f"FROM x\n{text}").commands[-1] == command


def test_request_from_a_name(tmp_path: Path) -> None:
    text = """
        FROM llama3
        PARAMETER temperature 0.5
        PARAMETER temperature 0.7
        PARAMETER num_ctx 4096
        PARAMETER use_mmap true
        PARAMETER stop a
        PARAMETER stop b
        PARAMETER penalize_newline false
        TEMPLATE {{ .Prompt }}
        SYSTEM You are.
        LICENSE one
        LICENSE two
        MESSAGE user hi
        MESSAGE assistant ho
        RENDERER r
        PARSER p
        REQUIRES v0.14.0
    """
    body, files = parse(text).to_request(tmp_path)
    assert files == []
    assert body == {
        "from": "llama3",
        "parameters": {"temperature": 0.7, "num_ctx": 4096, "use_mmap": True, "stop": ["a", "b"]},
        "template": "{{ .Prompt }}",
        "system": "You are.",
        "license": ["one", "two"],
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}],
        "renderer": "r",
        "parser": "p",
        "requires": "0.14.0",
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("PARAMETER num_ctx x", "invalid int value [x]"),
        ("PARAMETER num_ctx 1.5", "invalid int value [1.5]"),
        ("PARAMETER top_p x", "invalid float value [x]"),
        ("PARAMETER top_p nan", "invalid float value [nan]"),
        ("PARAMETER use_mmap maybe", "invalid bool value [maybe]"),
        ("PARAMETER tensor_split 3,1", "invalid float value [3,1]"),
        ("PARAMETER imaginary 1", "unknown parameter 'imaginary'"),
        ("REQUIRES soon", "requires must be a valid semver (e.g. 0.14.0)"),
        ("ADAPTER ./absent.gguf", "no such adapter: ./absent.gguf"),
    ],
)
def test_request_errors(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(InvalidModelfile) as caught:
        parse(f"FROM a\n{line}").to_request(tmp_path)
    assert str(caught.value) == message


def test_how_to_load_a_model(tmp_path: Path) -> None:
    lines = ["kv_cache_type q8_0", "flash_attention true", "tensor_split 3", "tensor_split 1.5"]
    lines.append("num_cpu_moe 12")
    text = "\n".join(["FROM a", *(f"PARAMETER {line}" for line in lines)])
    assert parse(text).to_request(tmp_path)[0]["parameters"] == {
        "num_cpu_moe": 12,
        "kv_cache_type": "q8_0",
        "flash_attention": True,
        "tensor_split": [3.0, 1.5],
    }


@pytest.mark.parametrize("path", ["./absent.gguf", "/absent/model", "~/absent", "..", "C:\\m.gguf"])
def test_a_path_is_not_a_model(tmp_path: Path, path: str) -> None:
    with pytest.raises(InvalidModelfile) as caught:
        parse(f"FROM {path}").to_request(tmp_path / "absent")
    assert str(caught.value) == f"no such file or folder: {path}"


def test_request_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("a.gguf", "sub/a.gguf", "lora.gguf", "small/a.gguf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    text = "FROM ./a.gguf\nFROM ~/sub/a.gguf\nADAPTER lora.gguf\nDRAFT small"
    body, files = parse(text).to_request(tmp_path)
    assert body == {}
    assert files == [
        LocalFile("files", "a.gguf", tmp_path / "a.gguf"),
        LocalFile("files", "2/a.gguf", tmp_path / "sub/a.gguf"),
        LocalFile("adapters", "lora.gguf", tmp_path / "lora.gguf"),
        LocalFile("draft_files", "3/a.gguf", tmp_path / "small/a.gguf"),
    ]


def test_request_from_a_folder(tmp_path: Path) -> None:
    model = tmp_path / "model"
    wanted = {
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "config.json",
        "tokenizer.json",
        "tokenizer.model",
        "vocab.txt",
        "1_Pooling/config.json",
    }
    for name in (*wanted, "other.safetensors", "README.md", "pytorch_model.bin", "x.gguf"):
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).touch()
    body, files = parse("FROM ./model").to_request(tmp_path)
    assert body == {}
    assert {file.name for file in files} == wanted
    assert {file.field for file in files} == {"files"}
    assert all(file.path == model / file.name for file in files)


def test_request_from_a_folder_of_gguf_takes_nothing_else(tmp_path: Path) -> None:
    for name in ("x.gguf", "params.json"):
        (tmp_path / name).touch()
    assert [file.name for file in parse("FROM .").to_request(tmp_path)[1]] == ["x.gguf"]


def test_folder_without_a_model_or_with_a_way_out(tmp_path: Path) -> None:
    inside = tmp_path / "model"
    inside.mkdir()
    with pytest.raises(InvalidModelfile, match="no Modelfile or safetensors files found"):
        parse("FROM ./model").to_request(tmp_path)
    (tmp_path / "secret").touch()
    (inside / "model.safetensors").symlink_to(tmp_path / "secret")
    with pytest.raises(InvalidModelfile, match="insecure path"):
        parse("FROM ./model").to_request(tmp_path)


def test_long_quotes_are_read_at_once() -> None:
    licence = "\n".join(f'line {number} of a "long" licence' for number in range(50_000))
    modelfile = Modelfile([Command("from", "a"), Command("license", licence)])
    assert parse(str(modelfile)) == modelfile
