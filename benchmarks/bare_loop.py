"""The limit: llama_decode in the barest loop, no server, no text, no pipe.

Usage: python benchmarks/bare_loop.py MODEL.gguf STREAMS... ; prints a JSON object, tokens a second
of generation for each number of streams (prompts are read before the clock starts).
"""

from __future__ import annotations

import ctypes
import json
import sys
import time

import llama_cpp.llama_cpp as llama
import numpy as np
from workload import PREDICT, prompts

from jupyter_ollama.engine.devices import physical_threads
from jupyter_ollama.engine.llama_context import Batch, LlamaContext
from jupyter_ollama.engine.llama_model import LlamaModel


def generate(model: LlamaModel, context: LlamaContext, streams: int) -> float:
    """Return tokens a second over ``streams`` sequences of PREDICT greedy tokens."""
    context.forget(-1)
    batch = Batch(2048)
    newest, lengths = [], []
    for sequence, prompt in enumerate(prompts(streams)):
        tokens = model.tokenize(prompt, special=True)
        batch.clear()
        row = batch.add(tokens, 0, sequence, outputs="last")
        assert context.decode(batch) == 0
        newest.append(int(context.logits(row).argmax()))
        lengths.append(len(tokens))
    start = time.perf_counter()
    for step in range(PREDICT):
        batch.clear()
        rows = [
            batch.add([newest[s]], lengths[s] + step, s, outputs="last") for s in range(streams)
        ]
        assert context.decode(batch) == 0
        newest = [int(np.argmax(context.logits(row))) for row in rows]
    return streams * PREDICT / (time.perf_counter() - start)


def main() -> None:
    """Measure each number of streams in turn."""
    quiet = llama.llama_log_callback(lambda *_: None)
    llama.llama_log_set(quiet, ctypes.c_void_p(0))
    path, *numbers = sys.argv[1:]
    model = LlamaModel(path, gpu_layers=-1, main_gpu=0, use_mmap=None)
    context = LlamaContext(
        model, cells=16384, sequences=16, batch=2048, ubatch=512, threads=physical_threads()
    )
    generate(model, context, 1)
    print(json.dumps({number: generate(model, context, int(number)) for number in numbers}))


if __name__ == "__main__":
    main()
