"""Tab completion of model names."""

from __future__ import annotations

import socket
from pathlib import Path

import pandas as pd
import pytest
from crowd import wait_until
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from jupyter_ollama_magics.completion import fragment
from scripted_server import ScriptedServer

MODELS = ["smollm2:135m", "all-minilm:latest"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%%chat ", ""),
        ("%%chat smollm2:1", "smollm2:1"),
        ("%%chat --new --temperature 0.5 --system 'be kind' sm", "sm"),
        ("%%chat -p a=b sm", "sm"),
        ("%ollama use al", "al"),
        ("ollama show x/y:z", "x/y:z"),
        ("%embed df.text --model all", "all"),
        ("v = %embed df.text --model=", ""),
        ("%%chat --sys", None),
        ("%%chat smollm2 sm", None),
        ("%%chat -o sm", None),
        ("%embed df.te", None),
        ("%ollama li", None),
        ("chatty sm", None),
    ],
)
def test_places_of_models(line: str, expected: str | None) -> None:
    assert fragment(line) == expected


def complete(shell: InteractiveShell, text: str, kind: str = "model") -> list[tuple[str, str]]:
    """Return (text before, word) of each word of a kind offered at the end of ``text``."""
    with provisionalcompleter():
        offers = list(shell.Completer.completions(text, len(text)))
    return [(text[: offer.start], offer.text) for offer in offers if offer.type == kind]


def test_colon_belongs_to_the_name(shell: InteractiveShell) -> None:
    assert complete(shell, "%%chat smollm2:1") == [("%%chat ", "smollm2:135m")]
    assert complete(shell, "%%chat ") == [
        ("%%chat ", "smollm2:135m"),
        ("%%chat ", "all-minilm:latest"),
    ]


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("%%chat smollm2 --th", "option", ["--think"]),
        ("%%chat --no-think --n", "option", ["--new", "--no-think", "--num-ctx", "--num-predict"]),
        ("%%chat -f m", "format", ["math", "md"]),
        ("%%chat --format=j", "format", ["json"]),
        ("%%chat --think me", "level", ["medium"]),
        ("%%chat --think sm", "model", []),
        ("%%chat --think high sm", "model", ["smollm2:135m"]),
        ("%%chat --tools weather_a,weather_", "name", ["weather_a", "weather_b"]),
        ("%%chat smollm2 --au", "option", ["--audio"]),
        ("%%chat --audio weather_s", "name", ["weather_shape"]),
        ("%%chat --schema weather_", "name", ["weather_a", "weather_b", "weather_shape"]),
        ("%ollama hi", "command", ["history"]),
        ("%ollama history l", "command", ["load"]),
        ("%ollama rm sm", "model", ["smollm2:135m"]),
        ("%%ollama create poet\nFROM sm", "model", ["smollm2:135m"]),
        ("%%ollama create poet\nPARAMETER seed 1\nfrom ", "model", MODELS),
        ("%%ollama create poet\nSYSTEM sm", "model", []),
        ("FROM sm", "model", []),
    ],
)
def test_options_values_and_commands(
    shell: InteractiveShell, text: str, kind: str, expected: list[str]
) -> None:
    shell.push({"weather_a": complete, "weather_b": fragment, "weather_shape": {"type": "object"}})
    assert [word for _, word in complete(shell, text, kind)] == expected


def test_a_modelfile_may_name_a_file(
    shell: InteractiveShell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.gguf").touch()
    monkeypatch.chdir(tmp_path)
    with provisionalcompleter():
        text = "%%ollama create poet\nFROM ./ti"
        offers = [offer.text for offer in shell.Completer.completions(text, len(text))]
    assert offers == ["./tiny.gguf"]


def test_expressions_complete_as_python(shell: InteractiveShell) -> None:
    shell.push({"frame": pd.DataFrame({"text": []})})
    with provisionalcompleter():
        offers = [offer.text for offer in shell.Completer.completions("%embed frame.te", 15)]
    assert offers == ["text"]
    assert complete(shell, "x = sm") == []


def test_names_are_kept_for_a_while(shell: InteractiveShell, server: ScriptedServer) -> None:
    for _ in range(3):
        complete(shell, "%%chat s")
    assert [path for path, _, _ in server.requests] == ["/api/tags"]
    shell.run_line_magic("ollama", "connect")
    server.models[0]["name"] = "sunny:1b"
    assert complete(shell, "%%chat s") == [("%%chat ", "sunny:1b")]


def test_nothing_without_an_answer(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        shell.run_line_magic("config", f"OllamaMagics.url = '{url}'")
        assert complete(shell, "%%chat s") == []
        assert complete(shell, "%%chat s") == []
        silent.settimeout(5)
        silent.accept()[0].close()
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):  # one question at a time
            silent.accept()
    shell.run_line_magic("config", "OllamaMagics.url = 'nonsense://x'")
    assert complete(shell, "%%chat s") == []


FRAME = pd.DataFrame({"text": ["x"], "two words": ["y"], "n": [1]})


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ('frame.ollama.chat("Say {te', "column", ["text"]),
        ('frame.ollama.chat("Say {', "column", ["text", "two words", "n"]),
        ("y = frame.ollama.chat('{n} of {two w", "column", ["two words"]),
        ('frame["two words"].ollama.chat(\n    "Translate {', "column", ["text", "two words"]),
        ('column.ollama.classify(["a"], """{', "column", ["text", "name"]),
        ('frame.text.ollama.classify(["a", "b"], model="smollm2:1', "model", ["smollm2:135m"]),
        ("frame.ollama.embed('text', model='all", "model", ["all-minilm:latest"]),
        ('column.ollama.chat(model=["smollm2:135m", "', "model", MODELS),
        ('column.ollama.at("http://x:1").chat(model="s', "model", ["smollm2:135m"]),
        ('frame.ollama.estimate("chat", "text", model="s', "model", ["smollm2:135m"]),
        # other places
        ('frame.ollama.chat("{{te', "column", []),
        ('frame.ollama.chat(f"{te', "column", []),
        ('frame.ollama.chat("{text} te', "column", []),
        ('frame.ollama.chat("text"); print("{te', "column", []),
        ('print("{te', "column", []),
        ('unknown.ollama.chat("{te', "column", []),
        ('column.ollama.chat("a model="s', "model", []),
        ('dict(model="s', "model", []),
        ('column.ollama.chat("x"); open(model="s', "model", []),
    ],
)
def test_models_and_columns_in_calls_of_rows(
    shell: InteractiveShell, text: str, kind: str, expected: list[str]
) -> None:
    shell.push({"frame": FRAME, "column": pd.Series(["x"], name="name")})
    # A busy machine may need longer than Tab waits: the names are known from then on.
    wait_until(lambda: bool(complete(shell, "%%chat s")))
    offered = complete(shell, text, kind)
    assert [word for _, word in offered] == expected
    for before, word in offered:
        assert text == before + word[: len(text) - len(before)]


def test_completion_runs_no_code_of_the_user(shell: InteractiveShell) -> None:
    class Trap:
        @property
        def data(self) -> None:
            raise AssertionError

        def __getitem__(self, name: str) -> None:
            raise AssertionError

        columns = data

    shell.push({"trap": Trap()})
    for text in ('trap.data.ollama.chat("{', 'trap["x"].ollama.chat("{', 'trap.ollama.chat("{'):
        assert complete(shell, text, "column") == []
