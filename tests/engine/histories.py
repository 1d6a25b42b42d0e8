"""Batch loops that get the same request after different histories."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

from steps import Steps

from jupyter_ollama.engine.sequence import Sequence
from jupyter_ollama.options import Options

Answer = tuple[list[int], list[float]]
"""Tokens and their log-probabilities."""

WAYS = [Options(temperature=0), Options(temperature=0.8, seed=7)]
PARALLEL = 4


class Loop(Steps):
    """A batch loop with up to PARALLEL requests at once, on one thread."""

    def __init__(self, path: Path, *, num_ctx: int = 1024, draft: Path | None = None) -> None:
        super().__init__(path, PARALLEL, num_ctx=num_ctx, num_thread=1, draft=str(draft or ""))

    def queue(self, prompt: list[int], options: Options, count: int, drafts: int = 0) -> Sequence:
        """Queue a prompt with log-probabilities."""
        return self.add(prompt, count, options, drafts=drafts, top_logprobs=0)

    def ask(
        self, prompt: list[int], options: Options, count: int, drafts: int = 0
    ) -> tuple[Answer, Sequence]:
        """Send a request that runs alone."""
        sequence = self.queue(prompt, options, count, drafts)
        self.finish()
        found = sequence.tokens[len(prompt) :], [one.logprob for one in sequence.logprobs]
        return found, sequence

    def close(self) -> None:
        self.context.close()


@dataclass
class History:
    """Sends some of its prompts, alone and together, and compares equal requests.

    Asserts that a request that runs alone gets the same answer each time, also from a loop that
    had no other request.
    """

    path: Path
    seed: int
    lengths: tuple[int, ...] = (3, 63, 64, 130)
    count: int = 5
    drafts: int = 0
    draft: Path | None = None
    answers: dict[tuple[int, int], Answer] = field(default_factory=dict)
    reused: int = 0

    def run(self, rounds: int) -> int:
        """Send so many requests; return how many answers were compared to an equal one."""
        repeated = 0
        rng = random.Random(self.seed)
        loop = self._loop()
        prompts = self._prompts(rng, loop.loaded.model.n_vocab)
        for _ in range(rounds):
            kind = rng.random()
            if kind < 0.3:
                for _ in range(rng.randint(2, PARALLEL)):
                    count = rng.choice([1, 3, 12])
                    loop.queue(rng.choice(prompts), rng.choice(WAYS), count, self.drafts)
                    loop.finish(rng.randint(0, 3))
                loop.finish()
            elif kind < 0.4:
                while loop.generator.rest():
                    pass
            elif kind < 0.5:
                loop.ask(rng.choice(prompts), rng.choice(WAYS), 1)
            else:
                key = rng.randrange(len(prompts)), rng.randrange(len(WAYS))
                answer, sequence = self._ask(loop, prompts, key)
                self.reused += sequence.cache.reused
                repeated += key in self.answers
                assert self.answers.setdefault(key, answer) == answer, f"seed {self.seed}"
        loop.close()
        loop = self._loop()
        for key in rng.sample(sorted(self.answers), 1):
            assert self._ask(loop, prompts, key)[0] == self.answers[key], f"seed {self.seed}"
        loop.close()
        return repeated

    def _loop(self) -> Loop:
        return Loop(self.path, draft=self.draft)

    def _ask(
        self, loop: Loop, prompts: list[list[int]], key: tuple[int, int]
    ) -> tuple[Answer, Sequence]:
        prompt, way = key
        return loop.ask(prompts[prompt], WAYS[way], self.count, self.drafts)

    def _prompts(self, rng: random.Random, n_vocab: int) -> list[list[int]]:
        """Make prompts of which three begin alike, one of them with all of another."""
        some = range(min(100, n_vocab // 2), n_vocab - 8)
        prompts = []
        for length in self.lengths:
            beginning = rng.choices(some, k=length)
            longer = beginning + rng.choices(some, k=rng.randint(1, 80))
            prompts += [beginning, longer, beginning + rng.choices(some, k=2)]
        return prompts
