"""The ``@`` words of ``%%chat``: what is sent for them, and which words stay text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from jupyter_ollama_magics.failures import OllamaMagicsError
from real_kernel import Kernel
from scripted_server import ScriptedServer


def sent(server: ScriptedServer) -> str:
    """Return the last message that the server got."""
    return str(server.bodies("/api/chat")[-1]["messages"][-1]["content"])


def chat(shell: InteractiveShell, cell: str, line: str = "smollm2:135m --new") -> Any:
    return shell.run_cell_magic("chat", line, cell)


def test_a_variable_and_a_column_are_sent_above_the_question(
    shell: InteractiveShell, server: ScriptedServer
) -> None:
    shell.push({"df": pd.DataFrame({"price": [1.5, 2.5]})})
    chat(shell, "Which columns has @df? And @df.price, or @df again?\n")
    message = sent(server)
    assert message.startswith("@df:\n````\ndf: pandas DataFrame, 2 rows x 1 columns")
    assert "@df.price:\n````\ndf.price: pandas Series, 2 values" in message
    assert message.count("````\ndf: ") == 1
    assert message.endswith("\n\nWhich columns has @df? And @df.price, or @df again?")
    # A follow-up still has the table.
    chat(shell, "And now?", "")
    messages = server.bodies("/api/chat")[-1]["messages"]
    assert messages[0]["content"] == message


@pytest.mark.parametrize(
    "cell",
    [
        "Write to ada@example.org and @nobody.",
        "What does this do?\n@cached\ndef f():\n    pass",
        "What does this do?\n@cached(maxsize=3)\n@other\nclass A: pass",
        "Explain `@cached` and\n```python\nx = a @cached\n```\nplease.",
        "a @ cached, @@cached, path/@cached, @",
    ],
)
def test_other_words_stay_text(shell: InteractiveShell, server: ScriptedServer, cell: str) -> None:
    shell.push({"cached": 1, "example": 2})
    chat(shell, cell)
    assert sent(server) == cell


def test_words_in_values_name_nothing(
    shell: InteractiveShell, server: ScriptedServer, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("hunter2")
    shell.push({"text": f"@file:{secret} @key", "key": "hunter2"})
    chat(shell, "Read {text}")
    assert sent(server) == f"Read @file:{secret} @key"
    chat(shell, "Read @key", "--new --raw")
    assert sent(server) == "Read @key"


def test_files_are_read(shell: InteractiveShell, server: ScriptedServer, tmp_path: Path) -> None:
    file = tmp_path / "my notes.txt"
    file.write_text("Remember ````this````.")
    (tmp_path / "a.bin").write_bytes(b"a\0b")
    chat(shell, f'See @file:"{file}".')
    assert f"@file:{file}:\n````\nRemember ```this```.\n````" in sent(server)
    (tmp_path / "b.txt").write_text("b")
    chat(shell, f"See @file:{tmp_path}/b.txt, please.")
    assert "````\nb\n````" in sent(server)
    asked = len(server.bodies("/api/chat"))
    with pytest.raises(OllamaMagicsError, match=r"@file:none\.txt: No such file"):
        chat(shell, "See @file:none.txt")
    with pytest.raises(OllamaMagicsError, match=r"no text\. Send pictures by --image"):
        chat(shell, f"See @file:{tmp_path}/a.bin")
    assert len(server.bodies("/api/chat")) == asked


def test_cells_errors_and_the_notebook(kernel: Kernel, server: ScriptedServer) -> None:
    kernel.run("import pandas as pd\nsales = pd.DataFrame({'price': [1.5]})")  # In[2]
    kernel.run("21 * 2")  # In[3]
    kernel.run("\n".join(f"line_{n} = {n}" for n in range(200)) + "\nsales['pric'].mean()")
    reply, _ = kernel.run("%%chat smollm2:135m\nWhy @error? See @cell:3 in @notebook.")
    assert reply["status"] == "ok"
    message = sent(server)
    error, rest = message.split("@cell:3:", 1)
    assert "sales['pric'].mean()" in error
    assert "KeyError: 'pric'\nCell In[4], line 201:" in error
    assert "raised in pandas/core/indexes/base.py:" in error
    assert "line_199" in error
    assert "line_10 " not in error
    assert len(error) < 1600
    assert "In[3]:\n21 * 2\n\nOut[3]:\nvalue: int: 42" in rest
    assert "In[2]:\nimport pandas as pd" in rest
    reply, _ = kernel.run("%%chat\nSee @cell:99.")
    assert "has not run a cell In[99]" in reply["evalue"]


def test_an_error_without_an_error(shell: InteractiveShell, server: ScriptedServer) -> None:
    with pytest.raises(OllamaMagicsError, match="@error: no cell has raised"):
        chat(shell, "Why @error?")
    assert server.bodies("/api/chat") == []


def test_the_context_is_shown_and_not_sent(
    shell: InteractiveShell, server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.push({"size": 3})
    chat(shell, "First.", "smollm2:135m -s Short.")
    before = len(server.bodies("/api/chat"))
    capsys.readouterr()
    assert chat(shell, "How large is @size?", "--show-context") is None
    shown = capsys.readouterr().out
    assert shown.startswith("Nothing is sent. About ")
    assert "--- system\nShort." in shown
    assert "--- user\nFirst." in shown
    assert shown.endswith("--- user\n@size:\n````\nsize: int: 3\n````\n\nHow large is @size?\n")
    assert len(server.bodies("/api/chat")) == before
    chat(shell, "Second.", "")
    assert len(server.bodies("/api/chat")[-1]["messages"]) == 4


def completed(shell: InteractiveShell, text: str) -> list[str]:
    """Return the words that are offered at the end of a text."""
    with provisionalcompleter():
        return [offer.text for offer in shell.Completer.completions(text, len(text))]


def test_words_are_completed(
    shell: InteractiveShell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sales.csv").touch()
    (tmp_path / "sa les.csv").touch()
    (tmp_path / ".hidden").touch()
    shell.push({"sales": pd.DataFrame(), "_private": 1})
    assert completed(shell, "%%chat smollm2\nShow @sa") == ["sales"]
    assert completed(shell, "%%chat\n@err") == ["error"]
    assert set(completed(shell, "%%chat\n@file:")) == {"file:sales.csv", 'file:"sa les.csv"'}
    # Elsewhere IPython completes as in Python.
    assert completed(shell, "%%chat\n@") != completed(shell, "%%chat\nmail ada@")
