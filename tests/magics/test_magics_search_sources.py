"""``%%chat --sources``: rows in the prompt, citations as links, a folded list of sources."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupyter_ollama_magics.accessor  # noqa: F401
import pandas as pd
import pytest
from cli_process import serving
from IPython.core.interactiveshell import InteractiveShell
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.search.sources import Sources
from real_kernel import Kernel
from scripted_model import write_scripts
from store_models import add_model

from jupyter_ollama.library.library import Library

ANSWER = "Basil needs sun [1]. It says nothing of `rain[2]` or [9]."
NOTES = pd.DataFrame(
    {
        "text": ["The train is late.", "Basil needs sun.", "Water the tomatoes."],
        "url": [None, "https://garden.example/basil?a=1&b=2", None],
    },
    index=["t", "b", "w"],
)


@pytest.fixture(scope="module")
def citing(ollama_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with all-minilm and "citing", whose answer has citations."""
    folder = tmp_path_factory.mktemp("citing")
    models = folder / "models"
    shutil.copytree(ollama_store, models, copy_function=os.link)
    add_model(
        Library.open(models), "citing", write_scripts(folder / "citing.gguf", {"CITE": ANSWER})
    )
    with serving({**os.environ, "HOME": str(folder)}, models, folder) as served:
        yield f"http://{served.host}"


@pytest.fixture
def citing_shell(citing: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """A shell with the magics, connected to that server, and an index in ``notes``."""
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", citing)
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "jupyter_ollama_magics")
    shell.push({"notes": NOTES.ollama.index("text", model="all-minilm"), "NOTES": NOTES})
    yield shell
    shell.run_line_magic("unload_ext", "jupyter_ollama_magics")
    InteractiveShell.clear_instance()


def ask(shell: InteractiveShell, line: str, cell: str = "What do herbs like?") -> Any:
    return shell.run_cell_magic("chat", f"citing {line}", cell)


def test_the_rows_go_into_the_prompt_and_not_into_the_conversation(
    citing_shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, Any]] = []
    connection = citing_shell.magics_manager.registry["OllamaMagics"].connection
    chat = connection.client.chat

    def recorded(model: str, messages: list[dict[str, Any]], **fields: Any) -> Any:
        sent.extend(messages)
        return chat(model, messages, **fields)

    monkeypatch.setattr(connection.client, "chat", recorded)
    result = ask(citing_shell, "--sources notes --sources-k 2")
    content = sent[-1]["content"]
    assert content.startswith("What do herbs like?\n\nAnswer from the numbered sources")
    assert "[1] Basil needs sun." in content
    assert content.count("\n\n[") == 2
    assert result.conversation.messages[0]["content"] == "What do herbs like?"
    assert result.text == ANSWER
    assert result.sources.rows.index[0] == "b"
    assert result.sources.cited(result.text) == [1]


def test_citations_are_links_to_the_rows(citing_shell: InteractiveShell) -> None:
    result = ask(citing_shell, "--sources notes")
    markdown = result.markdown()
    assert (
        'sun [\\[1\\]](<https://garden.example/basil?a=1&amp;b=2> "Basil needs sun."). It'
        in markdown
    )
    assert "`rain[2]` or [9]." in markdown
    assert "<details><summary>3 sources, 1 cited</summary>" in markdown
    assert "**[1]** [b](<https://garden.example/basil?a=1&amp;b=2>): Basil needs sun." in markdown
    assert re.search(r'- <a id="source-\w+-2"></a>\[2\] [tw]: ', markdown)
    assert "\n\n[1] b: Basil needs sun.\n\n[" in result.plain()


def test_a_notebook_shows_the_sources(citing: str, kernel_at: Any) -> None:
    with kernel_at(citing) as kernel:
        assert isinstance(kernel, Kernel)
        made = kernel.run(
            "import pandas as pd\n"
            "notes = pd.DataFrame({'text': ['Basil needs sun.', 'The train is late.']})\n"
            "notes = notes.ollama.index('text', model='all-minilm')"
        )
        assert made[0]["status"] == "ok", made
        reply, messages = kernel.run("%%chat citing --sources notes\nWhat do herbs like?")
        assert reply["status"] == "ok"
        shown = messages[-1][1]["data"]["text/markdown"]
        assert "2 sources, 1 cited" in shown


def sources(*texts: str, **columns: list[Any]) -> Sources:
    return Sources(pd.DataFrame({**columns, "chunk": list(texts)}))


def test_only_citations_become_links() -> None:
    found = sources("one", "two")
    kept = "```\na[1]\n```\n`b[2]` $c[1]$ [3] [1](http://x.example) [0]"
    assert found.linked(kept) == kept
    assert found.cited(kept) == []
    linked = found.linked("Both [1, 2], and [2].")
    assert re.sub(r"source-\w+-", "", linked) == (
        'Both [\\[1\\]](<#1> "one")[\\[2\\]](<#2> "two"), and [\\[2\\]](<#2> "two").'
    )


def test_sources_cannot_add_html_or_links() -> None:
    found = sources(
        '<img src=x onerror=alert(1)>") [x](javascript:y) $a$ ```',
        url=[
            'https://x.example/"><script>',
        ],
    )
    for markdown in (found.linked("[1]"), found.markdown("[1]")):
        assert "<img" not in markdown
        assert "<script" not in markdown
        assert "](javascript" not in markdown
    assert sources("a", url=["javascript:alert(1)"]).linked("[1]").startswith("[\\[1\\]](<#source-")


def test_no_sources() -> None:
    assert "(There are no sources.)" in sources().instruction
    assert sources().markdown("x").count("0 sources, 0 cited") == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--sources NOTES", "of type DataFrame, not an index of df.ollama.index"),
        ("--sources absent", "absent failed: NameError"),
        ("--sources-k 3", "--sources-k needs --sources"),
        ("--sources notes --sources-k 0", "k is a positive integer"),
    ],
)
def test_wrong_options(citing_shell: InteractiveShell, line: str, message: str) -> None:
    with pytest.raises(OllamaMagicsError, match=message):
        ask(citing_shell, line)
