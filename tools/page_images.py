"""Make the pictures of the page of a shared server, with users who have a history and requests.

    python tools/page_images.py

Needs Chromium, and the packages of the tests. The pictures go to docs/images/.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
for folder in ("examples", "tests", "tests/browser"):
    sys.path.insert(0, str(ROOT / folder))

import starter_models  # noqa: E402
from jupyterlab_page import chromium  # noqa: E402
from page_server import ADMIN, USER, PageServer, chat, page_server, record_history  # noqa: E402
from PIL import Image  # noqa: E402
from playwright.sync_api import Browser, expect  # noqa: E402

from jupyter_ollama.library.library import Library  # noqa: E402

IMAGES = ROOT / "docs" / "images"
VIEW = {"width": 1100, "height": 760}
SCALE = 1.5
COLOURS = 128
PATIENCE = 60_000
SECONDS = 25_000
"""The time that the lines of the figures grow for, in milliseconds."""
PEOPLE = ("ada", "alan", "barbara", "donald", "edsger", "grace", "ken", "margaret", "radia", "tim")
ASKING = ("ada", "grace", "alan", "radia")
LONG = {"temperature": 0, "num_predict": 1500, "num_ctx": 2048, "logit_bias": {"0": -99, "2": -99}}


def main() -> None:
    """Make both pictures."""
    users = [(name, ["physics" if number % 2 else "biology"]) for number, name in enumerate(PEOPLE)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = Library.open(folder / "models")
        for model in ("smollm2", "all-minilm"):
            starter_models.register(model, library)
        record_history(folder / "usage.sqlite", users, 60)
        with (
            page_server(
                models_dir=str(folder / "models"),
                record_usage=True,
                usage_file=str(folder / "usage.sqlite"),
                num_parallel=2,
                limits={"*": {"tokens_per_day": 60_000, "tokens_per_week": 300_000}},
            ) as server,
            chromium() as browser,
        ):
            for scheme in ("light", "dark"):
                picture(browser, server, scheme)


def picture(browser: Browser, server: PageServer, scheme: str) -> None:
    """Make the picture of the overview in one colour scheme."""
    groups = dict(zip(PEOPLE, ("biology", "physics") * len(PEOPLE), strict=False))
    body = chat(options=LONG, stream=False)
    tasks = [
        server.begin(server.shared.user(f"{one}/{groups[one]}")("POST", "/api/chat", body))
        for one in ASKING
    ]
    context = browser.new_context(
        viewport=VIEW,  # type: ignore[arg-type]
        device_scale_factor=SCALE,
        color_scheme=scheme,  # type: ignore[arg-type]
        extra_http_headers={USER: ADMIN},
    )
    page = context.new_page()
    page.goto(f"{server.url}/page")
    expect(page.get_by_text("running").first).to_be_visible(timeout=PATIENCE)
    page.wait_for_timeout(SECONDS)
    file = IMAGES / f"page{'-dark' if scheme == 'dark' else ''}.png"
    page.screenshot(path=file)
    Image.open(file).convert("RGB").quantize(COLOURS).save(file, optimize=True)
    context.close()
    for request in server.read(lambda: server.shared.server.admission.requests):
        server.read(request.cancel)
    for task in tasks:
        task.result(60)


if __name__ == "__main__":
    main()
