"""Hostile templates in a real runner: their requests fail, and others do not notice."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import psutil
import pytest
from runners import running

from jupyter_ollama.engine.events import Done
from jupyter_ollama.engine.protocol import ChatPrompt, SuffixPrompt
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.engine.runner_limits import RunnerLimits
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.options import Options
from jupyter_ollama.prompt.messages import Message

ASK = [Message("user", "Why?")]
SOON = RunnerLimits(template_seconds=0.2)


def nested(depth: int) -> str:
    """Return a template each of whose templates calls the one before it twice."""
    parts = ['{{ define "t0" }}x{{ end }}']
    for number in range(1, depth):
        call = f'{{{{ template "t{number - 1}" . }}}}'
        parts.append(f'{{{{ define "t{number}" }}}}{call}{call}{{{{ end }}}}')
    return "".join(parts) + f'{{{{ template "t{depth - 1}" . }}}}'


HOSTILE = {
    "nested": nested(60),
    "ranges": "{{ range 99999 }}{{ range 99999 }}{{ end }}{{ end }}",
    "recursion": '{{ define "x" }}{{ template "x" . }}{{ template "x" . }}{{ end }}'
    '{{ template "x" . }}',
    "printf": '{{ range 99999 }}{{ printf "%d%d%d%d%d%d%d%d" 1 2 3 4 5 6 7 8 }}{{ end }}',
    "text": '{{ $x := "0123456789" }}{{ range 60 }}{{ $x = print $x $x }}{{ end }}',
    "quotes": '{{ $x := printf "%99999d" 1 }}{{ range 99999 }}{{ $y := printf "%q" $x }}{{ end }}',
}


async def answer(runner: RunnerClient, prompt: ChatPrompt | SuffixPrompt) -> Done:
    async for event in runner.generate(prompt, Options(num_predict=2, temperature=0)):
        if isinstance(event, Done):
            return event
    raise AssertionError("no Done")


async def fails(runner: RunnerClient, prompt: ChatPrompt | SuffixPrompt) -> str:
    with pytest.raises(OllamaError) as caught:
        await answer(runner, prompt)
    assert caught.value.status == 400
    return caught.value.message


@pytest.mark.parametrize("is_foreign", [True, False], ids=["of a request", "of a model"])
async def test_hostile_templates_cost_their_own_requests_only(
    smollm2: Path, is_foreign: bool
) -> None:
    async with running(smollm2, limits=SOON) as runner:
        before = await answer(runner, ChatPrompt(ASK))
        refusals = [
            asyncio.create_task(
                fails(runner, ChatPrompt(ASK, source, is_template_foreign=is_foreign))
            )
            for source in HOSTILE.values()
        ]
        refusals.append(
            asyncio.create_task(
                fails(runner, SuffixPrompt("a", "b", HOSTILE["nested"], is_foreign))
            )
        )
        assert (await answer(runner, ChatPrompt(ASK))).eval_count == before.eval_count
        assert not all(task.done() for task in refusals)  # another request was answered meanwhile
        for message in await asyncio.gather(*refusals):
            assert message.startswith("template error: ")
        assert (await answer(runner, ChatPrompt(ASK))).eval_count == before.eval_count


async def test_templates_of_requests_are_rendered_in_one_process_that_lasts(smollm2: Path) -> None:
    template = "{{ range .Messages }}<{{ .Content }}>{{ end }}"
    async with running(smollm2) as runner:
        process = psutil.Process(runner.pid)
        assert process.children() == []
        prompts = [
            ChatPrompt([Message("user", f"Why {i}?")], template, is_template_foreign=True)
            for i in range(3)
        ]
        texts = [(await runner.render(prompt, 512)).text for prompt in prompts]
        assert texts == ["<Why 0?>", "<Why 1?>", "<Why 2?>"]
        (child,) = process.children()
        suffix = SuffixPrompt("a", "b", "{{ .Prompt }}_{{ .Suffix }}", True)
        assert (await runner.render(suffix, 512)).text == "a_b"
        assert process.children() == [child]
        os.kill(child.pid, 9)
        while child.status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert (await runner.render(prompts[0], 512)).text == "<Why 0?>"


async def test_a_conversation_that_takes_long_is_rendered_like_a_short_one(smollm2: Path) -> None:
    messages = [Message("user" if i % 2 else "assistant", f"{i}") for i in range(9000)]
    template = "{{ range .Messages }}{{ .Role }}:{{ .Content }};{{ end }}"
    async with running(smollm2) as runner:
        whole = await runner.render(ChatPrompt(messages, template, truncate=False), 512)
        assert whole.text.count(";") == 9000
        assert psutil.Process(runner.pid).children()
