"""Runners that hang, in a load or with requests: they are noticed, ended and replaced."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from runners import running

from jupyter_ollama.engine.events import Done, Event
from jupyter_ollama.engine.protocol import ChatPrompt, LoadSpec, RawPrompt
from jupyter_ollama.engine.pulse import QUESTION
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.engine.runner_limits import RunnerLimits
from jupyter_ollama.engine.vital_signs import when_stalled
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.options import Options
from jupyter_ollama.prompt.messages import Message

SOON = RunnerLimits(silence=1.0, load_silence=0.5, load_turn=0.2, load_rate=10**12)


async def answer(runner: RunnerClient, tokens: int = 3) -> Done:
    return await ending(runner.generate(RawPrompt("Once"), Options(num_predict=tokens)))


async def ending(events: AsyncIterator[Event]) -> Done:
    async for event in events:
        if isinstance(event, Done):
            return event
    raise AssertionError("no Done")


@pytest.mark.parametrize("is_idle", [True, False])
async def test_a_stopped_runner_is_ended_and_its_requests_fail(
    smollm2: Path, is_idle: bool
) -> None:
    async with running(smollm2, limits=SOON) as runner:
        await answer(runner)
        events = runner.generate(RawPrompt("Once"), Options(num_predict=2000))
        if not is_idle:
            await anext(events)
        os.kill(runner.pid, signal.SIGSTOP)
        task = asyncio.create_task(answer(runner) if is_idle else ending(events))
        with pytest.raises(OllamaError, match="stopped responding") as caught:
            await asyncio.wait_for(task, 30)
        assert caught.value.status == 500
        await asyncio.wait_for(asyncio.shield(runner.exited), 10)
        assert not psutil.pid_exists(runner.pid)


HANGING = """
import ctypes, os, queue, sys
from jupyter_ollama.engine.pulse import Pulse
from jupyter_ollama.engine.server_connection import watch_parent
pulse, inbox = Pulse(lambda beat: os.write(1, b"beat\\n")), queue.SimpleQueue()
watch_parent(lambda: (inbox.put(pulse.answer), os.write(1, b"asked\\n")))
os.write(1, b"ready\\n")
if sys.argv[1] == "hangs":
    reading, _ = os.pipe()
    ctypes.CDLL(None).read(reading, ctypes.create_string_buffer(1), 1)
inbox.get()()
inbox.get()
"""


@pytest.mark.parametrize("what", ["hangs", "works"])
def test_no_helper_thread_answers_for_the_main_one(what: str) -> None:
    command = [sys.executable, "-c", HANGING, what]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, bufsize=0) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.stdin.write(QUESTION)
        lines = {process.stdout.readline()}
        if what == "works" or select.select([process.stdout], [], [], 0.5)[0]:
            lines.add(process.stdout.readline())
        process.kill()
    assert lines == ({b"asked\n"} if what == "hangs" else {b"asked\n", b"beat\n"})


async def test_a_runner_that_only_prepares_answers(smollm2: Path) -> None:
    """Its main thread has nothing to do while a template is rendered in another process."""
    limits = RunnerLimits(silence=0.5, template_seconds=2.0)
    endless = "{{ range 99999 }}{{ range 99999 }}{{ end }}{{ end }}"
    async with running(smollm2, limits=limits) as runner:
        prompt = ChatPrompt([Message("user", "Hi")], endless, is_template_foreign=True)
        with pytest.raises(OllamaError, match="template error"):
            await anext(runner.generate(prompt, Options()))
        assert runner.is_alive


async def test_long_work_and_long_preparation_are_no_hanging(smollm2: Path) -> None:
    limits = RunnerLimits(silence=1.0)
    async with running(smollm2, limits=limits) as runner:
        pid = runner.pid
        texts = ["word " * 60] * 12
        embeddings, done = await asyncio.gather(runner.embed(texts, 512), answer(runner, 30))
        assert embeddings.count == 12
        assert done.eval_count
        assert runner.is_alive
        assert runner.pid == pid


async def test_an_idle_runner_is_asked_nothing(smollm2: Path) -> None:
    async with running(smollm2, limits=SOON) as runner:
        await answer(runner)
        before = psutil.Process(runner.pid).num_ctx_switches().voluntary
        await asyncio.sleep(0.5)  # the measured time
        assert psutil.Process(runner.pid).num_ctx_switches().voluntary - before < 20
        assert runner._watching is None or runner._watching.done()


async def test_a_load_that_hangs_is_given_up(smollm2: Path) -> None:
    stalled = asyncio.Event()
    spec = LoadSpec(model=str(smollm2), limits=SOON)
    children = psutil.Process().children()
    when_stalled.set(stalled.set)
    task = asyncio.create_task(RunnerClient.start(spec, 60))
    while len(psutil.Process().children()) == len(children):  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    (child,) = (one for one in psutil.Process().children() if one not in children)
    child.send_signal(signal.SIGSTOP)
    await asyncio.wait_for(stalled.wait(), 10)
    with pytest.raises(OllamaError, match="stopped loading"):
        await asyncio.wait_for(task, 20)
    assert not psutil.pid_exists(child.pid)


async def test_a_runner_that_cannot_be_killed_is_left(
    smollm2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test cannot make a process that the kernel cannot kill, so it withholds the signal."""
    limits = RunnerLimits(kill=0.1)
    runner = await RunnerClient.start(LoadSpec(model=str(smollm2), limits=limits), 60)
    monkeypatch.setattr(type(runner._process), "kill", lambda self: None)
    os.kill(runner.pid, signal.SIGSTOP)  # or the answer may end before the runner does
    task = asyncio.create_task(answer(runner))
    await asyncio.sleep(0)  # until the request is sent
    await asyncio.wait_for(runner.stop(), 10)
    with pytest.raises(OllamaError, match="unexpectedly stopped"):
        await task
    assert not runner.is_alive
    os.kill(runner.pid, signal.SIGKILL)
    await runner._process.wait()
