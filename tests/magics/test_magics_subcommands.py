"""A subcommand of %ollama is defined in one place."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ADDED = '''
    @subcommand(
        "greet NAME [--loud]",
        "greet a model",
        options=[argument("--loud", action="store_true", help="Greet in capitals.")],
        completes=[("smollm2", "gemma3")],
    )
    def greet(self, name: str, *, loud: bool) -> None:
        """Greet a model."""
        _say(f"Hello {name}".upper() if loud else f"Hello {name}")


SUBCOMMANDS = table(Commands)
'''

USED = """
import sys
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "jupyter_ollama_magics")
for line in ("greet gemma3 --loud", "greet", "gret a"):
    try:
        shell.run_line_magic("ollama", line)
    except Exception as error:
        print(error)
with provisionalcompleter():
    for text in ("%ollama gr", "%ollama greet sm"):
        print([offer.text for offer in shell.Completer.completions(text, len(text))])
shell.run_line_magic("ollama", "help")
print(shell.find_line_magic("ollama").__doc__)
import reference
print(reference.with_subcommands("| `%ollama list` | The models. |\\n"))
print("\\n".join(reference.magics()))
"""


@pytest.fixture
def added(tmp_path: Path) -> Path:
    """Copy the magics; one file of the copy has one more subcommand."""
    for package in ("jupyter_ollama_client", "jupyter_ollama_magics"):
        shutil.copytree(ROOT / "magics" / package, tmp_path / package)
    commands = tmp_path / "jupyter_ollama_magics" / "commands.py"
    text = commands.read_text("utf-8")
    assert text.count("\n\nSUBCOMMANDS = table(Commands)\n") == 1
    commands.write_text(text.replace("\n\nSUBCOMMANDS = table(Commands)\n", ADDED), "utf-8")
    return tmp_path


def test_a_subcommand_is_added_in_one_file(added: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (added, ROOT / "docs", ROOT))),
        "IPYTHONDIR": str(added / "ipython"),
    }
    done = subprocess.run(
        [sys.executable, "-c", USED], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    dispatch, usage, hint, command, word, *documents = done.stdout.splitlines()
    assert dispatch == "HELLO GEMMA3"
    assert usage == "Usage: %ollama greet NAME [--loud]"
    assert "Did you mean greet?" in hint
    assert command == "['greet']"
    assert word == "['smollm2']"
    helped = f"{'%ollama greet NAME [--loud]':<37}greet a model"
    assert documents.count(helped) == 2  # of %ollama help and of the reference pages
    assert any("--loud" in line and "Greet in capitals." in line for line in documents)
    assert "| `%ollama greet NAME [--loud]` | Greet a model. |" in documents
