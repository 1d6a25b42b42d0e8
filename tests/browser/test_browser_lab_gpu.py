"""The panel of models on a host with a GPU, for which Mesa's software driver stands."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from jupyterlab_page import add_lab_extension, lab_server, open_lab
from playwright.sync_api import Browser, expect

BACKENDS = Path(sys.prefix) / "vulkan"
"""Where `make test` installs the Vulkan backend."""


@pytest.mark.timeout(600)  # the driver compiles its kernels
def test_the_panel_shows_the_memory_of_a_model_on_the_gpu(
    browser: Browser, ollama_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without this variable ggml ignores processors.
    monkeypatch.setenv("GGML_VK_VISIBLE_DEVICES", "0")
    add_lab_extension(tmp_path)
    page = browser.new_page()
    with lab_server(tmp_path, ollama_store, backend_folders=[str(BACKENDS)]) as server:
        open_lab(page, server)
        page.locator('[data-id="jupyter-ollama-models"]').click()
        panel = page.locator("#jupyter-ollama-models")
        panel.get_by_role("button", name="Load all-minilm:latest", exact=True).click()
        panel.get_by_role("tab", name="Loaded").click()
        row = panel.locator(".jpo-row", has_text="all-minilm")
        expect(row).to_contain_text("on GPU", timeout=500_000)
        (model,) = server.call("GET", "/ollama/api/ps")["models"]
        shown = f"{model['size_vram'] / 1e6:.0f} MB on GPU"
        expect(row).to_contain_text(shown)
        page.screenshot(path=tmp_path / "panel.png")
    page.close()
