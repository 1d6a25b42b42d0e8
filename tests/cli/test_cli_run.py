"""One question, a pipe, and the conversation on a terminal."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from cli_process import Ollama, Peer, Served, Terminal
from jupyter_ollama_client.client import Client

from jupyter_ollama.cli.hint import HINT


@pytest.fixture(scope="module")
def brief(ollama: Ollama, server: Served, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """The server with a model `brief` that says the same ten tokens whenever it is asked."""
    modelfile = tmp_path_factory.mktemp("brief") / "Modelfile"
    modelfile.write_text("FROM smollm2\nPARAMETER temperature 0\nPARAMETER num_predict 10\n")
    done = ollama("create", "brief", "-f", str(modelfile), host=server.host)
    assert done.returncode == 0, done.stderr
    return server


def answer(server: Served, prompt: str) -> str:
    """The answer of the API."""
    with closing(Client(f"http://{server.host}")) as client:
        return "".join(chunk["response"] for chunk in client.generate("brief", prompt))


def test_one_question(ollama: Ollama, brief: Served) -> None:
    done = ollama("run", "brief", "--verbose", "Name a", "colour.", host=brief.host)
    assert done.returncode == 0
    assert done.stdout == answer(brief, "Name a colour.") + "\n"
    assert "eval count:           10 token(s)" in done.stderr.splitlines()


def test_text_from_a_pipe_comes_before_the_prompt(ollama: Ollama, brief: Served) -> None:
    done = ollama("run", "brief", "Which is red?", host=brief.host, stdin="apple, sky\n")
    assert done.stdout == answer(brief, "apple, sky\nWhich is red?") + "\n"
    assert done.stderr == ""


def test_format_is_sent(ollama: Ollama, peer: Peer) -> None:
    peer.answers["/api/generate"] = [{"response": "{}", "done": True}]
    for text, sent in (("json", "json"), ('{"type": "object"}', {"type": "object"})):
        done = ollama("run", "m", "--format", text, "A number?", host=peer.host)
        assert done.stdout == "{}\n"
        assert peer.requests[-1][3]["format"] == sent


def test_an_embedding_model_prints_a_vector(ollama: Ollama, brief: Served) -> None:
    done = ollama("run", "all-minilm", "a text", host=brief.host)
    vector = json.loads(done.stdout)
    assert len(vector) == 384
    assert math.isclose(sum(value * value for value in vector), 1, abs_tol=1e-3)
    done = ollama("run", "all-minilm", host=brief.host)
    assert (done.returncode, done.stderr) == (
        1,
        "Error: all-minilm is an embedding model and needs a text\n",
    )


def test_an_unknown_model(ollama: Ollama, brief: Served) -> None:
    done = ollama("run", "absent//", "hello", host=brief.host)
    assert (done.returncode, done.stderr) == (1, "Error: invalid model name\n")


def test_a_reader_that_closes_the_pipe_is_no_error(
    environment: dict[str, str], brief: Served
) -> None:
    done = subprocess.run(
        "jupyter-ollama run smollm2 'Tell me a long story' | head -c 5",
        shell=True,
        env={**environment, "OLLAMA_HOST": brief.host},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (len(done.stdout), done.stderr) == (5, "")


def test_ctrl_c_stops_the_answer_and_not_the_conversation(
    environment: dict[str, str], brief: Served
) -> None:
    command = ["jupyter-ollama", "run", "smollm2"]
    with Terminal(command, {**environment, "OLLAMA_HOST": brief.host}) as terminal:
        terminal.expect(">>> ")
        terminal.type("/set parameter num_predict 100000\n")
        terminal.expect("Set parameter 'num_predict' to '100000'\n>>> ")
        terminal.type("/set parameter stop nevermore\n")
        terminal.expect(">>> ")
        terminal.type("Tell a very long story.\n")
        terminal.expect("story.\n")
        terminal.expect(" ")  # the answer has begun
        terminal.interrupt()
        terminal.expect("\n>>> ")
        terminal.type("half a line")
        terminal.expect("half a line")
        # readline misses a signal that comes just before it waits for a key.
        while not terminal.shows("Ctrl-D or /bye leaves.\n>>> ", seconds=2):
            terminal.interrupt()
        terminal.type("/set parameter num_predict 2\n")
        terminal.expect(">>> ")
        terminal.type("Go on.\n")
        terminal.expect("Go on.\n")
        assert terminal.expect("\n\n>>> ").strip()
        terminal.type("\x04")
        assert terminal.status() == 0


@pytest.fixture
def conversation(environment: dict[str, str], peer: Peer) -> Iterator[Terminal]:
    """A conversation with a peer that always answers "Well."."""
    peer.answers["/api/show"] = [{"capabilities": ["completion"], "template": "{{ .Prompt }}"}]
    peer.answers["/api/chat"] = [
        {"message": {"role": "assistant", "content": "We"}, "done": False},
        {"message": {"role": "assistant", "content": "ll."}, "done": False},
        {"message": {"role": "assistant", "content": ""}, "done": True, "eval_count": 2},
    ]
    command = ["jupyter-ollama", "run", "m"]
    with Terminal(command, {**environment, "OLLAMA_HOST": peer.host}) as terminal:
        terminal.expect(">>> ")
        yield terminal


def test_loading_is_shown_with_bytes_and_removed(
    environment: dict[str, str], ollama: Ollama, brief: Served
) -> None:
    assert ollama("stop", "brief", host=brief.host).returncode == 0
    command = ["jupyter-ollama", "run", "brief"]
    with Terminal(command, {**environment, "OLLAMA_HOST": brief.host}) as terminal:
        terminal.expect("loading brief, 92 MB…")
        assert terminal.expect(">>> ").endswith(f"\r{HINT}\n")
        terminal.type("/bye\n")
        assert terminal.status() == 0
    assert ollama("stop", "brief", host=brief.host).returncode == 0
    with Terminal([*command, "Hello"], {**environment, "OLLAMA_HOST": brief.host}) as terminal:
        terminal.expect("loading brief, 92 MB…")
        text = answer(brief, "Hello")
        terminal.expect(text.split()[0])
        assert "loading" not in terminal.screen


def test_loading_is_not_written_to_files(ollama: Ollama, brief: Served) -> None:
    assert ollama("stop", "brief", host=brief.host).returncode == 0
    done = ollama("run", "brief", "Hello", host=brief.host)
    assert (done.stdout, done.stderr) == (answer(brief, "Hello") + "\n", "")


def test_the_hint_is_in_the_input_line_until_a_key_is_pressed(
    environment: dict[str, str], peer: Peer
) -> None:
    peer.answers["/api/show"] = [{"capabilities": ["completion"]}]
    peer.answers["/api/chat"] = [{"message": {"content": "Well."}, "done": True}]
    command = ["jupyter-ollama", "run", "m"]
    with Terminal(command, {**environment, "OLLAMA_HOST": peer.host}, "xterm") as terminal:
        for question in ("One", "Two"):
            assert terminal.expect(HINT).endswith(">>> \x1b[2m")
            terminal.type(question[0])
            terminal.expect(f"\x1b[{len(HINT)}D\r\x1b[K")
            terminal.expect(f">>> {question[0]}")
            terminal.type(f"{question[1:]}\n")
            terminal.expect("Well.\n")
        terminal.expect(HINT)
        terminal.interrupt()
        terminal.expect("Ctrl-D or /bye leaves.")
        terminal.expect(HINT)
        terminal.type("\x04")
        assert terminal.status() == 0
    assert [body["messages"][-1]["content"] for body in chats(peer)] == ["One", "Two"]


def test_lines_are_broken_between_words(environment: dict[str, str], peer: Peer) -> None:
    text = "The quick brown fox jumps over the lazy dog, again and again.\n"
    pieces = [text[start : start + 3] for start in range(0, len(text), 3)]
    peer.answers["/api/show"] = [{"capabilities": ["completion"]}]
    peer.answers["/api/generate"] = [{"response": piece} for piece in pieces] + [{"done": True}]
    variables = {**environment, "OLLAMA_HOST": peer.host, "COLUMNS": "20"}
    with Terminal(["jupyter-ollama", "run", "m", "Go"], variables) as terminal:
        terminal.expect("The quick brown fox\njumps over the lazy\ndog, again and\nagain.\n")
    command = ["jupyter-ollama", "run", "m", "--nowordwrap", "Go"]
    with Terminal(command, variables) as terminal:
        terminal.expect(text)


def chats(peer: Peer) -> list[dict[str, Any]]:
    return [body for _, path, _, body in peer.requests if path == "/api/chat"]


def test_the_conversation_is_kept_until_it_is_cleared(conversation: Terminal, peer: Peer) -> None:
    for text in ("One", "Two", "/clear", "Three"):
        conversation.type(f"{text}\n")
        conversation.expect("Cleared session context" if text == "/clear" else "Well.\n")
        conversation.expect(">>> ")
    conversation.type("/bye\n")
    assert conversation.status() == 0
    said = [[(m["role"], m["content"]) for m in body["messages"]] for body in chats(peer)]
    assert said == [
        [("user", "One")],
        [("user", "One"), ("assistant", "Well."), ("user", "Two")],
        [("user", "Three")],
    ]


def test_settings_go_along_with_the_questions_after_them(
    conversation: Terminal, peer: Peer
) -> None:
    for line in (
        "/set system Be kind.",
        "/set parameter temperature 0.5",
        "/set parameter num_ctx 8192",
        "/set nothink",
        "/set verbose",
    ):
        conversation.type(f"{line}\n")
        conversation.expect(">>> ")
    conversation.type("Hello\n")
    conversation.expect("eval count:           2 token(s)\n")
    (body,) = chats(peer)
    assert body["model"] == "m"
    assert body["messages"][0] == {"role": "system", "content": "Be kind."}
    assert body["options"] == {"temperature": 0.5, "num_ctx": 8192}
    assert body["think"] is False


def test_several_lines_between_triple_quotes(conversation: Terminal, peer: Peer) -> None:
    conversation.type('"""First\n')
    conversation.expect("... ")
    conversation.type('second"""\n')
    conversation.expect("Well.")
    assert chats(peer)[0]["messages"] == [{"role": "user", "content": "First\nsecond"}]


