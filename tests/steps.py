"""A batch loop in the process of a test."""

from __future__ import annotations

from pathlib import Path

import llama_cpp.llama_cpp as llama
import pytest

from jupyter_ollama.engine.generator import Generator
from jupyter_ollama.engine.loading import LoadedModel
from jupyter_ollama.engine.preemption import Preemption
from jupyter_ollama.engine.protocol import LoadSpec
from jupyter_ollama.engine.sampling import Sampler
from jupyter_ollama.engine.sequence import Sequence
from jupyter_ollama.engine.text_stream import TextStream
from jupyter_ollama.options import Options


class Steps:
    """A generator whose steps are made by the test, with ``parallel`` sequences at once."""

    def __init__(self, path: Path, parallel: int, preemption: Preemption | None = None) -> None:
        self.loaded = LoadedModel(LoadSpec(model=str(path), num_ctx=256, num_parallel=parallel))
        self.context = self.loaded.generation_context()
        self.generator = Generator(
            self.loaded.model,
            self.context,
            lambda told: None,
            lambda sequence, status, message: pytest.fail(message),
            parallel=parallel,
            idle_tokens=0,
            stored_bytes=2**30,
            preemption=preemption,
        )

    def add(self, text: str, predict: int = 8, *, stream: bool = True) -> Sequence:
        tokens = self.loaded.model.tokenize(text, special=True)
        sampler = Sampler(self.loaded.model, Options(temperature=0), tokens)
        text_stream = TextStream([])
        sequence = Sequence(1, tokens, sampler, text_stream, 256, predict, 4, True, stream=stream)
        self.generator.add(sequence)
        return sequence

    def run(self, text: str, steps: int = 1000) -> Sequence:
        sequence = self.add(text)
        while self.generator.busy and steps:
            self.generator.step()
            steps -= 1
        return sequence

    def cells(self) -> int:
        """Return how many cells of the KV cache sequences have, shared ones counted for each."""
        ends = (
            llama.llama_memory_seq_pos_max(self.context.memory, slot)
            for slot in range(self.context.max_sequences)
        )
        return sum(1 + end for end in ends)
