"""``%%chat --fix``, ``%ollama history`` and the commands that change the server's models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_ollama_magics.failures import OllamaMagicsError
from real_kernel import Kernel
from scripted_server import ScriptedServer

GREEDY = "smollm2 --temperature 0 --num-predict 12"


def chat(shell: InteractiveShell, line: str, cell: str = "hi") -> Any:
    return shell.run_cell_magic("chat", line, cell)


def ollama(shell: InteractiveShell, line: str) -> Any:
    return shell.run_line_magic("ollama", line)


def test_fix_sends_the_last_error_and_its_cell(kernel: Kernel, server: ScriptedServer) -> None:
    kernel.run("def part(n):\n    return 1 / n")
    kernel.run("total = 3\npart(total - 3)  # the culprit")
    kernel.run("fine = 1")
    kernel.run("%%chat nope\nThis fails, too, with its own reason.")
    reply, _ = kernel.run("%%chat smollm2:135m --fix")
    assert reply["status"] == "ok"
    kernel.run("for x in")
    kernel.run("%%chat --fix\nBriefly, {fine} sentence.")
    first, second = (body["messages"][-1]["content"] for body in server.bodies("/api/chat")[1:])
    cell, error = first.split("The error was:")
    assert "````python\ntotal = 3\npart(total - 3)  # the culprit\n````" in cell
    assert "ZeroDivisionError: division by zero" in error
    assert "return 1 / n" in error
    assert "IPython" not in error
    assert first.endswith("Explain the error and show the corrected cell.")
    assert "````python\nfor x in\n````" in second
    assert "SyntaxError" in second
    assert second.endswith("Briefly, 1 sentence.")


def test_fix_without_an_error(shell: InteractiveShell, server: ScriptedServer) -> None:
    with pytest.raises(OllamaMagicsError, match="no cell has raised an exception yet"):
        chat(shell, "smollm2:135m --fix")
    with pytest.raises(OllamaMagicsError, match="no prompt"):
        chat(shell, "smollm2:135m", "\n")
    assert server.bodies("/api/chat") == []


def test_unloading_stops_recording_errors(shell: InteractiveShell) -> None:
    def observers() -> int:
        return len(shell.events.callbacks["post_run_cell"])

    before = observers()
    transformers = len(shell.input_transformers_cleanup)
    shell.run_line_magic("unload_ext", "jupyter_ollama_magics")
    assert observers() == before - 1
    assert len(shell.input_transformers_cleanup) == transformers - 1
    shell.run_line_magic("load_ext", "jupyter_ollama_magics")
    assert observers() == before


def test_conversations_survive_a_kernel(
    chat_shell: InteractiveShell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = chat(chat_shell, f"{GREEDY} -s Short. -c tea", "What is tea?")
    chat(chat_shell, GREEDY, "And coffee?\nIn one line.")
    table = ollama(chat_shell, "history")
    assert table.to_dict("list") == {
        "conversation": ["tea", "default"],
        "turns": [1, 1],
        "system": ["Short.", ""],
        "begins": ["What is tea?", "And coffee? In one line."],
    }
    file = tmp_path / "a b.json"
    ollama(chat_shell, f"history save '{file}'")
    chat_shell.run_line_magic("reload_ext", "jupyter_ollama_magics")
    assert ollama(chat_shell, "history").empty
    ollama(chat_shell, f"history load '{file}'")
    assert "Loaded tea, default." in capsys.readouterr().out
    conversation = chat(
        chat_shell, "-c tea --temperature 0 --num-predict 4", "And now?"
    ).conversation
    assert conversation.system == "Short."
    assert conversation.messages[1] == first.message
    assert [m["role"] for m in conversation.messages] == ["user", "assistant"] * 2
    ollama(chat_shell, "new tea")
    assert ollama(chat_shell, "history").set_index("conversation").turns["tea"] == 0


def test_the_oldest_turns_are_forgotten(chat_shell: InteractiveShell) -> None:
    magics = chat_shell.magics_manager.registry["OllamaMagics"]
    conversation = chat(chat_shell, f"{GREEDY} --new", "Tell me about tea.").conversation
    chat(chat_shell, GREEDY, "And coffee?")
    assert len(conversation.before()) == 4
    magics.history_tokens = 20  # shorter than a turn
    last = chat(chat_shell, GREEDY, "And milk?")
    assert conversation.before() == [{"role": "user", "content": "And milk?"}, last.message]
    assert len(conversation.messages) == 6
    after = chat(chat_shell, GREEDY, "And water?")
    assert "the first 4 messages are forgotten" in after.footer
    assert after.metrics["prompt_eval_count"] < last.metrics["prompt_eval_count"]


def test_a_prompt_that_does_not_fit_is_noted(chat_shell: InteractiveShell) -> None:
    result = chat(chat_shell, f"{GREEDY} --new --num-ctx 64 --raw", "many words " * 100)
    assert result.metrics["truncated"] > 0
    assert "tokens of the prompt did not fit; --num-ctx N raises the limit" in result.footer


def test_an_answer_that_repeats_itself_is_noted(chat_shell: InteractiveShell) -> None:
    forced = "smollm2 --new --num-predict 100 -p logit_bias='{\"260\": 100}'"
    result = chat(chat_shell, forced)
    assert (result.done_reason, result.metrics["eval_count"]) == ("stop", 31)
    assert "ended because it only repeated itself" in result.footer
    result = chat(chat_shell, f"{forced} -p repetition_stop=false")
    assert (result.done_reason, result.metrics["eval_count"]) == ("length", 100)
    assert "repeated" not in result.footer


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, r"h\.json: No such file or directory\.$"),
        ("{", r"h\.json is not a file of %ollama history save\.$"),
        ("[]", "is not a file of"),
        (json.dumps({"conversations": [{"name": "a"}]}), "is not a file of"),
        (
            json.dumps(
                {"conversations": [{"name": "a", "system": "", "messages": [{"role": "x"}]}]}
            ),
            "is not a file of",
        ),
    ],
)
def test_files_that_are_not_histories(
    shell: InteractiveShell, tmp_path: Path, content: str | None, expected: str
) -> None:
    if content is not None:
        (tmp_path / "h.json").write_text(content)
    with pytest.raises(OllamaMagicsError, match=expected):
        ollama(shell, f"history load {tmp_path}/h.json")
    assert ollama(shell, "history").empty


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("history save", r"^Usage: %ollama history \[save FILE \| load FILE\]$"),
        ("history drop x", r"^Usage: %ollama history"),
        ("history save /nowhere/h.json", r"^/nowhere/h\.json: No such file or directory\.$"),
        ("cp a", "^Usage: %ollama cp NAME NEW$"),
        ("create", "^Usage: %ollama create NAME FROM$"),
        ("rm nope", "model 'nope' not found"),
        ("stop nope", "model 'nope' not found"),
        ("cp nope other", "not found"),
        ("create a smollm2 -p x", r"-p takes key=value, not x\. See %ollama\?$"),
    ],
)
def test_mistakes(chat_shell: InteractiveShell, line: str, expected: str) -> None:
    with pytest.raises(OllamaMagicsError, match=expected):
        ollama(chat_shell, line)


def test_models_are_created_copied_stopped_and_removed(chat_shell: InteractiveShell) -> None:
    ollama(chat_shell, "create poet smollm2 --system 'Answer in rhymes.' -p temperature=0.5")
    ollama(chat_shell, "cp poet bard")
    names = [f"{name}:latest" for name in ("poet", "bard")]
    assert set(names) < set(ollama(chat_shell, "list")["name"])
    magics: Any = chat_shell.magics_manager.registry["OllamaMagics"]
    shown = magics._connection.client.show("bard")
    assert shown["system"] == "Answer in rhymes."
    assert "temperature" in shown["parameters"]
    chat(chat_shell, "bard --num-predict 2")
    assert "bard:latest" in set(ollama(chat_shell, "ps")["name"])
    ollama(chat_shell, "stop bard")
    assert "bard:latest" not in set(ollama(chat_shell, "ps")["name"])
    for name in ("poet", "bard"):
        ollama(chat_shell, f"rm {name}")
    assert not set(names) & set(ollama(chat_shell, "list")["name"])
