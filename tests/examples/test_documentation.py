"""The documentation can be built, and has all that the code says of itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from jupyter_ollama.config import OllamaServer

DOCS = Path(__file__).parents[2] / "docs"


def test_the_documentation_is_built_without_a_warning(tmp_path: Path) -> None:
    command = ["-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", DOCS, tmp_path]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    settings = (tmp_path / "reference" / "settings.html").read_text("utf-8")
    for name in OllamaServer.class_own_traits(config=True):
        assert f"c.OllamaServer.{name}" in settings
    for image in DOCS.glob("images/*.png"):
        assert image.stat().st_size < 300_000, image.name
