"""Print what the project depends on, without some packages.

python tools/requirements.py --extras docs --without llama-cpp-python
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Print a requirement a line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--extras", nargs="*", default=[])
    parser.add_argument("--without", nargs="*", default=[])
    arguments = parser.parse_args()
    left_out = {*arguments.without, "jupyter-ollama-magics"}
    for folder in (ROOT, ROOT / "magics"):
        project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
        wanted = list(project["dependencies"])
        for extra in arguments.extras:
            wanted += project["optional-dependencies"].get(extra, [])
        for requirement in wanted:
            if re.split(r"[^A-Za-z0-9._-]", requirement)[0] not in left_out:
                sys.stdout.write(requirement + "\n")


if __name__ == "__main__":
    main()
