"""Many requests for more models than fit, on hosts with simulated runners.

Each seed gives another course of events: the requests and their times, the durations of loads,
answers and unloads, and cancellations. Invariants are asserted during the course.
"""

from __future__ import annotations

import asyncio
import math
import random
from pathlib import Path

import pytest
from hosts import SimulatedHost, SimulatedRunner

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.engine.protocol import LoadSpec
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.model import Model
from jupyter_ollama.options import Options

REQUESTS = 100
LENGTHS = (64, 128, 256)


class Course(SimulatedHost):
    """A course of events. In a calm one no request is cancelled and nothing fails."""

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
            spare_runner_seconds=0,
        )
        self.failing = 0.0 if self.calm else 0.1
        self.answers: list[int] = []
        self._waiting: dict[object, str] = {}

    async def run(self) -> None:
        """Run all events; fail if a request gets no answer."""
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
        """Cancel a request, crash a runner, or delete or restore a file."""
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
        """Acquire a lease, hold it for a while and release it."""
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

    async def start(
        self, spec: LoadSpec, load_timeout: float, spare: None = None
    ) -> SimulatedRunner:
        """Load; it must be the model of the request that has waited longest."""
        if self.calm:
            loaded = [loaded.spec.model for loaded in self.server.scheduler.loaded()]
            wanted = (path for path in self._waiting.values() if path not in loaded)
            assert next(wanted, None) == spec.model
        return await super().start(spec, load_timeout, spare)


async def test_random_events(
    scratch_store: Path, models: list[Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(400):
        course = Course(seed, models, scratch_store)
        monkeypatch.setattr(RunnerClient, "start", course.start)
        scheduler = course.server.scheduler
        print("seed", seed)  # shown if the test fails
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
        # No request counts as waiting any more.
        course.calm, course.failing, course.server.max_queue = False, 0.0, 1
        async with await scheduler.acquire(models[1], Options(num_ctx=64)):
            pass
        course.closing = True
        await course.server.stop()
        assert course.used == 0
