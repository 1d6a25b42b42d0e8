"""What the documents say exists: links, files, commands, targets, settings, imports, extras."""

from __future__ import annotations

import ast
import re
import subprocess
import textwrap
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from jupyter_ollama_magics.magics import OllamaMagics

from jupyter_ollama.cli.app import OllamaApp
from jupyter_ollama.config import OllamaServer
from jupyter_ollama.hub.authorizer import OllamaAuthorizer

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "docs/howto/*.md", "*/README.md", ".github/*.md")
    for page in ROOT.glob(pattern)
    if page.name != "CHANGELOG.md"  # describes releases, not the present tree
)
BASES = ("", "docs", "examples", "jupyter_ollama", "magics", "magics/jupyter_ollama_magics")
"""Folders to which paths in a page are relative, besides that of the page."""
ELSEWHERE = {
    "config.json",
    "ipython_config.py",
    "jupyter_ollama_config.py",
    "jupyterhub_config.py",
    "tokenizer.json",
    "tokenizer.model",
}
"""Files of users and models."""
PATH = re.compile(r"[\w./-]+(/|\.(py|md|toml|json|yaml|yml|ts|tsx|js|css|cfg|ipynb|mjs))")
TRAITS = {kind.__name__: kind for kind in (OllamaServer, OllamaMagics, OllamaAuthorizer)}


@cache
def text_of(page: str) -> str:
    """Return a page."""
    return (ROOT / page).read_text("utf-8")


def code_of(page: str) -> Iterator[str]:
    """Yield the code of a page: spans, fenced and indented blocks."""
    text = text_of(page)
    fence = re.compile(r"^```.*?\n(.*?)^```", re.MULTILINE | re.DOTALL)
    yield from fence.findall(text)
    rest = fence.sub("", text)
    blocks = re.compile(r"(?:^ {4}\S.*\n)+", re.MULTILINE)
    yield from (textwrap.dedent(block) for block in blocks.findall(rest))
    yield from (span.replace("\n", " ") for span in re.findall(r"`+([^`]+)`+", rest))


@cache
def tracked() -> list[str]:
    """List the files of the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@cache
def sources() -> str:
    """Return all Python code of the distributions and of what installs them."""
    names = (name for name in tracked() if name.endswith(".py"))
    kept = (name for name in names if name.startswith(("jupyter_ollama/", "magics/", "tools/")))
    return "\n".join((ROOT / name).read_text("utf-8") for name in kept if (ROOT / name).exists())


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_and_images_exist(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (ROOT / page).parent / name if name else ROOT / page
        if file.parent.name == "reference":  # written when the documentation is built
            assert f'"{file.stem}"' in text_of("docs/reference.py"), target
            continue
        if file.parent.name == "gallery":  # copied when the documentation is built
            file = ROOT / "examples" / file.name
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES)
def test_paths_exist(page: str) -> None:
    folders = [(ROOT / page).parent, *(ROOT / base for base in BASES)]
    names = {Path(name).name for name in tracked()} | ELSEWHERE
    for code in code_of(page):
        if PATH.fullmatch(code) and not code.startswith(("/", "~", ".")):
            is_name = "/" not in code.rstrip("/")
            exists = any((folder / code).exists() for folder in folders)
            assert exists or (is_name and code in names), code


@pytest.mark.parametrize("page", PAGES)
def test_targets_of_make_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", text_of("Makefile"), re.MULTILINE))
    named = {
        target
        for code in code_of(page)
        for words in re.findall(r"\bmake ((?:[A-Z_]+=\S+ )*[a-z][a-z0-9-]*)", code)
        for target in words.split()[-1:]
    }
    assert named <= targets


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(page: str) -> None:
    for code in code_of(page):
        for line in code.splitlines():
            for part in re.findall(r"\bjupyter[ -]ollama ([a-z][^)]*)", line):
                for alternative in part.split(" | "):
                    name = alternative.split()[0].rstrip(",.")
                    assert name in OllamaApp.subcommands, line


@pytest.mark.parametrize("page", PAGES)
def test_settings_exist(page: str) -> None:
    for kind, name in re.findall(rf"\b({'|'.join(TRAITS)})\.([a-z]\w+)", text_of(page)):
        assert name in TRAITS[kind].class_trait_names(config=True), f"{kind}.{name}"
    for name in re.findall(r"\b(?:JUPYTER_)?OLLAMA_[A-Z_]*[A-Z]\b", text_of(page)):
        assert name in sources(), name


@pytest.mark.parametrize("page", PAGES)
def test_extras_exist(page: str) -> None:
    for name, extras in re.findall(r"\b(jupyter-ollama(?:-magics)?)\[([\w,]+)\]", text_of(page)):
        folder = ROOT / "magics" if name.endswith("magics") else ROOT
        project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
        assert {*extras.split(",")} <= {*project["optional-dependencies"]}, extras


@pytest.mark.parametrize("page", PAGES)
def test_imports_work(page: str) -> None:
    for code in code_of(page):
        for line in re.findall(r"^(?:from|import) jupyter_ollama.*$", code, re.MULTILINE):
            ast.parse(line)
            exec(line, {})
