"""The limit: llama_decode in the barest loop, no server, no text, no pipe, argmax for sampling.

    python benchmarks/limit.py MODEL.gguf SEQUENCES CELLS THREADS

answers each line of JSON on stdin, {"prompts": [...], "predict": 64}, by one on stdout with the
seconds of reading all prompts together, the seconds of generating, and how many tokens came before
a sequence ended by itself. Its memory is empty before each line: every prompt is cold.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
from backend import load_backend
from numpy.typing import NDArray

BATCH = 2048


class BareLoop:
    """One context and one batch of llama.cpp, used by hand."""

    def __init__(self, path: str, sequences: int, cells: int, threads: int) -> None:
        llama.llama_backend_init()
        load_backend()
        model_params = llama.llama_model_default_params()
        model_params.n_gpu_layers = -1
        self.model = llama.llama_model_load_from_file(path.encode(), model_params)
        self.vocab = llama.llama_model_get_vocab(self.model)
        self.n_vocab = llama.llama_vocab_n_tokens(self.vocab)
        params = llama.llama_context_default_params()
        params.n_ctx, params.n_seq_max = cells, sequences
        params.n_batch, params.n_ubatch = BATCH, 512
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = params.swa_full = params.no_perf = True
        self.context = llama.llama_init_from_model(self.model, params)
        self.memory = llama.llama_get_memory(self.context)
        self.batch = llama.llama_batch_init(BATCH, 0, 1)

    def tokenize(self, text: str) -> list[int]:
        """Return the tokens of a prompt, and the tokens that the vocabulary adds around it."""
        data = text.encode()
        tokens = (llama.llama_token * (len(data) + 8))()
        count = llama.llama_tokenize(self.vocab, data, len(data), tokens, len(tokens), True, True)
        return list(tokens[:count])

    def add(self, token: int, position: int, sequence: int, *, output: bool) -> int:
        """Put a token into the batch and return its row."""
        row: int = self.batch.n_tokens
        self.batch.token[row], self.batch.pos[row] = token, position
        self.batch.n_seq_id[row], self.batch.seq_id[row][0] = 1, sequence
        self.batch.logits[row] = output
        self.batch.n_tokens = row + 1
        return row

    def decode(self) -> None:
        """Run the batch and empty it."""
        if llama.llama_decode(self.context, self.batch):
            raise RuntimeError("llama_decode failed")
        self.batch.n_tokens = 0

    def choose(self, row: int) -> int:
        """Return the likeliest token of a row."""
        pointer = llama.llama_get_logits_ith(self.context, row)
        logits: NDArray[np.float32] = np.ctypeslib.as_array(pointer, (self.n_vocab,))
        return int(logits.argmax())

    def read(self, prompts: list[list[int]]) -> list[int]:
        """Read prompts, all in one batch where they fit, and return the first token of each."""
        newest = [0] * len(prompts)
        rows: dict[int, int] = {}
        for sequence, tokens in enumerate(prompts):
            for position, token in enumerate(tokens):
                last = position == len(tokens) - 1
                row = self.add(token, position, sequence, output=last)
                if last:
                    rows[sequence] = row
                if self.batch.n_tokens == BATCH or (last and sequence == len(prompts) - 1):
                    self.decode()
                    for reader, where in rows.items():
                        newest[reader] = self.choose(where)
                    rows.clear()
        return newest

    def run(self, prompts: list[str], predict: int) -> dict[str, Any]:
        """Generate ``predict`` tokens for each prompt; see the module for the result."""
        llama.llama_memory_seq_rm(self.memory, -1, -1, -1)
        read = [self.tokenize(prompt) for prompt in prompts]
        start = time.perf_counter()
        newest = self.read(read)
        middle = time.perf_counter()
        texts = [[token] for token in newest]
        for step in range(predict - 1):
            rows = [
                self.add(newest[s], len(tokens) + step, s, output=True)
                for s, tokens in enumerate(read)
            ]
            self.decode()
            newest = [self.choose(row) for row in rows]
            for text, token in zip(texts, newest, strict=True):
                text.append(token)
        stop = time.perf_counter()
        return {
            "prefill": middle - start,
            "decode": stop - middle,
            "prompt_tokens": [len(tokens) for tokens in read],
            "before_end": [self.before_end(text) for text in texts],
        }

    def before_end(self, tokens: list[int]) -> int:
        """Return how many tokens come before one that ends the text."""
        ends = (n for n, t in enumerate(tokens) if llama.llama_vocab_is_eog(self.vocab, t))
        return next(ends, len(tokens))


def main() -> None:
    """Answer lines until stdin ends."""
    quiet = llama.llama_log_callback(lambda *_: None)
    llama.llama_log_set(quiet, ctypes.c_void_p(0))
    path, sequences, cells, threads = sys.argv[1:]
    loop = BareLoop(path, int(sequences), int(cells), int(threads))
    loop.run(["warm up"], 4)
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(loop.run(job["prompts"], job["predict"])), flush=True)


if __name__ == "__main__":
    main()
