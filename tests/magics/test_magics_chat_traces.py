"""A failed cell changes no conversation and gives advice; a successful one shows its remarks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.interpolate import interpolate
from real_kernel import Kernel
from scripted_server import ScriptedServer

REFUSAL = (400, "application/json", '{"error": "cannot do that"}')


def chat(shell: InteractiveShell, line: str, cell: str = "hi") -> Any:
    return shell.run_cell_magic("chat", line, cell)


def state(shell: InteractiveShell) -> dict[str, Any]:
    chats = shell.magics_manager.registry["OllamaMagics"]._chats  # type: ignore[attr-defined]
    turns = {name: (one.system, list(one.messages)) for name, one in chats.conversations.items()}
    return {"model": chats.model, **turns}


def refuse(server: ScriptedServer) -> None:
    server.failure = REFUSAL


def drop(server: ScriptedServer) -> None:
    server.steps = ["Half an ans", "…drop"]


def drop_while_loading(server: ScriptedServer) -> None:
    server.steps = [{"status": "loading"}, "…drop"]


def error_line(server: ScriptedServer) -> None:
    server.steps = ["Half an ans", {"error": "the runner died"}]


@pytest.mark.parametrize("fail", [refuse, drop, drop_while_loading, error_line])
@pytest.mark.parametrize(
    "line",
    [
        "--system 'Be brief.'",
        "--new",
        "--new --system 'Be brief.'",
        "other",
        "other --new --system 'Be brief.'",
        "-c second",
        "missing --system 'Be brief.'",
    ],
)
def test_a_failed_cell_leaves_no_trace(
    shell: InteractiveShell, server: ScriptedServer, fail: Callable[[Any], None], line: str
) -> None:
    server.models.append({**server.models[0], "name": "other:latest"})
    first = chat(shell, "smollm2:135m --system 'Be kind.'")
    before = state(shell)
    steps = server.steps
    fail(server)
    with pytest.raises(OllamaMagicsError):
        chat(shell, line)
    assert state(shell) == before
    server.steps, server.failure = steps, None
    again = chat(shell, "")
    assert again.conversation is first.conversation
    assert again.model == "smollm2:135m"
    body = server.bodies("/api/chat")[-1]
    assert [message["role"] for message in body["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
    assert body["messages"][0]["content"] == "Be kind."


def test_a_failed_first_cell_begins_no_conversation(
    shell: InteractiveShell, server: ScriptedServer
) -> None:
    refuse(server)
    with pytest.raises(OllamaMagicsError):
        chat(shell, "smollm2:135m --system 'Be brief.'")
    assert state(shell) == {"model": ""}
    server.failure = None
    for line in (
        "-o 1st --new",
        "--bg --new --system x",
        "--bg --tools print --new",
        "--schema nothing --new",
    ):
        with pytest.raises(OllamaMagicsError):
            chat(shell, line)
    assert state(shell) == {"model": ""}
    assert len(server.bodies("/api/chat")) == 1


def test_an_interrupted_turn_without_an_answer_leaves_no_trace(
    kernel: Kernel, server: ScriptedServer
) -> None:
    kernel.run("%%chat smollm2:135m -o first\nhi")
    server.steps = [60]

    def interrupt() -> None:
        assert server.streaming.wait(10)
        kernel.manager.interrupt_kernel()

    server.streaming.clear()
    kernel.run("%%chat --new --system 'Be brief.'\nhi", interrupt)
    server.steps = ["Hello."]
    kernel.run("%%chat -o last\nhi")
    code = "print(last.conversation is first.conversation, repr(last.conversation.system))"
    [(_, content)] = kernel.run(code)[1]
    assert content["text"] == "True ''\n"


def test_a_failed_answer_in_the_background_leaves_no_trace(
    kernel: Kernel, server: ScriptedServer
) -> None:
    kernel.run("%%chat smollm2:135m -o first\nhi")
    server.steps = ["Half an ans", "…drop"]
    kernel.run("%%chat --bg -o lost --new --system 'Be brief.'\nhi")
    kernel.run("lost.wait(20)")
    server.steps = ["Hello."]
    kernel.run("%%chat -o last\nhi")
    code = "print(last.conversation is first.conversation, len(last.conversation.messages))"
    [(_, content)] = kernel.run(code)[1]
    assert content["text"] == "True 4\n"


def test_an_older_answer_does_not_replace_a_newer_conversation(
    kernel: Kernel, server: ScriptedServer
) -> None:
    server.steps = ["Once", 2, " more."]
    kernel.run("%%chat smollm2:135m --bg -o old\nhi")
    server.steps = ["New."]
    kernel.run("%%chat --new -o new\nhi")
    kernel.run("old.wait(20)")
    kernel.run("%%chat -o last\nhi")
    [(_, content)] = kernel.run("print(last.conversation is new.conversation)")[1]
    assert content["text"] == "True\n"


@pytest.mark.parametrize("name", ["gemma3:4b", "hf.co/me/model", "missing"])
def test_a_missing_model_names_its_pull_command(shell: InteractiveShell, name: str) -> None:
    with pytest.raises(OllamaMagicsError) as caught:
        chat(shell, name)
    assert str(caught.value).endswith(f"%ollama pull {name}")
    with pytest.raises(OllamaMagicsError) as caught:
        shell.run_line_magic("ollama", f"use {name}")
    assert str(caught.value).endswith(f"%ollama pull {name}")


def test_a_missing_capability_names_the_models_that_have_it(chat_shell: InteractiveShell) -> None:
    with pytest.raises(OllamaMagicsError, match=r"all-minilm.*chat: .*smollm2") as caught:
        chat(chat_shell, "all-minilm")
    assert "\n" not in str(caught.value)
    chat_shell.push({"picture": b"\x89PNG\r\n\x1a\n" + bytes(40)})
    with pytest.raises(OllamaMagicsError) as caught:
        chat(chat_shell, "smollm2 --image picture")
    text = str(caught.value)
    assert text.startswith('"smollm2" does not support vision. Models that see images: ')
    assert "seeing" in text
    assert "registry" not in text


@pytest.mark.parametrize(
    ("line", "cell", "shown"),
    [
        ("", "Hello {missing}, {x}", "{missing} has no value, sent as typed"),
        ("", "{a.b} and {x[9]} and {a.b}", "{a.b}, {x[9]} have no value, sent as typed"),
        ("--system 'You are {missing}.'", "hi", "{missing} has no value, sent as typed"),
        ("-p temprature=0", "hi", "the option temprature is not known, did you mean temperature?"),
        ("-p foo_bar_baz=0", "hi", "the option foo_bar_baz is not known"),
    ],
)
def test_remarks_are_in_the_footer(
    shell: InteractiveShell, line: str, cell: str, shown: str
) -> None:
    shell.push({"x": "y"})
    result = chat(shell, f"smollm2:135m {line}", cell)
    assert shown in result.footer
    assert result.bundle()["text/markdown"].endswith("</sub>")
    shell.run_line_magic("config", "OllamaMagics.show_stats = False")
    assert chat(shell, f"smollm2:135m {line}", cell).footer == shown


@pytest.mark.parametrize(
    ("line", "cell"),
    [
        ("-p top_k=4 -p logit_bias='{}' -p min_p=0.1 --temperature 0", "{x}"),
        ("--raw", "{missing}"),
        ("", "{{missing}}"),
        ("", '{"key": 1} and {} and {1, 2}'),
        ("", "```python\nprint(f'{missing}')\n```\nand `{missing}`"),
        ("", r"\frac{a}{b} and x^{n} and \mathbb{R}"),
    ],
)
def test_valid_options_give_no_remark(shell: InteractiveShell, line: str, cell: str) -> None:
    shell.push({"x": "y"})
    assert chat(shell, f"smollm2:135m {line}", cell).remarks == []


def test_unknown_fields_are_collected_and_stay() -> None:
    unknown: list[str] = []
    assert interpolate("{a} {b} {c.d}", {"a": 1}, unknown) == "1 {b} {c.d}"
    assert unknown == ["{b}", "{c.d}"]
