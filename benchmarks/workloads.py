"""The requests to contenders, the same for all of them.

A workload takes a contender and a tag that no earlier call had, so that its prompts are new to
every cache, and returns figures by name. A name ends with its unit, from which the table knows what
is better.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import pairwise
from statistics import mean, median
from typing import Any, Protocol

import prompts
from client import Answer

PREDICT = 64
"""Tokens of an answer where speed is measured."""

WAKING = "Once upon a time there was"
"""The prompt before a measurement."""

FIRST_TOKEN = "one token after one word: TTFT, ms"

Figures = dict[str, float]


def generating(count: int) -> str:
    """Return the name of the speed of streams once all of them run."""
    return f"{count} streams: generating only, tokens/s"


class Completes(Protocol):
    """The part of a contender that workloads use."""

    async def complete(self, prompt: str, predict: int, schema: Any = None) -> Answer:
        """Continue a prompt, greedily."""


class EndedEarly(Exception):
    """A model ended an answer that had to have a fixed length; other prompts are needed."""


async def together(
    contender: Completes, texts: Sequence[str], predict: int, schema: Any = None
) -> list[Answer]:
    """Ask everything at once. Raises EndedEarly if an answer is shorter than ``predict``."""
    requests = (contender.complete(text, predict, schema) for text in texts)
    answers = await asyncio.gather(*requests)
    for text, answer in zip(texts, answers, strict=True):
        if answer.count < predict:
            raise EndedEarly(text)
    return answers


def span(answers: Sequence[Answer]) -> float:
    """Return seconds from the first question to the last text."""
    return max(a.times[-1] for a in answers) - min(a.asked for a in answers)


def decoding_speed(answers: Sequence[Answer]) -> float | None:
    """Return tokens a second while all streams run, None if they overlap too little."""
    start = max(answer.times[0] for answer in answers)
    stop = min(answer.times[-1] for answer in answers)
    # A piece of text may have several tokens, and other pieces of the answer fewer.
    tokens = sum(
        sum(len(text) for when, text in answer.pieces if start < when <= stop)
        / len(answer.text)
        * answer.count
        for answer in answers
    )
    if stop <= start or tokens < 8 * len(answers):
        return None
    return tokens / (stop - start)


async def streams(contender: Completes, tag: str, count: int, predict: int = PREDICT) -> Figures:
    """Short prompts that have nothing in common, all at once."""
    answers = await together(contender, prompts.stories(tag, count), predict)
    figures = {
        f"{count} streams: from request to end, tokens/s": count * predict / span(answers),
        f"{count} streams: median TTFT, ms": median(a.ttft for a in answers) * 1e3,
    }
    speed = decoding_speed(answers)
    if speed is not None:
        figures[generating(count)] = speed
    return figures


async def interference(contender: Completes, tag: str) -> Figures:
    """Streams run, one after another, while a prompt of 4,000 tokens is read beside them."""

    async def read_beside() -> Answer:
        await asyncio.sleep(0.5)
        return await contender.complete(prompts.long_prompt(tag), 1)

    reading = asyncio.create_task(read_beside())
    streams: list[Answer] = []
    while not reading.done():
        story = prompts.stories(f"{tag}.{len(streams)}", 1)[0]
        streams.append(await contender.complete(story, 200))
    beside = await reading
    gaps = [
        later - earlier
        for stream in streams
        for earlier, later in pairwise(stream.times)
        if later > beside.asked and earlier < beside.times[0]
    ]
    return {
        "long prompt beside a stream: worst gap in the stream, ms": max(gaps) * 1e3,
        "long prompt beside a stream: TTFT of the prompt, s": beside.ttft,
    }


async def conversation(contender: Completes, tag: str, turns: int) -> Figures:
    """A conversation whose every prompt holds all earlier turns."""
    text = prompts.opening(tag)
    waits = []
    for number in range(turns):
        text += prompts.turn(number)
        answer = await contender.complete(text, 32)
        text += answer.text
        waits.append(answer.ttft)
    return {f"conversation of {turns} turns: mean TTFT, ms": mean(waits) * 1e3}


async def classroom(contender: Completes, tag: str, predict: int = PREDICT) -> Figures:
    """Sixteen users at once under one system prompt that is new to the server."""
    answers = await together(contender, prompts.classroom(tag), predict)
    return {
        "class of 16, new system prompt: total time, s": span(answers),
        "class of 16, new system prompt: median TTFT, ms": median(a.ttft for a in answers) * 1e3,
    }


async def labelling(contender: Completes, tag: str, rows: int) -> Figures:
    """Rows of a table under one instruction, answered by a schema, 16 requests at a time."""
    places = asyncio.Semaphore(16)

    async def label(text: str) -> Answer:
        async with places:
            return await contender.complete(text, 48, prompts.LABEL_SCHEMA)

    start = time.perf_counter()
    answers = await asyncio.gather(*(label(text) for text in prompts.rows(tag, rows)))
    return {
        f"labelling {rows} rows by a schema: total time, s": time.perf_counter() - start,
        f"labelling {rows} rows by a schema: generated, tokens": sum(a.count for a in answers),
    }


async def constrained(contender: Completes, tag: str, count: int = 8) -> Figures:
    """Long answers with a JSON schema, against as long ones without."""
    texts = prompts.records(tag, 2 * count)
    free = decoding_speed(await together(contender, texts[:count], 96))
    held = await together(contender, texts[count:], 96, prompts.RECORDS_SCHEMA)
    speed = decoding_speed(held)
    if free is None or speed is None:
        return {}
    return {
        f"JSON schema, {count} streams: generating, tokens/s": speed,
        f"JSON schema, {count} streams: speed, % of free": speed / free * 100,
    }


async def first_token(contender: Completes, tag: str, times: int = 20) -> Figures:
    """One word, one token: the rest is the overhead of the server."""
    del tag  # caching makes a prompt of one token no cheaper
    waits = [(await contender.complete("Once", 1)).ttft for _ in range(times)]
    return {FIRST_TOKEN: median(waits) * 1e3}