def test_thinking_is_set_off(conversation: Terminal, peer: Peer) -> None:
    thought = {"message": {"role": "assistant", "content": "", "thinking": "Hm"}, "done": False}
    peer.answers["/api/chat"].insert(0, thought)
    conversation.type("Why?\n")
    conversation.expect("Thinking...\n")
    assert "Hm" in conversation.expect("\n...done thinking.\n\n")
    conversation.expect("Well.\n")
    conversation.type("And?\n")
    conversation.expect("Well.")
    assert chats(peer)[1]["messages"][1] == {"role": "assistant", "content": "Well."}


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("/?", "/set parameter NAME VALUE"),
        ("/fly", "Error: unknown command '/fly'. Type /? for help"),
        ("/set parameter fly 1", "Error: unknown parameter 'fly'"),
        ("/set parameter num_ctx many", "Error: invalid int value [many]"),
        ("/set parameter", "Error: usage: /set parameter NAME VALUE"),
        ("/set", "Error: usage: /set system TEXT"),
        ("/show template", "{{ .Prompt }}"),
        ("/show system", "The model has no system."),
        ("/show", "  Capabilities\n    completion"),
    ],
)
def test_slash_commands(conversation: Terminal, line: str, shown: str) -> None:
    conversation.type(f"{line}\n")
    conversation.expect(shown)
    conversation.expect(">>> ")


