"""The server that all suites talk to: the one of `make conformance`, or one started here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Check = Callable[[str], None]
FOLDER = Path(__file__).parent


@pytest.fixture(scope="session")
def host(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of the server, as OLLAMA_HOST has it."""
    if running := os.environ.get("CONFORMANCE_HOST"):
        yield running
        return
    from conformance_server import conformance_server

    folder = request.getfixturevalue("tmp_path_factory").mktemp("conformance")
    store = request.getfixturevalue("ollama_store")
    shutil.copytree(store, folder / "models", copy_function=os.link)
    with conformance_server(folder) as served:
        yield served.host


@pytest.fixture(scope="module")
def node_checks(
    request: pytest.FixtureRequest, host: str, tmp_path_factory: pytest.TempPathFactory
) -> Check:
    """Run the .mjs file of the same name once; fail for the check whose name is given."""
    script = Path(request.module.__file__).with_suffix(".mjs")
    # Node looks for packages beside a script, and these are installed elsewhere.
    folder = tmp_path_factory.mktemp("node")
    for file in (script, FOLDER / "checks.mjs"):
        shutil.copy(file, folder)
    (folder / "node_modules").symlink_to(Path(os.environ["CONFORMANCE_NPM"]) / "node_modules")
    done = subprocess.run(
        ["node", script.name, host], cwd=folder, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    results: dict[str, str] = json.loads(done.stdout)

    def check(name: str) -> None:
        assert results[name] == "passed", results[name]

    return check


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of each check that the .mjs file beside a module defines."""
    if "node_check" in metafunc.fixturenames:
        text = Path(metafunc.module.__file__).with_suffix(".mjs").read_text()
        names = [line.split('"')[1] for line in text.splitlines() if line.startswith('check("')]
        metafunc.parametrize("node_check", names)
