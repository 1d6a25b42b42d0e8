"""The magics in an IPython shell: options, conversations, subcommands, loading."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_ollama_magics.arguments import split_expression
from jupyter_ollama_magics.failures import OllamaMagicsError
from scripted_server import ScriptedServer


def chat(shell: InteractiveShell, line: str, cell: str = "hi") -> Any:
    return shell.run_cell_magic("chat", line, cell)


def test_prompt_and_options_reach_the_server(
    shell: InteractiveShell, server: ScriptedServer
) -> None:
    shell.push({"name": "Ada", "size": "135m", "code": "f'{x}'"})
    line = (
        "smollm2:{size} --system 'Talk to {name}.' --temperature 0 --num-ctx 512 --num-predict 9 "
        '--seed 7 -p top_k=20 -p \'stop=["a", "b"]\' -p mode=x -o {name}'
    )
    result = chat(shell, line, "Hello {name}: {code} {'a': 1} {{name}}\n")
    (body,) = server.bodies("/api/chat")
    assert body == {
        "model": "smollm2:135m",
        "messages": [
            {"role": "system", "content": "Talk to Ada."},
            {"role": "user", "content": "Hello Ada: f'{x}' {'a': 1} {name}"},
        ],
        "options": {
            "temperature": 0.0,
            "num_ctx": 512,
            "num_predict": 9,
            "seed": 7,
            "top_k": 20,
            "stop": ["a", "b"],
            "mode": "x",
        },
        "progress": True,
    }
    assert shell.user_ns["Ada"] is result
    assert str(result) == repr(result) == result.text == "Hello there."
    assert result.message == {"role": "assistant", "content": "Hello there."}
    assert result.model == "smollm2:135m"
    assert result.metrics["eval_count"] == 40
    assert result.metrics["tokens_per_second"] == 20.0
    assert result.options["seed"] == 7


def test_raw_takes_the_cell_literally(shell: InteractiveShell, server: ScriptedServer) -> None:
    shell.push({"x": "value"})
    chat(shell, "smollm2:135m --raw", "{x} {{x}} $x")
    chat(shell, "--new", "{x} {{x}} $x")
    asked = [body["messages"][-1]["content"] for body in server.bodies("/api/chat")]
    assert asked == ["{x} {{x}} $x", "value {x} $x"]


def test_follow_ups_continue_the_conversation(
    shell: InteractiveShell, server: ScriptedServer
) -> None:
    chat(shell, "smollm2:135m --system Short.", "one")
    server.steps = ["Fine."]
    chat(shell, "", "two")
    chat(shell, "-c other", "three")
    result = chat(shell, "", "four")
    chat(shell, "--new", "five")
    turns = [[m["content"] for m in body["messages"]] for body in server.bodies("/api/chat")]
    assert turns == [
        ["Short.", "one"],
        ["Short.", "one", "Hello there.", "two"],
        ["three"],
        ["Short.", "one", "Hello there.", "two", "Fine.", "four"],
        ["five"],
    ]
    assert [m["role"] for m in result.conversation.messages] == ["user", "assistant"] * 3
    assert {body["model"] for body in server.bodies("/api/chat")} == {"smollm2:135m"}


def test_failed_turns_leave_no_trace(shell: InteractiveShell, server: ScriptedServer) -> None:
    chat(shell, "smollm2:135m", "one")
    server.steps = ["half", {"error": "out of memory"}]
    with pytest.raises(OllamaMagicsError, match="out of memory"):
        chat(shell, "", "two")
    server.steps = ["Fine."]
    chat(shell, "", "three")
    turns = [m["content"] for m in server.bodies("/api/chat")[-1]["messages"]]
    assert turns == ["one", "Hello there.", "three"]


def test_thinking_is_folded_and_not_sent_back(
    shell: InteractiveShell, server: ScriptedServer
) -> None:
    server.steps = [{"message": {"thinking": "Hm <b>."}}, "Yes."]
    result = chat(shell, "smollm2:135m")
    assert (result.thinking, result.text) == ("Hm <b>.", "Yes.")
    assert "<details><summary>Thinking</summary>\n\nHm &lt;b>." in result.markdown()
    assert "Hm" not in result.plain()
    chat(shell, "")
    assert server.bodies("/api/chat")[-1]["messages"][1] == {
        "role": "assistant",
        "content": "Yes.",
    }


def test_the_only_fitting_model_is_used(shell: InteractiveShell, server: ScriptedServer) -> None:
    assert chat(shell, "").model == "smollm2:135m"
    assert shell.run_line_magic("embed", "'abc'").tolist() == [3.0, 97.0, 0.5]
    assert server.bodies("/api/embed")[0]["model"] == "all-minilm:latest"


def test_several_models_or_none(shell: InteractiveShell, server: ScriptedServer) -> None:
    server.models.append({**server.models[0], "name": "gemma3:latest"})
    with pytest.raises(OllamaMagicsError, match=r"Which model\?.*: gemma3, smollm2:135m\.$"):
        chat(shell, "")
    server.models.clear()
    with pytest.raises(OllamaMagicsError, match=r"No embedding model .* has no models"):
        shell.run_line_magic("embed", "'abc'")


def test_model_chosen_last_wins(shell: InteractiveShell, server: ScriptedServer) -> None:
    server.models.append({**server.models[0], "name": "gemma3:latest"})
    shell.run_line_magic("ollama", "use gemma3")
    chat(shell, "")
    chat(shell, "smollm2:135m")
    chat(shell, "")
    shell.run_line_magic("config", "OllamaMagics.model = 'gemma3'")
    chat(shell, "")
    used = [body["model"] for body in server.bodies("/api/chat")]
    assert used == ["gemma3:latest", "smollm2:135m", "smollm2:135m", "gemma3"]


def test_a_misspelt_model_does_not_stick(shell: InteractiveShell, server: ScriptedServer) -> None:
    chat(shell, "smollm2:135m")
    with pytest.raises(OllamaMagicsError, match=r"'smolm2:135m' not found\. Did you mean smollm2"):
        chat(shell, "smolm2:135m")
    chat(shell, "")
    assert server.bodies("/api/chat")[-1]["model"] == "smollm2:135m"


@pytest.mark.parametrize(
    ("line", "cell", "expected"),
    [
        ("--bogus", "hi", r"unrecognized arguments: --bogus\. See %%chat\?"),
        ("a b c", "hi", "unrecognized arguments: b c"),
        ("--temperature hot", "hi", "invalid float value: 'hot'"),
        ("-p top_k", "hi", "-p takes key=value"),
        ("--system 'open", "hi", "No closing quotation"),
        ("-o 1x", "hi", "name of a variable"),
        ("", " \n", "no prompt"),
    ],
)
def test_mistakes_in_the_line(shell: InteractiveShell, line: str, cell: str, expected: str) -> None:
    with pytest.raises(OllamaMagicsError, match=expected):
        chat(shell, line, cell)


def test_an_unreachable_server_is_discovered_again(
    shell: InteractiveShell, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.run_line_magic("ollama", "connect")
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", "http://127.0.0.1:9")
    shell.run_line_magic("config", "OllamaMagics.url = 'http://127.0.0.1:9'")
    message = (
        r"Cannot reach an Ollama server at http://127.0.0.1:9 \(Connection refused\); "
        r"set JUPYTER_OLLAMA_URL or OLLAMA_HOST to the address of yours, "
        r"or run %ollama connect URL\."
    )
    with pytest.raises(OllamaMagicsError, match=message):
        chat(shell, "smollm2:135m")
    with pytest.raises(OllamaMagicsError, match="Cannot reach"):
        shell.run_line_magic("ollama", "connect http://127.0.0.1:10")
    shell.run_line_magic("ollama", f"connect {server.url} --token secret")
    assert chat(shell, "smollm2:135m").text == "Hello there."
    assert server.requests[-1][2]["Authorization"] == "Bearer secret"


def test_ollama_tables(shell: InteractiveShell) -> None:
    models = shell.run_line_magic("ollama", "list")
    assert models["name"].tolist() == ["smollm2:135m", "all-minilm:latest"]
    assert models["size"].sum() == 191_000_000
    assert "145 MB" in repr(models)
    loaded = shell.run_line_magic("ollama", "ps")
    assert loaded["unloads"].tolist() == ["Forever"]
    assert loaded["context"].tolist() == [4096]


def test_ollama_texts(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    for line in ("show smollm2:135m", "version", "help", ""):
        shell.run_line_magic("ollama", line)
    printed = capsys.readouterr().out
    for text in ("context length    8192", 'stop "<|im_end|>"', "Ollama API 0.99.1 at http://127"):
        assert text in printed
    assert printed.count("%ollama list ") == 2


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("lst", r"no command lst\. Did you mean list\?"),
        ("show", "Usage: %ollama show NAME$"),
        ("show a b", "Usage: %ollama show NAME$"),
        ("show smollm2:135", "not found. Did you mean smollm2:135m"),
        ("use nope", "model 'nope' not found"),
        ("connect ftp://x", "must begin with http"),
    ],
)
def test_ollama_mistakes(shell: InteractiveShell, line: str, expected: str) -> None:
    with pytest.raises(OllamaMagicsError, match=expected):
        shell.run_line_magic("ollama", line)


def test_terminal_shows_the_answer_once(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_cell("%%chat smollm2:135m\nhi", store_history=True)
    printed = capsys.readouterr().out
    assert printed.count("Hello there.") == 1
    assert "40 tokens · 20.0 tokens/s" in printed
    assert shell.user_ns["_"].text == "Hello there."
    shell.run_cell("_", store_history=True)
    assert "Hello there." in capsys.readouterr().out


def test_settings_are_listed(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run_line_magic("config", "OllamaMagics")
    listed = capsys.readouterr().out
    for name in (
        *("url", "token", "model", "embed_model", "refresh_hz", "system", "show_stats"),
        *("tool_policy", "tool_rounds"),
    ):
        assert f"OllamaMagics.{name}=" in listed


def test_help_documents_the_options(shell: InteractiveShell) -> None:
    documented = shell.magics_manager.magics["cell"]["chat"].__doc__
    for option in ("--system", "--new", "--conversation", "--num-ctx", "--raw", "-o NAME"):
        assert option in documented


def test_unloading_leaves_nothing(shell: InteractiveShell) -> None:
    shell.run_line_magic("reload_ext", "jupyter_ollama_magics")
    matchers = [m for m in shell.Completer.custom_matchers if "ollama" in m.__name__]
    assert len(matchers) == 1
    shell.run_line_magic("unload_ext", "jupyter_ollama_magics")
    assert not [m for m in shell.Completer.custom_matchers if "ollama" in m.__name__]
    assert not [c for c in shell.configurables if type(c).__name__ == "OllamaMagics"]
    for kind, name in (("cell", "chat"), ("line", "embed"), ("line", "ollama")):
        assert name not in shell.magics_manager.magics[kind]
    shell.run_line_magic("load_ext", "jupyter_ollama_magics")
    assert chat(shell, "smollm2:135m").text == "Hello there."


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("df.text", ("df.text", "")),
        ('df["a --model b"] --model x', ('df["a --model b"]', "--model x")),
        ("'it is - me' -o v", ("'it is - me'", "-o v")),
        ("[a -b, c] --dimensions 3", ("[a -b, c]", "--dimensions 3")),
    ],
)
def test_split_expression(line: str, expected: tuple[str, str]) -> None:
    assert split_expression(line) == expected


@pytest.mark.parametrize("line", ["", "--model x df.text", "df.text df.other", "a b --model c"])
def test_split_expression_refuses(line: str) -> None:
    with pytest.raises(OllamaMagicsError, match="expression first"):
        split_expression(line)


def test_loading_is_quick_and_light() -> None:
    code = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
before = set(sys.modules)
import jupyter_ollama_magics
shell.run_line_magic("load_ext", "jupyter_ollama_magics")
heavy = {"pandas", "numpy", "ipywidgets", "PIL", "httpx2", "httpcore2", "ssl", "jupyter_core"}
print(sorted(heavy & (set(sys.modules) - before)))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("[]\n", "")
