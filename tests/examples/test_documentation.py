"""The documentation builds without warnings and contains every setting of the code."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import example_outputs as examples
import jupyter_ollama_magics
import pytest
from traitlets import TraitType
from traitlets.config import Configurable

import jupyter_ollama
from jupyter_ollama.api.openapi import document

DOCS = Path(__file__).parents[2] / "docs"
sys.path[:0] = [str(DOCS), str(DOCS.parent / "tests" / "browser")]

import reference  # noqa: E402
from jupyterlab_page import chromium  # noqa: E402


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation, built without a warning."""
    folder = tmp_path_factory.mktemp("docs")
    command = ["-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", DOCS, folder]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_reference_has_every_setting_and_route(built: Path) -> None:
    settings = (built / "reference" / "settings.html").read_text("utf-8")
    for kind, name in settings_in_the_code():
        assert f"c.{kind}.{name}" in settings
    api = (built / "reference" / "api.html").read_text("utf-8")
    for path in document()["paths"]:
        assert path in api
    assert "keep_alive" in api, "no bodies"


def test_pictures_are_small() -> None:
    for image in DOCS.glob("images/*.png"):
        assert image.stat().st_size < 300_000, image.name
    for film in DOCS.glob("images/*.gif"):
        assert film.stat().st_size < 1_500_000, film.name


def test_the_gallery_shows_every_example_with_its_outputs(built: Path) -> None:
    cards = (built / "examples.html").read_text("utf-8")
    for name in examples.notebooks():
        assert f"gallery/{name}.html" in cards
        page = (built / "gallery" / f"{name}.html").read_text("utf-8")
        assert ("cell_output" in page) == (name not in examples.LARGE)


@pytest.mark.parametrize(
    ("word", "page"),
    [("embedding", "howto/embeddings"), ("proxy", "howto/proxy"), ("quotas", "howto/quotas")],
)
def test_the_search_finds_the_right_page_first(built: Path, word: str, page: str) -> None:
    with chromium() as browser:
        tab = browser.new_page()
        tab.goto(f"{(built / 'search.html').as_uri()}?q={word}")
        # All results are there once their number is.
        tab.get_by_text(re.compile(r"Search finished")).wait_for()
        first = tab.locator("ul.search li a").first
        assert f"{page}.html" in (first.get_attribute("href") or "")


def settings_in_the_code() -> set[tuple[str, str]]:
    """Return (class, setting) of every trait that a class statement of our packages tags."""
    for package in (jupyter_ollama, jupyter_ollama_magics):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    ours = [
        kind for kind in subclasses(Configurable) if kind.__module__.startswith("jupyter_ollama")
    ]
    found = set()
    for kind in ours:
        tagged = {
            n
            for n, t in vars(kind).items()
            if isinstance(t, TraitType) and t.metadata.get("config")
        }
        users = [one for one in ours if issubclass(one, kind) and not {*ours} & {*subclasses(one)}]
        found |= {(user.__name__, name) for user in users for name in tagged}
    return found


def subclasses(kind: type) -> list[type]:
    """Return all classes below one."""
    return [one for child in kind.__subclasses__() for one in (child, *subclasses(child))]


def test_settings_of_all_kinds_are_in_the_reference() -> None:
    documented = {
        (kind.__name__, name)
        for kind in reference.CONFIGURABLE
        for name in reference.own_traits(kind)
    }
    assert documented == settings_in_the_code()
    names = {name for _, name in documented}
    assert {"models_dir", "limits", "max_messages", "runner_silence", "web_timeout"} <= names
    assert {"record_usage", "usage_file", "usage_days", "metrics_by_user"} <= names


def test_every_bound_is_listed_with_its_reason() -> None:
    page = (DOCS / "security.md").read_text("utf-8")
    assert page == reference.with_bounds(page), "run: python docs/reference.py"
