"""``%%chat --format`` and ``--schema``: instructions, display and values."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any, Literal, TypedDict

import chat_models
import pydantic
import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_ollama_magics import formats
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.schema import build, schema_of
from real_kernel import Kernel
from scripted_server import ScriptedServer

GREEDY = "smollm2 --temperature 0 --num-predict 60"


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


@dataclass
class Person:
    name: Annotated[str, "First name"]
    age: int
    mood: Mood = Mood.GOOD
    tags: list[str] = field(default_factory=list)


@dataclass
class Pair:
    first: Person
    born: date | None = None


@dataclass
class Endless:
    inner: list[Endless]


class Named(TypedDict):
    name: str


class Answer(pydantic.BaseModel):
    yes: bool
    why: Literal["sure", "guess"]


def chat(shell: InteractiveShell, line: str, cell: str = "hi") -> Any:
    return shell.run_cell_magic("chat", line, cell)


def test_code_goes_into_the_next_cell_and_is_not_run(chat_kernel: Kernel) -> None:
    reply, _ = chat_kernel.run("%%chat coder --format code\nCODE")
    (payload,) = reply["payload"]
    assert payload == {
        "source": "set_next_input",
        "text": "answer = 6 * 7",
        "replace": False,
    }
    reply, _ = chat_kernel.run("answer")
    assert reply["ename"] == "NameError"
    reply, _ = chat_kernel.run("%%chat\nCODE")
    assert reply["payload"] == []


def test_instructions_are_sent_but_not_kept(
    shell: InteractiveShell, server: ScriptedServer
) -> None:
    result = chat(shell, "smollm2:135m --format text", "one")
    chat(shell, "--format json", "two")
    first, second = server.bodies("/api/chat")
    assert first["messages"][-1]["content"] == f"one\n\n{formats.INSTRUCTIONS['text']}"
    assert "format" not in first
    assert [m["content"] for m in second["messages"][:2]] == ["one", "Hello there."]
    assert second["format"] == "json"
    assert set(result.bundle()) == {"text/plain"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (chat_models.CODE, "answer = 6 * 7"),
        ("print(41+1)", "print(41+1)"),
        ("I cannot do that.", ""),
        ("```python\na = 1\n```\nthen\n```\nb = 2\n```\nin\n```bash\nls\n```", "a = 1\n\nb = 2"),
        ("```python\nx = '''\n```", "x = '''"),
        ("~~~py\ns = '```'\n~~~", "s = '```'"),
        ("```r\nx <- 1\n```", "x <- 1"),
        ("", ""),
    ],
)
def test_code_of_an_answer(text: str, code: str) -> None:
    assert formats.python_code(text) == code


def test_html_is_shown_without_scripts(chat_shell: InteractiveShell) -> None:
    shown = chat(chat_shell, "coder --format html", "PAGE").bundle()
    assert shown["text/html"].startswith('<iframe sandbox="" srcdoc="&lt;meta ')
    assert "default-src &#x27;none&#x27;" in shown["text/html"]
    assert "&lt;h1&gt;Hi" in shown["text/html"]
    assert "<script" not in shown["text/html"]
    assert "text/html" not in chat(chat_shell, "coder --format md", "PAGE").bundle()


def test_math_is_shown_as_a_formula(chat_shell: InteractiveShell) -> None:
    result = chat(chat_shell, "coder --format math", "MATH")
    assert result.text == chat_models.MATH
    assert f"$${chat_models.MATH}$$" in result.markdown()


def test_json_of_a_real_model(chat_shell: InteractiveShell) -> None:
    line = "smollm2 --temperature 0 --num-predict 6"
    assert not chat(chat_shell, line, "Tell me a story.").text.startswith("{")
    result = chat(chat_shell, f"{line} -f json --new", "Tell me a story.")
    assert result.text.startswith("{")
    assert result.markdown().startswith("```json\n{")
    with pytest.raises(OllamaMagicsError, match="is not JSON: it was cut at the limit of tokens"):
        result.json()


def test_schemas_of_a_real_model(chat_shell: InteractiveShell) -> None:
    chat_shell.push({"Answer": Answer, "Mood": Mood, "Literal": Literal})
    answer = chat(chat_shell, f"{GREEDY} --schema Answer -o kept", "Is the sky blue?").parsed
    assert isinstance(answer, Answer)
    assert isinstance(chat(chat_shell, f"{GREEDY} --schema Mood", "How are you?").parsed, Mood)
    line = f'{GREEDY} --schema \'Literal["red", "blue"]\''
    assert chat(chat_shell, line, "Which colour?").parsed in ("red", "blue")
    chat_shell.push({"wanted": {"type": "object", "properties": {"n": {"enum": [3]}}}})
    chat_shell.user_ns["wanted"]["required"] = ["n"]
    assert chat(chat_shell, f"{GREEDY} --schema wanted", "A number?").parsed == {"n": 3}


def test_a_dataclass_is_sent_as_a_schema(shell: InteractiveShell, server: ScriptedServer) -> None:
    shell.push({"Pair": Pair})
    server.steps = ['{"first": {"name": "Ada", "age": 36, "mood": "bad"}, "born": "1815-12-10"}']
    result = chat(shell, "smollm2:135m --schema Pair")
    assert result.parsed == Pair(Person("Ada", 36, Mood.BAD), date(1815, 12, 10))
    (body,) = server.bodies("/api/chat")
    assert body["format"] == {
        "type": "object",
        "properties": {
            "first": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "description": "First name"},
                    "age": {"type": "integer"},
                    "mood": {"enum": ["good", "bad"]},
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["name", "age"],
            },
            "born": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        },
        "required": ["first"],
    }
    server.steps = ['{"first": {"name": "Ada", "age": "many"}}']
    with pytest.raises(OllamaMagicsError, match=r"does not fit the schema: .*'many'"):
        _ = chat(shell, "--schema Pair").parsed


@pytest.mark.parametrize(
    ("kind", "value", "built"),
    [
        (list[Person], [{"name": "A", "age": 1}], [Person("A", 1)]),
        (dict[str, float], {"a": 1}, {"a": 1.0}),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple[int, ...], [1, 2], (1, 2)),
        (set[str], ["a"], {"a"}),
        (int | str, "3", "3"),
        (int, "3", 3),
        (Named, {"name": "a"}, {"name": "a"}),
        (list[Answer], [{"yes": True, "why": "sure"}], [Answer(yes=True, why="sure")]),
        (Any, [1], [1]),
    ],
)
def test_values_of_types(kind: Any, value: Any, built: Any) -> None:
    result = build(kind, value)
    assert (result, type(result)) == (built, type(built))


@pytest.mark.parametrize(
    ("kind", "value"),
    [(int, 1.5), (str, 1), (Literal["a"], "b"), (Mood, "none"), (int | None, "x"), (bool, "true")],
)
def test_values_that_do_not_fit(kind: Any, value: Any) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        build(kind, value)


def test_definitions_of_pydantic_stay_reachable() -> None:
    class Outer(pydantic.BaseModel):
        inner: Answer

    schema = schema_of(list[Outer])
    assert schema["items"]["properties"]["inner"] == {"$ref": "#/$defs/Answer"}
    assert schema["$defs"]["Answer"]["required"] == ["yes", "why"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--schema nothing", r"nothing failed: NameError: name 'nothing' is not defined"),
        ("--schema number", r"--schema needs a dict, .* and number is none\.$"),
        ("--schema Endless", "Endless contains itself"),
        ("--schema Named -f html", "--schema gives JSON, so --format html cannot be"),
        ("-f yaml", r"invalid choice: 'yaml'"),
    ],
)
def test_mistakes(shell: InteractiveShell, line: str, expected: str) -> None:
    shell.push({"number": 3, "Endless": Endless, "Named": Named})
    with pytest.raises(OllamaMagicsError, match=expected):
        chat(shell, line)


def test_an_answer_that_is_not_json(shell: InteractiveShell) -> None:
    with pytest.raises(OllamaMagicsError, match=r"is not JSON: it starts with 'Hello there\.'"):
        chat(shell, "smollm2:135m").json()
