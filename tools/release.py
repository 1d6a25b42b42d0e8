"""Build and check the distributions of a release.

    python tools/release.py               # what `make release` runs
    python tools/release.py --rehearse    # build and check a development version, or a changed tree
    python tools/release.py --version     # print the version

The versions of both distributions and of the JupyterLab extension agree, the changelog has the
release, and the tree is clean. Wheels and source distributions go to dist/; their contents and
metadata are checked, and the wheels are installed in a new environment and started.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from jupyter_ollama.backends.command_log import Failure, say

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
VERSIONS = ("jupyter_ollama/_version.py", "magics/jupyter_ollama_client/_version.py")
SDISTS = {
    "jupyter_ollama": ("jupyter_ollama/extension.py", "labextension/package.json", "LICENSE"),
    "jupyter_ollama_magics": ("jupyter_ollama_magics/magics.py", "LICENSE"),
}
WHEELS = {
    "jupyter_ollama": (
        "jupyter_ollama/extension.py",
        "share/jupyter/labextensions/jupyter-ollama/package.json",
        "share/jupyter/labextensions/jupyter-ollama/install.json",
        "etc/jupyter/jupyter_server_config.d/jupyter_ollama.json",
        "/licenses/LICENSE",
    ),
    "jupyter_ollama_magics": (
        "jupyter_ollama_magics/magics.py",
        "jupyter_ollama_magics/py.typed",
        "jupyter_ollama_client/client.py",
        "jupyter_ollama_client/py.typed",
        "jupyter_ollama_magics/widgets/chat.js",
        "/licenses/LICENSE",
    ),
}
"""The ends of file names that a distribution must contain."""
UNWANTED = re.compile(r"(^|/)(tests|node_modules|__pycache__|\.git|\.venv)/|\.pyc$|\.egg-info/")
STARTS = (
    ["jupyter-ollama", "--version"],
    ["jupyter", "server", "extension", "list"],
    ["python", "-c", "import jupyter_ollama.extension, jupyter_ollama_magics"],
)


def main() -> int:
    """Check, build, check again."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rehearse", action="store_true", help="skip the checks of the tree")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    arguments = parser.parse_args()
    try:
        version = read_version(ROOT)
        if arguments.version:
            say(version)
            return 0
        if not arguments.rehearse:
            check_tree(ROOT, version)
        build(version)
    except Failure as failure:
        sys.stderr.write(f"Error: {failure}\n")
        return 1
    return 0


def read_version(root: Path) -> str:
    """Return the version of both distributions; raise Failure if a file states another."""
    stated = {name: _python_version(root / name) for name in VERSIONS}
    version = stated[VERSIONS[0]]
    package = json.loads((root / "labextension/package.json").read_text("utf-8"))["version"]
    if package == npm_version(version):
        package = version
    stated["labextension/package.json"] = package
    if set(stated.values()) != {version}:
        lines = "\n".join(f"    {name}: {value}" for name, value in stated.items())
        raise Failure(f"The versions differ:\n{lines}")
    pinned = f'"jupyter-ollama-magics=={version}"'
    if pinned not in (root / "pyproject.toml").read_text("utf-8"):
        raise Failure(f"pyproject.toml must require {pinned}")
    return version


def _python_version(path: Path) -> str:
    found = re.search(r'^__version__ = "(.+)"$', path.read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise Failure(f"{path} states no __version__")
    return found[1]


def npm_version(version: str) -> str:
    """Return a PEP 440 version in the form of npm: 0.2.0.dev0 is 0.2.0-dev.0."""
    return re.sub(r"\.?(dev|a|b|rc)(\d+)$", r"-\1.\2", version)


def check_tree(root: Path, version: str) -> None:
    """Raise Failure unless the tree can be released as ``version``."""
    if not re.fullmatch(r"\d+\.\d+\.\d+(rc\d+)?", version):
        raise Failure(f"{version} is a development version; --rehearse builds it all the same")
    final = version.partition("rc")[0]
    changelog = (root / "CHANGELOG.md").read_text("utf-8")
    if not re.search(rf"^## {re.escape(final)} \(\d{{4}}-\d\d-\d\d\)$", changelog, re.MULTILINE):
        raise Failure(f"CHANGELOG.md has no heading like: ## {final} (2026-01-31)")
    changed = _output(["git", "status", "--porcelain"], root)
    if changed:
        raise Failure(f"The tree has changes:\n{changed}")


def build(version: str) -> None:
    """Build both distributions into dist/ and check them."""
    shutil.rmtree(DIST, ignore_errors=True)
    for folder in (ROOT / "magics", ROOT):
        say(f"Building {folder.name}")
        _run([sys.executable, "-m", "build", "--outdir", str(DIST), str(folder)])
    files = sorted(DIST.iterdir())
    for name in WHEELS:
        check_contents(DIST / f"{name}-{version}-py3-none-any.whl", WHEELS[name])
        check_contents(DIST / f"{name}-{version}.tar.gz", SDISTS[name])
    _run([sys.executable, "-m", "twine", "check", "--strict", *map(str, files)])
    install([file for file in files if file.suffix == ".whl"])
    say("\n".join(["Built and checked:", *(f"    {file.name}" for file in files)]))


def check_contents(path: Path, needed: tuple[str, ...]) -> None:
    """Raise Failure if a distribution lacks a file, or contains one that must not be released."""
    if not path.exists():
        raise Failure(f"{path.name} was not built")
    names = list(_names(path))
    missing = [end for end in needed if not any(name.endswith(end) for name in names)]
    if missing:
        raise Failure(f"{path.name} lacks {', '.join(missing)}")
    # Tests belong in source distributions, as do the sources of the JupyterLab extension.
    unwanted = [name for name in names if UNWANTED.search(name) and path.suffix == ".whl"]
    unwanted += [name for name in names if "node_modules/" in name or name.endswith(".pyc")]
    if unwanted:
        raise Failure(f"{path.name} contains {', '.join(unwanted[:5])}")


def _names(path: Path) -> Iterator[str]:
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            yield from archive.namelist()
    else:
        with tarfile.open(path) as archive:
            yield from archive.getnames()


def install(wheels: list[Path]) -> None:
    """Install the wheels in a new environment and start the programs in them."""
    from llama_cpp_wheel import fetch_wheel, read_requirement

    llama_cpp = fetch_wheel(Path(sys.executable), read_requirement(ROOT / "pyproject.toml"))
    with tempfile.TemporaryDirectory() as folder:
        say("Installing the wheels in a new environment")
        _run([sys.executable, "-m", "venv", folder])
        bin_folder = Path(folder, "bin")
        _run([str(bin_folder / "pip"), "install", "-q", str(llama_cpp), *map(str, wheels)])
        for command in STARTS:
            _run([str(bin_folder / command[0]), *command[1:]])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def _output(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
