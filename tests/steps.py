"""A batch loop in the process of a test."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import llama_cpp.llama_cpp as llama
import pytest

from jupyter_ollama.engine.account_trees import SystemPrefix
from jupyter_ollama.engine.background_prefill import BackgroundPrefill
from jupyter_ollama.engine.generator import Generator
from jupyter_ollama.engine.loading import ModelLoader
from jupyter_ollama.engine.preemption import Preemption
from jupyter_ollama.engine.progress import PromptProgress
from jupyter_ollama.engine.protocol import LoadSpec
from jupyter_ollama.engine.sampling import Sampler
from jupyter_ollama.engine.sequence import Sequence, SequenceParams, StepOutput
from jupyter_ollama.engine.state_key import prefix_files
from jupyter_ollama.engine.step_costs import PrefillTime, StepCosts
from jupyter_ollama.options import Options


def fix_chunk(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Let steps hold so many tokens of prompts, however long these take."""
    allowed = PrefillTime(float(count), is_tiled=True)
    monkeypatch.setattr(StepCosts, "prefill_time", lambda *_, **__: allowed)
    monkeypatch.setattr(StepCosts, "tokens", lambda costs, seconds, *_, **__: int(seconds))
    for name in ("seconds", "seconds_alone"):
        monkeypatch.setattr(StepCosts, name, lambda costs, tokens, *_, **__: float(tokens))


class Steps:
    """A generator whose steps are made by the test, with ``parallel`` sequences at once.

    ``spec`` are parameters of a LoadSpec. ``answers`` has the generated tokens of each request.
    """

    def __init__(
        self,
        path: Path,
        parallel: int = 0,
        preemption: Preemption | None = None,
        *,
        idle_tokens: int = 0,
        stored_bytes: int = 2**30,
        is_repeatable: bool = True,
        has_background: bool = False,
        **spec: object,
    ) -> None:
        known = {"num_ctx": 256, "num_parallel": parallel} | spec
        self.loaded = ModelLoader(LoadSpec(model=str(path), **known))
        self.model = self.loaded.model
        self.drafter = self.loaded.drafter()
        self.context = self.loaded.generation_context()
        self.generator = Generator(
            self.model,
            self.context,
            self._deliver,
            lambda sequence, status, message: pytest.fail(message),
            parallel=self.loaded.plan.parallel,
            idle_tokens=idle_tokens,
            stored_bytes=stored_bytes,
            drafter=self.drafter,
            is_repeatable=is_repeatable,
            preemption=preemption,
            prefix_files=partial(prefix_files, self.loaded),
            background=self._background() if has_background else None,
        )
        self.answers: dict[int, list[int]] = {}
        self.steps = 0

    def _background(self) -> BackgroundPrefill:
        loaded = self.loaded
        return BackgroundPrefill(
            loaded.prefill_context, loaded.free_prefill_context, lambda: False, lambda *_: False
        )

    def _deliver(self, outputs: list[StepOutput]) -> None:
        for one in outputs:
            if one.token is not None:
                self.answers.setdefault(one.sequence.params.request, []).append(one.token)

    def add(
        self,
        prompt: str | list[int],
        predict: int = 8,
        options: Options | None = None,
        *,
        request: int = 1,
        stream: bool = True,
        drafts: int = 0,
        top_logprobs: int | None = None,
        account: int = 0,
        system: SystemPrefix | None = None,
        adapters: int = 0,
        progress: PromptProgress | None = None,
    ) -> Sequence:
        """Queue a prompt, a text or tokens, with greedy sampling unless there are ``options``."""
        tokens = self.model.tokenize(prompt, special=True) if isinstance(prompt, str) else prompt
        params = SequenceParams(
            request=request,
            num_ctx=self.loaded.plan.num_ctx,
            num_predict=predict,
            num_keep=4,
            shift=True,
            draft_num_predict=drafts,
            stream=stream,
            top_logprobs=top_logprobs,
            account=account,
            system=system,
            adapters=adapters,
        )
        sampler = Sampler(self.model, options or Options(temperature=0), tokens)
        sequence = Sequence(params, list(tokens), sampler, progress=progress)
        self.generator.add(sequence)
        return sequence

    def finish(self, steps: int = 10**6) -> None:
        """Make so many steps, or as many as there are."""
        while self.generator.busy and steps:
            self.generator.step()
            self.steps += 1
            steps -= 1

    def run(self, text: str, steps: int = 1000) -> Sequence:
        """Queue a prompt and make so many steps, or as many as there are."""
        sequence = self.add(text)
        self.finish(steps)
        return sequence

    def cells(self) -> int:
        """Return how many cells of the KV cache sequences have, shared ones counted for each."""
        ends = (
            llama.llama_memory_seq_pos_max(self.context.memory, slot)
            for slot in range(self.context.max_sequences)
        )
        return sum(1 + end for end in ends)
