"""Measure whether JupyterLab starts slower with the extension than without it.

    python benchmarks/lab_start.py [STARTS]

Both kinds of start take turns, each in a browser that has nothing cached. A start ends when Lab has
restored its panels. Needs Chromium, and the packages of the tests.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parent.parent
for folder in ("examples", "tests/browser"):
    sys.path.insert(0, str(ROOT / folder))

from jupyterlab_page import add_lab_extension, chromium, lab_server, open_lab  # noqa: E402
from run_notebook import Server  # noqa: E402


def main() -> None:
    """Print the medians and their ratio."""
    starts = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        add_lab_extension(home)
        link = home / "data_dir" / "labextensions" / "jupyter-ollama"
        only_here(home, link.parent)
        link.unlink()
        with lab_server(home, home / "models") as server, chromium() as browser:
            seconds: dict[bool, list[float]] = {True: [], False: []}
            for turn in range(2 * starts + 2):
                with_extension = turn % 2 == 0
                if with_extension:
                    link.symlink_to(ROOT / "jupyter_ollama" / "labextension")
                took = start(browser, server, with_extension)
                if with_extension:
                    link.unlink()
                if turn >= 2:  # the first of each warms the server
                    seconds[with_extension].append(took)
    medians = {kind: statistics.median(values) for kind, values in seconds.items()}
    for kind, values in seconds.items():
        name = "with the extension" if kind else "without it"
        print(f"{name}: {medians[kind]:.2f} s ({min(values):.2f} to {max(values):.2f})")
    print(f"ratio: {medians[True] / medians[False]:.3f}")


def only_here(home: Path, folder: Path) -> None:
    """Have a server look for extensions in one folder."""
    config = home / "config_dir" / "jupyter_lab_config.json"
    config.parent.mkdir()
    config.write_text(json.dumps({"LabApp": {"labextensions_path": [str(folder)]}}))


def start(browser: Browser, server: Server, with_extension: bool) -> float:
    """Return the seconds that a start takes."""
    page = browser.new_context().new_page()
    began = time.monotonic()
    open_lab(page, server)
    page.evaluate("jupyterapp.restored")
    took = time.monotonic() - began
    has_it = page.evaluate("jupyterapp.hasPlugin('jupyter-ollama:client')")
    assert has_it == with_extension
    page.context.close()
    return took


if __name__ == "__main__":
    main()