def test_an_error_does_not_end_the_conversation(conversation: Terminal, peer: Peer) -> None:
    answers = peer.answers["/api/chat"]
    peer.answers["/api/chat"] = [{"error": "model runner has unexpectedly stopped"}]
    conversation.type("One\n")
    conversation.expect("One\nError: model runner has unexpectedly stopped\n>>> ")
    peer.answers["/api/chat"] = [answers[0], {"error": "model runner has unexpectedly stopped"}]
    conversation.type("One more\n")
    conversation.expect("One more\nWe\nError: model runner has unexpectedly stopped\n>>> ")
    peer.answers["/api/chat"] = answers
    conversation.type("Two\n")
    conversation.expect("Well.\n")
    assert [m["content"] for m in chats(peer)[2]["messages"]] == ["Two"]


def test_a_path_is_not_a_command(conversation: Terminal, peer: Peer) -> None:
    conversation.type("/etc/hosts is what?\n")
    conversation.expect("Well.")
    assert chats(peer)[0]["messages"][0]["content"] == "/etc/hosts is what?"


def test_keep_alive_and_think_are_sent(ollama: Ollama, peer: Peer) -> None:
    peer.answers["/api/show"] = [{"capabilities": ["completion", "thinking"]}]
    peer.answers["/api/generate"] = [
        {"response": "", "thinking": "Hm", "done": False},
        {"response": "Yes", "done": True},
    ]
    done = ollama("run", "m", "--think", "high", "Sure?", "--keepalive", "10m", host=peer.host)
    assert done.stdout == "Thinking...\nHm\n...done thinking.\n\nYes\n"
    body = peer.requests[-1][3]
    assert body == {"model": "m", "prompt": "Sure?", "think": "high", "keep_alive": "10m"}
