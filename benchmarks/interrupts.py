"""How soon a cell ends when its kernel is interrupted, and when the server is free again.

    python benchmarks/interrupts.py [--rounds 5]

Prints a table in Markdown: medians of the rounds with the most, in milliseconds from the interrupt.
A real kernel runs the cells, and a real server the model (SmolLM2), which is interrupted in four
places: while a request waits its turn, while a long prompt is read, in the middle of an answer, and
in the middle of a column. The server is free when no request of the cell is left and, unless other
requests have all slots, a prompt of one word has been answered.

Expected before it was measured: the cell 300 ms at most, the server 1 s.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from jupyter_client.manager import start_new_kernel
from library import serving

from jupyter_ollama.library.library import Library

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "tests")]

import starter_models  # noqa: E402
from crowd import ask, crowd, requests, wait_until  # noqa: E402

MODEL = "smollm2"
CHAT = '%%chat smollm2 --new --temperature 0 -p logit_bias=\'{"2": -100, "0": -100}\'\n'
CELLS = {
    "waiting its turn": CHAT + "Tell me a story.",
    "reading a prompt of 6,000 tokens": CHAT.replace("--new", "--new --num-ctx 8192")
    + "The quick brown fox jumps over the lazy dog. " * 600,
    "in the middle of an answer": CHAT + "Tell me a story.",
    "in the middle of a column": (
        "import pandas as pd\n"
        "rows = pd.Series([f'{n}. Write about the sea.' for n in range(500)])\n"
        "rows.ollama.chat('{text}', model='smollm2', options={'num_predict': 32})"
    ),
}
BEFORE = 1.5  # seconds from the start of a cell to the interrupt


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        library = Library.open(Path(folder, "models"))
        starter_models.register(MODEL, library)
        with serving(library.store.root) as url:
            os.environ["JUPYTER_OLLAMA_URL"] = url
            print("| interrupted | the cell ends, ms | the server is free, ms |\n|---|---|---|")
            for name, code in CELLS.items():
                measure(name, code, url, rounds)


def measure(name: str, code: str, url: str, rounds: int) -> None:
    """Interrupt a cell some times and print its line."""
    others = 16 if name.startswith("waiting") else 0
    manager, client = start_new_kernel(kernel_name="python3", env=dict(os.environ))
    try:
        client.execute_interactive("%load_ext jupyter_ollama_magics", timeout=60)
        ended, free = [], []
        for _ in range(rounds):
            with crowd(url, others):
                runs = client.execute(code)
                time.sleep(BEFORE)
                began = time.perf_counter()
                manager.interrupt_kernel()
                while client.get_shell_msg(timeout=30)["parent_header"].get("msg_id") != runs:
                    pass
                ended.append((time.perf_counter() - began) * 1e3)
                wait_until(lambda: len(requests(url)) <= others)
                if not others:
                    ask(url, {"temperature": 0, "num_predict": 1})
                free.append((time.perf_counter() - began) * 1e3)
        print(f"| {name} | {median_and_most(ended)} | {median_and_most(free)} |", flush=True)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def median_and_most(values: list[float]) -> str:
    """Return median and most."""
    return f"{median(values):.0f} ({max(values):.0f})"


if __name__ == "__main__":
    main()
