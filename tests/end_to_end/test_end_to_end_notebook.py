"""From a GGUF file to a cell: real server, real kernel, real models."""

from __future__ import annotations

import json
import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from real_kernel import Kernel
from run_notebook import Server


def texts_of(messages: list[tuple[str, dict[str, object]]]) -> str:
    return "".join(str(content["text"]) for kind, content in messages if kind == "stream")


LONGER_THAN_A_STATUS = 200
"""Characters of an output that shows text of the answer, not the state of the request."""


def interrupt(server: Server, notebook: str) -> None:
    """Interrupt the kernel as JupyterLab's stop button does."""
    for session in server.call("GET", "/api/sessions"):
        if session["path"] == notebook:
            server.call("POST", f"/api/kernels/{session['kernel']['id']}/interrupt")


def test_chat_streams_into_one_output(cell: Kernel) -> None:
    reply, messages = cell.run(
        "%%chat smollm2 --temperature 0 --num-predict 80\nTell me a story about a lighthouse."
    )
    assert reply["status"] == "ok"
    kinds = [kind for kind, _ in messages]
    assert kinds[0] == "display_data"
    assert kinds.count("update_display_data") >= 5
    assert set(kinds) == {"display_data", "update_display_data"}
    shown = [content["data"]["text/markdown"] for _, content in messages]
    assert len(shown[-1]) > len(shown[len(shown) // 2]) > len(shown[0])
    last = messages[-1][1]["metadata"]["jupyter_ollama"]
    assert last["model"] == "smollm2"


def test_a_saved_notebook_has_one_markdown_output(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", f"{server.url}/ollama")
    monkeypatch.setenv("JUPYTER_OLLAMA_TOKEN", server.token)
    cells = [
        "%load_ext jupyter_ollama",
        "%%chat smollm2 --temperature 0\nWhat is the capital of France?",
        "%%chat --temperature 0\nAnd of Italy?",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    NotebookClient(notebook, timeout=100, kernel_name="python3").execute()
    first, second = notebook.cells[1].outputs, notebook.cells[2].outputs
    assert len(first) == len(second) == 1
    assert first[0].output_type == "display_data"
    assert "Paris" in first[0].data["text/markdown"]
    # The follow-up is understood: the conversation was sent with it.
    assert "Rome" in second[0].data["text/markdown"]


def test_interrupt_in_mid_stream_frees_the_slot(
    cell: Kernel, server: Server, tmp_path: Path
) -> None:
    def stop() -> None:
        shown = ""
        while len(shown) < LONGER_THAN_A_STATUS:
            content = cell.client.get_iopub_msg(timeout=60)["content"]
            shown = content.get("data", {}).get("text/plain", "")
        interrupt(server, "notebook.ipynb")

    reply, messages = cell.run(
        "%%chat smollm2 --num-predict 3000 -o story\nWrite a very long story.", during=stop
    )
    assert reply["status"] == "ok"
    assert "interrupted" in messages[-1][1]["data"]["text/markdown"]
    stopped = time.monotonic()
    while is_busy(server):
        assert time.monotonic() - stopped < 20
    print(f"slot free {time.monotonic() - stopped:.2f} s after the interrupted cell")
    reply, messages = cell.run("print(story.done_reason, len(story.text) > 0)")
    assert texts_of(messages) == "interrupted True\n"
    reply, messages = cell.run("%%chat smollm2 --num-predict 8 --new\nHello")
    assert reply["status"] == "ok"


def is_busy(server: Server) -> bool:
    """An idle model's time to live runs down; that of a busy one restarts at every listing."""

    def expiry() -> str:
        (model,) = [
            m for m in server.call("GET", "/ollama/api/ps")["models"] if "smollm2" in m["name"]
        ]
        text: str = model["expires_at"]
        return text

    before = expiry()
    time.sleep(0.05)
    return expiry() != before


def test_embed_of_a_thousand_texts_keeps_the_index(cell: Kernel) -> None:
    reply, messages = cell.run(
        """
import json
import numpy as np
import pandas as pd

pair = ["How is the weather today?", "What is the current weather like today?"]
others = [f"Invoice number {n} is due at the end of the month." for n in range(998)]
texts = pd.Series(pair + others, index=[f"row-{n}" for n in range(1000)])
vectors = %embed texts --model all-minilm
near = vectors.to_numpy()[1:] @ vectors.to_numpy()[0]
print(json.dumps({
    "shape": vectors.shape,
    "aligned": bool((vectors.index == texts.index).all()),
    "dtypes": sorted({str(t) for t in vectors.dtypes}),
    "best": int(near.argmax()),
    "pair": float(near[0]),
    "others": float(near[1:].max()),
}))
"""
    )
    assert reply["status"] == "ok", reply
    found = json.loads(texts_of(messages).splitlines()[-1])
    assert found["shape"] == [1000, 384]
    assert found["aligned"]
    assert found["dtypes"] == ["float32"]
    assert found["best"] == 0
    assert found["pair"] > 0.8 > found["others"]


def test_errors_are_short_and_stop_the_notebook(cell: Kernel) -> None:
    reply, _ = cell.run("%%chat nonesuch\nHello")
    assert reply["status"] == "error"
    assert "nonesuch" in reply["evalue"]
    assert "smollm2" in reply["evalue"]
