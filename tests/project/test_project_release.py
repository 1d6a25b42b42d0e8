"""The checks before a release: versions, changelog, clean tree, contents of the distributions."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import release  # noqa: E402

from jupyter_ollama.backends.command_log import Failure  # noqa: E402

STATED = (*release.VERSIONS, "labextension/package.json", "pyproject.toml")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with the files that state versions, and a changelog with a release."""
    for name in STATED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3 (2026-01-31)\n")
    for command in (["init"], ["add", "."], ["commit", "-m", "All"]):
        subprocess.run(
            ["git", "-c", "user.name=A", "-c", "user.email=a@localhost", *command],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
    return tmp_path


def test_the_versions_of_this_tree_agree() -> None:
    from jupyter_ollama import __version__

    assert release.read_version(ROOT) == __version__


@pytest.mark.parametrize("name", STATED)
def test_one_file_with_another_version_is_refused(name: str, tree: Path) -> None:
    version = release.read_version(tree)
    text = (tree / name).read_text()
    for stated in (version, release.npm_version(version)):
        text = text.replace(f'"{stated}"', '"9.9.9"').replace(f"=={stated}", "==9.9.9")
    (tree / name).write_text(text)
    with pytest.raises(Failure, match=r"versions differ|must require"):
        release.read_version(tree)


@pytest.mark.parametrize(
    ("version", "npm"),
    [("1.2.3", "1.2.3"), ("0.2.0.dev0", "0.2.0-dev.0"), ("0.2.0rc1", "0.2.0-rc.1")],
)
def test_the_version_in_the_form_of_npm(version: str, npm: str) -> None:
    assert release.npm_version(version) == npm


def test_a_tree_with_its_release_in_the_changelog_passes(tree: Path) -> None:
    release.check_tree(tree, "1.2.3")
    release.check_tree(tree, "1.2.3rc1")


def test_what_cannot_be_released(tree: Path) -> None:
    with pytest.raises(Failure, match="development version"):
        release.check_tree(tree, "1.2.3.dev0")
    with pytest.raises(Failure, match=r"no heading like: ## 1\.2\.4"):
        release.check_tree(tree, "1.2.4")
    (tree / "left.txt").touch()
    with pytest.raises(Failure, match=r"changes:\n\?\? left\.txt"):
        release.check_tree(tree, "1.2.3")


def test_distributions_that_lack_a_file_or_contain_tests_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a-1-py3-none-any.whl"
    with pytest.raises(Failure, match="was not built"):
        release.check_contents(path, ())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/__init__.py", "")
    release.check_contents(path, ("a/__init__.py",))
    with pytest.raises(Failure, match=r"lacks py\.typed"):
        release.check_contents(path, ("py.typed",))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("tests/test_a.py", "")
    with pytest.raises(Failure, match=r"contains tests/test_a\.py"):
        release.check_contents(path, ())


def test_the_name_and_version_of_the_lab_extension_are_those_of_the_distribution() -> None:
    package = json.loads((ROOT / "labextension/package.json").read_text())
    assert (package["name"], package["private"]) == ("jupyter-ollama", True)
