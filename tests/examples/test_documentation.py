"""The documentation builds without warnings and contains every setting of the code."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import jupyter_ollama_magics
from traitlets import TraitType
from traitlets.config import Configurable

import jupyter_ollama

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))

import reference  # noqa: E402


def test_the_documentation_is_built_without_a_warning(tmp_path: Path) -> None:
    command = ["-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", DOCS, tmp_path]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    settings = (tmp_path / "reference" / "settings.html").read_text("utf-8")
    for kind, name in settings_in_the_code():
        assert f"c.{kind}.{name}" in settings
    for image in DOCS.glob("images/*.png"):
        assert image.stat().st_size < 300_000, image.name


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
