"""Settings of the documentation: `make docs` builds it with Sphinx."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import gallery
import reference

from jupyter_ollama._version import __version__

DOCS = Path(__file__).parent

project = "jupyter_ollama"
release = version = __version__
extensions = ["myst_nb", "sphinx_design"]
myst_enable_extensions = ["colon_fence", "deflist"]
# The notebooks are shown with the outputs that are in their files.
nb_execution_mode = "off"
html_theme = "furo"
html_title = "jupyter_ollama"
html_show_copyright = False
html_static_path = ["static"]
html_css_files = ["notebooks.css"]
html_search_scorer = str(DOCS / "static" / "scorer.js")
exclude_patterns = ["build", "gallery/cards.txt"]
myst_heading_anchors = 3
# Links of included files that lead out of the documentation, to files of the repository.
suppress_warnings = ["myst.xref_missing"]

reference.write(DOCS / "reference")
gallery.write(DOCS)
