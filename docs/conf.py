"""Settings of the documentation: `make docs` builds it with Sphinx."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import reference

from jupyter_ollama._version import __version__

project = "jupyter_ollama"
release = version = __version__
extensions = ["myst_parser"]
myst_enable_extensions = ["deflist"]
html_theme = "furo"
html_title = "jupyter_ollama"
exclude_patterns = ["build"]
myst_heading_anchors = 3
# Links of included files that lead out of the documentation, to files of the repository.
suppress_warnings = ["myst.xref_missing"]

reference.write(Path(__file__).parent / "reference")
