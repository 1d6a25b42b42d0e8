"""``%%chat --think`` and ``--tools``: a real server and a model with scripted answers."""

from __future__ import annotations

import functools
from typing import Any, Literal

import chat_models
import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.tools import ToolCall, Tools, definition
from real_kernel import Kernel
from scripted_server import ScriptedServer

LINE = "caller --temperature 0 --num-ctx 1024"
FUNCTION = """
def get_weather(city: str, days: int = 1) -> str:
    "The weather of a city."
    asked.append((city, days))
    return "DEGREES: 18"
asked = []
"""
FREE = "OllamaMagics.tool_policy = ['get_weather']"


def chat(shell: InteractiveShell, line: str, cell: str = "WEATHER") -> Any:
    return shell.run_cell_magic("chat", line, cell)


def allow(shell: InteractiveShell) -> None:
    shell.run_cell(FUNCTION)
    shell.run_line_magic("config", FREE)


def test_thinking_is_requested(shell: InteractiveShell, server: ScriptedServer) -> None:
    for line in (
        "--think",
        "--think high",
        "--think=low smollm2:135m",
        "--no-think",
        "--think 64",
        "",
    ):
        chat(shell, f"{line} smollm2:135m" if "smoll" not in line else line)
    sent = [body.get("think") for body in server.bodies("/api/chat")]
    assert sent == [True, "high", "low", False, {"budget": 64}, None]
    with pytest.raises(OllamaMagicsError, match="'much' is neither a number of tokens nor"):
        chat(shell, "--think=much")


def test_thinking_of_a_real_answer_is_folded_and_not_sent_back(
    chat_shell: InteractiveShell,
) -> None:
    result = chat(chat_shell, f"{LINE} --think")
    assert result.thinking == chat_models.THOUGHT
    assert f"<details><summary>Thinking</summary>\n\n{chat_models.THOUGHT}" in result.markdown()
    assert chat_models.THOUGHT not in str(result.conversation.messages)
    with pytest.raises(OllamaMagicsError, match="does not support thinking"):
        chat(chat_shell, "coder --think --new")


def test_a_tool_runs_after_yes_and_its_result_goes_back(chat_kernel: Kernel) -> None:
    chat_kernel.run(FUNCTION)
    questions = []

    def agree() -> None:
        content = chat_kernel.client.get_stdin_msg(timeout=60)["content"]
        questions.append(content["prompt"])
        chat_kernel.client.input("y")

    reply, messages = chat_kernel.run(
        f"%%chat {LINE} --tools get_weather -o answer\nWEATHER?", agree
    )
    assert reply["status"] == "ok"
    assert questions == ["The model wants to run get_weather(city='Rome', days=2). Run it? [y/N] "]
    shown = messages[-1][1]["data"]["text/markdown"]
    assert "<summary>get&#95;weather(city=&#x27;Rome&#x27;, days=2)</summary>" in shown
    assert "DEGREES: 18" in shown
    assert chat_models.SUNNY in shown.partition("DEGREES")[2]
    _, messages = chat_kernel.run("print(asked, answer.text, [c.outcome for c in answer.calls])")
    assert messages[0][1]["text"] == f"[('Rome', 2)] {chat_models.SUNNY} ['DEGREES: 18']\n"


def test_a_refused_call_does_not_run(chat_kernel: Kernel) -> None:
    chat_kernel.run(FUNCTION + "\n%config OllamaMagics.tool_rounds = 1")

    def refuse() -> None:
        chat_kernel.client.get_stdin_msg(timeout=60)
        chat_kernel.client.input("")

    reply, messages = chat_kernel.run(f"%%chat {LINE} --tools get_weather\nWEATHER", refuse)
    assert reply["status"] == "ok"
    assert "Error: the user did not allow this call." in str(messages[-1])
    _, messages = chat_kernel.run("print(asked)")
    assert messages[0][1]["text"] == "[]\n"


