"""The code of the README and of the how-to pages runs, or a comment gives the reason why not."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import example_outputs as examples
import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import start_new_kernel
from traitlets.config import Config

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md",
    "docs/start.md",
    *sorted(f"docs/howto/{p.name}" for p in (ROOT / "docs/howto").glob("*.md")),
]
BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>.+?) -->\n+)?```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
LANGUAGES = {"python", "ipython3", "bash"}
TIMEOUT = 120


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    code: str
    reason: str


def blocks(page: str) -> list[Block]:
    """Return the blocks of code of a page, without directives of Sphinx."""
    text = (ROOT / page).read_text("utf-8")
    return [
        Block(
            m["language"] or ("ipython3" if m["code"].startswith("%%") else ""),
            m["code"],
            m["reason"] or "",
        )
        for m in BLOCK.finditer(text)
    ]


@pytest.fixture(scope="module")
def shell(
    example_server: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BlockingKernelClient]:
    """A kernel that finds the server of the examples."""
    folder = tmp_path_factory.mktemp("pages")
    with examples.environment(**example_server):
        manager, client = start_new_kernel(kernel_name="python3", cwd=str(folder))
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run_cell(shell: BlockingKernelClient, code: str) -> None:
    """Run a cell; it must succeed."""
    shown: list[str] = []
    reply = shell.execute_interactive(
        code,
        timeout=TIMEOUT,
        allow_stdin=False,
        output_hook=lambda message: shown.append(str(message["content"])),
    )
    assert reply["content"]["status"] == "ok", "\n".join([code, *shown])


def run_script(code: str, folder: Path, variables: dict[str, str], models: Path) -> None:
    """Run commands; they must succeed."""
    environment = {**os.environ, **variables, "OLLAMA_MODELS": str(models)}
    environment["OLLAMA_HOST"] = variables["JUPYTER_OLLAMA_URL"]
    environment["PATH"] = f"{Path(examples.sys.executable).parent}:{os.environ['PATH']}"
    command = ["bash", "-euo", "pipefail", "-c", code]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT
    )
    assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(
    page: str,
    shell: BlockingKernelClient,
    example_server: dict[str, str],
    example_store: Path,
    tmp_path: Path,
) -> None:
    run_cell(shell, "%reset -f")
    for block in blocks(page):
        if block.reason or block.language not in LANGUAGES:
            continue
        if "get_config()" in block.code:
            # A configuration file; test_settings_exist checks the names.
            settings = Config()
            exec(block.code, {"get_config": lambda made=settings: made})
            assert settings
        elif block.language == "bash":
            run_script(block.code, tmp_path, example_server, example_store)
        else:
            run_cell(shell, block.code)


def test_the_how_to_pages_are_many_and_each_has_code() -> None:
    pages = [page for page in PAGES if "howto" in page and not page.endswith("index.md")]
    assert len(pages) >= 15
    for page in pages:
        assert any(block.language in LANGUAGES for block in blocks(page)), page
