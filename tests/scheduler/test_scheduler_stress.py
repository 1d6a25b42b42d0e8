"""Many requests for more models than there is room for, on hosts whose runners are made up.

Each seed is a course of events of its own: who asks for what and when, how long loads, answers and
unloads take, who leaves early. What must hold in every course is asserted while it goes on.
"""

from __future__ import annotations

import asyncio
import math
import random
from pathlib import Path

import pytest
from hosts import MadeUpHost, MadeUpRunner

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.engine.handle import Runner
from jupyter_ollama.engine.protocol import LoadSpec
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.model import Model
from jupyter_ollama.options import Options

REQUESTS = 100
LENGTHS = (64, 128, 256)


class Course(MadeUpHost):
    """A course of events. A calm one has nobody leave and nothing fail."""

    def __init__(self, seed: int, models: list[Model], store: Path) -> None:
        self.chance = random.Random(seed)
        self.calm = seed % 2 == 0
        self.models = models
        sizes = {str(model.model_path): self.chance.randrange(100, 400) for model in models}
        budget = sum(sorted(sizes.values())[-2:]) + 2 * max(LENGTHS)
        super().__init__(sizes, budget, self.chance)
        self.pinned = self.chance.choice([[], ["a"]])
        self.server = OllamaServer(
            models_dir=str(store),
            max_loaded_models=self.chance.choice([2, 9]),
            num_parallel=REQUESTS if self.calm else self.chance.choice([1, 3]),
            pinned_models=self.pinned,
        )
        self.failing = 0.0 if self.calm else 0.1
        self.answers: list[int] = []
        self._waiting: dict[object, str] = {}

    async def run(self) -> None:
        """Let all happen; fail if somebody gets no answer."""
        tasks = []
        for _ in range(REQUESTS):
            tasks.append(asyncio.create_task(self.request()))
            if self.chance.random() < 0.5:
                await self.pause()
            if not self.calm:
                self.disturb(tasks)
        _, unanswered = await asyncio.wait(tasks, timeout=20)
        assert not unanswered
        for task in tasks:
            assert task.cancelled() or not task.exception()

    def disturb(self, tasks: list[asyncio.Task[None]]) -> None:
        """Have somebody leave, a runner crash, a file be deleted or be back."""
        event = self.chance.random()
        if event < 0.2:
            self.chance.choice(tasks).cancel()
        elif event < 0.25 and (loaded := self.server.scheduler.loaded()):
            self.chance.choice(loaded).runner.end()  # type: ignore[attr-defined]
        elif event < 0.35:
            path = self.chance.choice(self.models).model_path
            away = path.with_suffix(".away")
            path.rename(away) if path.exists() else away.rename(path)

    async def request(self) -> None:
        """Ask, use what comes for a while, and give it back."""
        model, num_ctx = self.chance.choice(self.models), self.chance.choice(LENGTHS)
        keep_alive = self.chance.choice([None, None, 0, math.inf])
        key = object()
        self._waiting[key] = str(model.model_path)
        try:
            asking = self.server.scheduler.acquire(model, Options(num_ctx=num_ctx), keep_alive)
            lease = await asking
        except OllamaError as error:
            assert not self.calm
            self.answers.append(error.status)
            return
        finally:
            del self._waiting[key]
        async with lease:
            runner = lease.runner
            assert runner.spec.model == str(model.model_path)
            assert runner.ready.num_ctx >= num_ctx == lease.num_ctx
            runner.users += 1  # type: ignore[attr-defined]
            try:
                await self.pause()
            finally:
                runner.users -= 1  # type: ignore[attr-defined]
        self.answers.append(200)

    async def start(self, spec: LoadSpec, load_timeout: float) -> MadeUpRunner:
        """Load; it must be what the one who waits longest asked for."""
        if self.calm:
            loaded = [loaded.spec.model for loaded in self.server.scheduler.loaded()]
            wanted = (path for path in self._waiting.values() if path not in loaded)
            assert next(wanted, None) == spec.model
        return await super().start(spec, load_timeout)


async def test_whatever_happens(
    scratch_store: Path, models: list[Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(400):
        course = Course(seed, models, scratch_store)
        monkeypatch.setattr(Runner, "start", course.start)
        scheduler = course.server.scheduler
        print("seed", seed)  # to be seen where it fails
        await course.run()
        for path in course.sizes:
            if not Path(path).exists():
                Path(path).with_suffix(".away").rename(path)
        assert all(loaded.users == 0 for loaded in scheduler.loaded())
        assert course.used >= sum(loaded.size for loaded in scheduler.loaded())
        if course.calm:
            assert course.answers == [200] * REQUESTS
            pinned = [loaded.model.name.model for loaded in scheduler.loaded() if loaded.pinned]
            assert pinned == course.pinned
        # Nobody is counted as waiting any more.
        course.calm, course.failing, course.server.max_queue = False, 0.0, 1
        async with await scheduler.acquire(models[1], Options(num_ctx=64)):
            pass
        course.closing = True
        await course.server.stop()
        assert course.used == 0
