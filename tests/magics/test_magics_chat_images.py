"""``%%chat --image``: images reach the model, other values are errors."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from image_files import noise, saved
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import Image
from jupyter_ollama_magics.failures import OllamaMagicsError
from scripted_server import ScriptedServer

OPTIONS = "--num-predict 3 --temperature 0 --num-ctx 512"


class Figure:
    """The interface of a figure of matplotlib."""

    def savefig(self, file: Any, **options: object) -> None:
        assert options["format"] == "png"
        noise(20, 10).save(file, "png")


class Axes:
    """The interface of the axes of a plot."""

    figure = Figure()


def chat(shell: InteractiveShell, line: str, cell: str = "What is it?") -> Any:
    return shell.run_cell_magic("chat", line, cell)


def test_a_real_model_reads_images(chat_shell: InteractiveShell, tmp_path: Path) -> None:
    path = tmp_path / "noise.png"
    path.write_bytes(saved(noise(48, 40)))
    chat_shell.push({"picture": noise(48, 40, 1)})

    def tokens(line: str) -> int:
        result = chat(chat_shell, f"seeing {OPTIONS} --new {line}")
        return int(result.metrics["prompt_eval_count"])

    without, one = tokens(""), tokens(f"--image {path}")
    assert one > without + 4
    assert tokens("--image picture") == one
    assert tokens(f"--image picture --image {path}") == 2 * one - without


@pytest.mark.parametrize(
    "expression", ["file", "str(file)", "content", "picture", "Image(content, width=5)", "Out[3]"]
)
def test_kinds_of_images(
    shell: InteractiveShell, server: ScriptedServer, tmp_path: Path, expression: str
) -> None:
    picture = noise(8, 6)
    file = tmp_path / "a b.png"
    content = saved(picture)
    file.write_bytes(content)
    shell.push({"file": file, "content": content, "picture": picture, "Image": Image})
    shell.user_ns["Out"][3] = picture
    chat(shell, f"smollm2:135m --image '{expression}'")
    (body,) = server.bodies("/api/chat")
    (sent,) = body["messages"][-1]["images"]
    decoded = base64.b64decode(sent)
    assert decoded.startswith(b"\x89PNG")
    if expression not in ("picture", "Out[3]"):
        assert decoded == content


def test_figures_and_lists(shell: InteractiveShell, server: ScriptedServer) -> None:
    shell.push({"figure": Figure(), "axes": Axes(), "both": [noise(2, 2), noise(3, 3)]})
    chat(shell, "smollm2:135m --image figure --image axes --image both")
    chat(shell, "", "And now?")
    first, second = (body["messages"] for body in server.bodies("/api/chat"))
    assert len(first[-1]["images"]) == 4
    assert first[-1]["images"][0] == first[-1]["images"][1]
    # A follow-up still sees them.
    assert second[0]["images"] == first[-1]["images"]
    assert "images" not in second[-1]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--image nowhere.png", r"--image nowhere\.png: there is no such file, and .* 'nowhere' "),
        ("--image 'Path(\"no.png\")'", r"no\.png: No such file or directory\.$"),
        ("--image number", r"--image number is of type int, not a file, a PIL image,"),
        ("--image nothing", r"--image nothing is empty\.$"),
    ],
)
def test_mistakes(
    shell: InteractiveShell, server: ScriptedServer, line: str, expected: str
) -> None:
    shell.push({"number": 3, "nothing": b"", "Path": Path})
    with pytest.raises(OllamaMagicsError, match=expected):
        chat(shell, f"smollm2:135m {line}")
    assert server.bodies("/api/chat") == []


def test_a_model_that_does_not_see(chat_shell: InteractiveShell) -> None:
    chat_shell.push({"picture": noise(8, 8)})
    with pytest.raises(OllamaMagicsError, match=r"^[^\n]+$"):
        chat(chat_shell, "smollm2 --image picture --num-predict 3")
