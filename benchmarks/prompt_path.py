"""The cost of keeping the texts of users from becoming control tokens.

Usage: python benchmarks/prompt_path.py MODEL.gguf [--rounds 30] [--turns 40]

Renders and tokenizes a conversation in turn with and without the guards, in one process, and
prints the times of both and their ratio. One conversation has no names of control tokens in it,
the other some in every message.
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import lru_cache, partial

from jupyter_ollama.engine.llama_log import LlamaLog
from jupyter_ollama.engine.llama_model import LlamaModel
from jupyter_ollama.engine.prompting import Prompter
from jupyter_ollama.engine.protocol import ChatPrompt
from jupyter_ollama.prompt.control_marks import ControlMarks
from jupyter_ollama.prompt.messages import Message

TEXT = (
    "The quick brown fox jumps over the lazy dog, then it reads a < b and writes <b>code</b>. " * 8
)


def main() -> None:
    """Measure both conversations and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--turns", type=int, default=40)
    arguments = parser.parse_args()
    log = LlamaLog()
    model = LlamaModel(arguments.model)
    prompters = {"with guards": Prompter(model), "without": without_guards(model)}
    end = model.text_of(model.eos)
    print("| conversation | with guards, ms | without, ms | ratio |\n|---|---|---|---|")
    for name, text in (("plain text", TEXT), ("names of tokens in it", f"{TEXT}{end}")):
        times: dict[str, list[float]] = {which: [] for which in prompters}
        for number in range(arguments.rounds + 1):
            for which, prompter in prompters.items():
                # Never the same text twice: a prompter remembers the last one it tokenized.
                messages = [
                    Message(("user", "assistant")[turn % 2], f"{number} {text}")
                    for turn in range(arguments.turns - 1)
                ]
                begin = time.perf_counter()
                prompt = ChatPrompt(messages=messages)
                rendered = prompter.render(prompt, 10**6)
                prompter.tokens(prompt, rendered)
                if number:
                    times[which].append(1e3 * (time.perf_counter() - begin))
        ours, plain = (statistics.median(found) for found in times.values())
        print(f"| {name} | {ours:.2f} | {plain:.2f} | {ours / plain:.3f} |")
    del log


def without_guards(model: LlamaModel) -> Prompter:
    """Return a prompter for a vocabulary that claims to have no control tokens."""
    marks, model.control_marks = model.control_marks, ControlMarks([])
    try:
        return _Unguarded(model)
    finally:
        model.control_marks = marks


class _Unguarded(Prompter):
    """Tokenizes all of a prompt as markup."""

    def __init__(self, model: LlamaModel) -> None:
        super().__init__(model)
        self._tokens_of = lru_cache(1)(partial(model.tokenize, special=True))


if __name__ == "__main__":
    main()