def test_a_front_end_without_input(
    chat_shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", closed)
    chat_shell.run_cell(FUNCTION)
    with pytest.raises(OllamaMagicsError, match=r"Allow it: %config .* = \['get_weather'\]$"):
        chat(chat_shell, f"{LINE} --tools get_weather")
    assert chat_shell.user_ns["asked"] == []


def test_results_and_errors_reach_the_model(
    shell: InteractiveShell, server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    allow(shell)
    function = {"name": "get_weather", "arguments": {"city": "Rome", "days": "2"}}
    calls = [{"id": "call_1", "function": function}, {"function": {"name": "rain"}}]
    server.steps = [
        {"message": {"thinking": "Hm.", "content": "Wait", "tool_calls": calls}},
        {"message": {"content": ""}, "done": True, "eval_count": 3, "prompt_eval_count": 9},
    ]
    shell.run_line_magic("config", "OllamaMagics.tool_rounds = 1")
    result = chat(shell, "smollm2:135m --tools get_weather", "Hi")
    first, second = server.bodies("/api/chat")
    assert [tool["function"]["name"] for tool in first["tools"]] == ["get_weather"]
    assert second["messages"][1:] == [
        {
            "role": "assistant",
            "content": "Wait",
            "thinking": "Hm.",
            "tool_calls": [
                {"function": function, "id": "call_1"},
                {"function": {"name": "rain", "arguments": {}}},
            ],
        },
        {
            "role": "tool",
            "tool_name": "get_weather",
            "content": "DEGREES: 18",
            "tool_call_id": "call_1",
        },
        {
            "role": "tool",
            "tool_name": "rain",
            "content": "Error: there is no function rain. There are: get_weather.",
        },
    ]
    assert shell.user_ns["asked"] == [("Rome", 2)]
    # The second round called, too, but must not.
    assert result.done_reason == "tool_rounds"
    assert "stopped after the allowed rounds of tool calls" in result.footer
    assert result.metrics["eval_count"] == 6
    assert result.metrics["prompt_eval_count"] == 9
    assert "thinking" not in result.conversation.messages[1]
    assert "[get_weather(city='Rome', days='2'): DEGREES: 18]" in capsys.readouterr().out


def test_the_loop_is_bounded(chat_shell: InteractiveShell) -> None:
    allow(chat_shell)
    chat_shell.run_cell("def get_weather(city: str, days: int): asked.append(city); return 1 / 0")
    chat_shell.run_line_magic("config", "OllamaMagics.tool_rounds = 2")
    result = chat(chat_shell, f"{LINE} --tools get_weather")
    assert [call.outcome for call in result.calls] == [
        "Error: ZeroDivisionError: division by zero",
        "Error: ZeroDivisionError: division by zero",
        "",
    ]
    assert chat_shell.user_ns["asked"] == ["Rome", "Rome"]


def test_an_interrupted_tool_ends_the_turn(chat_shell: InteractiveShell) -> None:
    allow(chat_shell)
    chat_shell.run_cell("def get_weather(city, days): raise KeyboardInterrupt")
    result = chat(chat_shell, f"{LINE} --tools get_weather")
    assert result.done_reason == "interrupted"
    roles = [message["role"] for message in result.conversation.messages]
    assert roles == ["user", "assistant"]
    assert "tool_calls" not in result.conversation.messages[1]


def test_follow_ups_know_the_calls(chat_shell: InteractiveShell) -> None:
    allow(chat_shell)
    result = chat(chat_shell, f"{LINE} --tools get_weather")
    roles = [message["role"] for message in result.conversation.messages]
    assert roles == ["user", "assistant", "tool", "assistant"]
    assert chat(chat_shell, LINE, "DEGREES").text == chat_models.SUNNY


@pytest.mark.parametrize(
    ("policy", "tools", "expected"),
    [
        ("'never'", "get_weather", r"switched off by OllamaMagics\.tool_policy"),
        ("['other']", "get_weather", r"get_weather is not among the tools that"),
        ("'ask'", "asked", r"takes functions, not list\.$"),
        ("'ask'", "nothing", r"nothing failed: NameError"),
        ("'ask'", "get_weather,get_weather", "two functions named get_weather"),
        ("'ask'", "waits", "not async"),
        ("'ask'", "short", "not lambdas"),
        ("'ask'", "divmod", "takes x by position only"),
    ],
)
def test_mistakes(
    shell: InteractiveShell, server: ScriptedServer, policy: str, tools: str, expected: str
) -> None:
    shell.run_cell(FUNCTION + "\nasync def waits(): pass\nshort = lambda: 1")
    shell.run_line_magic("config", f"OllamaMagics.tool_policy = {policy}")
    with pytest.raises(OllamaMagicsError, match=expected):
        chat(shell, f"smollm2:135m --tools {tools}")
    assert server.bodies("/api/chat") == []


def test_invented_arguments_are_refused_before_the_question() -> None:
    def ask(question: str) -> str:
        raise AssertionError(question)

    call = ToolCall("sphinx", {"city)? [y/N]": 1})
    Tools([sphinx], "ask", ask).run(call)
    assert call.outcome.startswith("Error: sphinx ")
    assert str(call) == "sphinx('city)? [y/N]'=1)"
    call = ToolCall("sphinx", {})
    Tools([sphinx], "ask", ask).run(call)
    assert call.outcome == "Error: sphinx missing a required argument: 'city'."


def google(city: str, kind: Literal["rain", "wind"] = "rain", *rest: int) -> str:
    """Tell the weather.

    Of one city.

    Args:
        city (str): Name of the city.
        kind: What to tell.

    Returns:
        A sentence.
    """
    return f"{city}{kind}{rest}"


def numpy_style(city, kind="rain"):  # type: ignore[no-untyped-def]
    """Tell the weather.

    Parameters
    ----------
    city : str
        Name of the city.
    """
    return city + kind


def sphinx(city: str) -> str:
    """Tell the weather.

    :param str city: Name of the city.
    :returns: A sentence.
    """
    return city


def test_definitions() -> None:
    assert definition("google", google) == {
        "name": "google",
        "description": "Tell the weather.\n\nOf one city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Name of the city."},
                "kind": {"enum": ["rain", "wind"], "description": "What to tell."},
            },
            "required": ["city"],
        },
    }
    for function in (numpy_style, sphinx):
        defined: dict[str, Any] = definition("f", function)
        assert defined["description"] == "Tell the weather."
        assert defined["parameters"]["properties"]["city"]["description"] == "Name of the city."
        assert defined["parameters"]["required"] == ["city"]
    bound = definition("f", functools.partial(google, kind="wind"))
    assert bound["parameters"]["required"] == ["city"]
